"""Every page of both sites for every eye: axe in three looks, a telephone, right to left, paper.

Pictures go to `UNDERTONE_ARTEFACTS` where it names a folder. They are for people: fonts differ
from machine to machine, so what is compared is what a page must be on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from audit.staff import StaffRole
from tests.journeys.sites import Drawn, Site
from tests.journeys.window import PHONE, Window, one_of_each, window

MOST_BYTES = 150 * 1024
WIDER = """() => [...document.querySelectorAll("body *")].filter(one => {
  const box = one.getBoundingClientRect(), inside = one.parentElement.closest(".table, pre");
  return !inside && box.width && (box.right > innerWidth + 1 || box.left < -1)
    && getComputedStyle(one).position !== "absolute";
}).slice(0, 3).map(one => one.outerHTML.slice(0, 120))"""
SIDES = """() => { const main = document.querySelector("main"), head = main.querySelector("h1");
  const text = document.createRange(); text.selectNodeContents(head);
  const a = main.getBoundingClientRect(), b = text.getBoundingClientRect();
  const pad = getComputedStyle(main);
  return {
    start: b.left - a.left - parseFloat(pad.paddingLeft),
    end: a.right - parseFloat(pad.paddingRight) - b.right,
  };
}"""
# Axe reads colours that forced ones have replaced (`-webkit-text-fill-color`): so what is asked
# is that nothing keeps colours of its own, and that what had only a ground has an edge.
UNBOUND = """() => [...document.querySelectorAll("body *")].filter(one => {
  const style = getComputedStyle(one);
  const edge = one.matches("button:not(.copy), .button, .badge, .card, .wrong");
  const own = style.forcedColorAdjust !== "auto" && !one.closest("svg, meter, img");
  return one.getClientRects().length && (own || (edge && style.borderTopWidth === "0px"));
}).slice(0, 3).map(one => one.outerHTML.slice(0, 120))"""
PAPER = """() => ({
  menu: document.querySelector("nav.menu")?.getClientRects().length ?? 0,
  ground: getComputedStyle(document.body).backgroundColor,
  dark: [...document.querySelectorAll("figure img")].filter(one =>
    one.getClientRects().length && one.getAttribute("src").includes("look=dark")).length,
})"""


@pytest.fixture(scope="module")
def eye() -> Iterator[Window]:
    """Return a browser; of this module, since its loop must not outlive it."""
    with window() as opened:
        yield opened


Look = Callable[[Window], list[object]]


def _phone(eye: Window) -> list[object]:
    eye.page.set_viewport_size(PHONE)
    return [("wider than a telephone", each) for each in eye.page.evaluate(WIDER)]


def _right_to_left(eye: Window) -> list[object]:
    eye.page.evaluate("document.documentElement.dir = 'rtl'")
    sides = eye.page.evaluate(SIDES)
    wrong = [("begins on the wrong side", sides)] if sides["end"] > sides["start"] + 2 else []
    return wrong + [("wider from right to left", each) for each in eye.page.evaluate(WIDER)]


def _dark(eye: Window) -> list[object]:
    eye.page.emulate_media(color_scheme="dark")
    return [("dark", each) for each in eye.barriers("color-contrast")]


def _forced(eye: Window) -> list[object]:
    eye.page.emulate_media(color_scheme="light", forced_colors="active")
    return [("forced colours", each) for each in eye.page.evaluate(UNBOUND)]


def _paper(eye: Window) -> list[object]:
    eye.page.emulate_media(media="print", color_scheme="dark", forced_colors="none")
    paper = eye.page.evaluate(PAPER)
    white = paper["ground"] in {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}
    wrong = paper["menu"] or paper["dark"] or not white
    pale = [("on paper", each) for each in eye.barriers("color-contrast")]
    return [*([("on paper", paper)] if wrong else []), *pale]


LIGHT, OTHERS = (
    {"phone": _phone, "rtl": _right_to_left},
    {
        "dark": _dark,
        "forced": _forced,
        "paper": _paper,
    },
)


def _faults(eye: Window, site: Site, drawn: Drawn, looks: Mapping[str, Look]) -> list[object]:
    """Look at a page in each way, the plain one first; return what is wrong with it."""
    eye.show(site, drawn)
    name = f"{site.name}-{drawn.template.removesuffix('.html')}-{drawn.status}"
    eye.keep(name)
    found: list[object] = []
    if looks is LIGHT:
        found += [("light", each) for each in eye.barriers()]
    for look, see in looks.items():
        found += see(eye)
        eye.keep(f"{name}-{look}")
    return found


def _check(eye: Window, sites: dict[str, Site], looks: Mapping[str, Look]) -> None:
    trust = one_of_each(sites["trust"])
    known = {(drawn.template, drawn.status) for drawn in trust}
    more = [d for d in one_of_each(sites["centre"]) if (d.template, d.status) not in known]
    assert len(trust) > 35
    assert len(more) > 4
    pages = [("trust", drawn) for drawn in trust] + [("centre", drawn) for drawn in more]
    faults = {
        f"{drawn.template} {drawn.status} {drawn.path}": found
        for name, drawn in pages
        if (found := _faults(eye, sites[name], drawn, looks))
    }
    assert faults == {}, faults
    assert [d.path for _, d in pages if len(d.body.encode()) > MOST_BYTES] == []


def test_no_page_has_a_serious_barrier_or_is_cut_off(sites: dict[str, Site], eye: Window) -> None:
    """Axe on every page; nothing is wider than a telephone, and right to left is a mirror."""
    _check(eye, sites, LIGHT)
    refused = "Failed to load resource"  # the browser's own word on a page that is a refusal
    assert [said for said in eye.complaints if refused not in said] == []


@pytest.mark.slow
def test_no_page_loses_its_contrast_or_its_paper(sites: dict[str, Site], eye: Window) -> None:
    """Dark and with forced colours every word can be read; paper is white and has no menu.

    Read in the dark and then printed, its words and its charts are those of the light look.
    """
    _check(eye, sites, OTHERS)


def test_a_telephone_shows_the_page_and_its_menu_when_asked(
    sites: dict[str, Site], eye: Window
) -> None:
    """The page begins under one line of a head; one press opens all areas, Escape closes them."""
    site = sites["trust"]
    here = next(d for d in site.walked(StaffRole.OFFICER) if d.path == "/decisions")
    eye.show(site, here, size=PHONE)
    button = eye.page.get_by_role("button", name="Menu")
    areas, head = eye.page.get_by_role("navigation", name="Areas"), eye.page.locator("h1")
    assert not areas.is_visible()
    assert head.bounding_box()["y"] < PHONE["height"] / 4
    button.click()
    assert areas.get_by_role("link", name="Settings").is_visible()
    assert eye.page.evaluate(WIDER) == []
    eye.keep("trust-menu-phone")
    eye.page.keyboard.press("Escape")
    assert not areas.is_visible()
    eye.show(site, here)
    assert areas.is_visible()
    assert not button.is_visible()


def test_a_page_that_shuts_somebody_out_is_seen(sites: dict[str, Site], eye: Window) -> None:
    """A picture without words, a board wider than a telephone, a heading that keeps to the left."""
    body = (
        '<!doctype html><html lang="en"><title>x</title><main dir="ltr"><h1>x</h1>'
        '<img src="/portal.css"><p style="width: 60rem">wide</p></main>'
    )
    kind = {"content-type": "text/html"}
    drawn = Drawn(method="GET", path="/x", status=200, headers=kind, body=body, template="x.html")
    found = str(_faults(eye, sites["trust"], drawn, LIGHT))
    for said in ("image-alt", "wider than a telephone", "begins on the wrong side"):
        assert said in found
