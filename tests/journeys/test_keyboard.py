"""By keyboard alone: in the order of the page, with the place always to be seen, and by letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from audit.staff import StaffRole
from tests.journeys.sites import Drawn, Site
from tests.journeys.window import Window, window

MAIN = ("/today", "/decisions", "/evidence", "/people", "/settings", "/budget")
WHERE = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, "
    + "[tabindex='0']")].filter(each => each.getClientRects().length);
  return {
    place: all.indexOf(one), of: all.length, said: one.outerHTML.slice(0, 80),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
  };
}"""


@pytest.fixture(scope="module")
def eye() -> Iterator[Window]:
    """Return a browser; of this module, since its loop must not outlive it."""
    with window() as opened:
        yield opened


def _shown(site: Site, path: str) -> Drawn:
    return next(drawn for drawn in site.walked(StaffRole.OFFICER) if drawn.path == path)


def _stations(page: Any, *, most: int) -> list[dict[str, Any]]:
    found = []
    for _ in range(most):
        page.keyboard.press("Tab")
        found.append(page.evaluate(WHERE))
    return found


@pytest.mark.parametrize("path", MAIN)
def test_tab_goes_through_a_page_in_its_order_and_is_seen(
    sites: dict[str, Site], eye: Window, path: str
) -> None:
    """The skip link first, which leads to the content, then down the page, each with an outline."""
    eye.show(sites["trust"], _shown(sites["trust"], path))
    stations = _stations(eye.page, most=15)
    places = [one["place"] for one in stations if one["place"] >= 0]
    assert "Skip to the content" in stations[0]["said"]
    assert places == sorted(places)
    assert [one["said"] for one in stations if one["place"] >= 0 and not one["seen"]] == []
    eye.page.reload()
    eye.page.keyboard.press("Tab")
    eye.page.keyboard.press("Enter")
    assert eye.page.evaluate("document.activeElement.id") == "main"


def test_letters_lead_to_search_and_areas(sites: dict[str, Site], eye: Window) -> None:
    """A stroke is the search, g and a digit an area; in a field they are letters."""
    site = sites["trust"]
    eye.show(site, _shown(site, "/decisions"))
    eye.page.keyboard.press("/")
    assert eye.page.evaluate("document.activeElement.closest('form[role=search]') !== null")
    eye.page.keyboard.type("g1")
    assert eye.page.url.endswith("/decisions")
    eye.page.evaluate("document.activeElement.blur()")
    eye.page.keyboard.press("g")
    with eye.page.expect_navigation():
        eye.page.keyboard.press("1")
    assert eye.page.url.endswith("/today")
