"""Saved views: one's own, at the server, behind the form's token, and leading nowhere else."""

from __future__ import annotations

import re

import pytest
from fastapi import Depends, Request, Response
from jinja2 import ChoiceLoader, DictLoader
from starlette.testclient import TestClient

from audit.portal.frame import show
from audit.portal.listing import Listing, plain
from audit.portal.site import Area, Site
from audit.portal.views import MOST_VIEWS
from audit.staff import StaffRole, only
from tests.audit.portal.conftest import Desk

FILTERED = "/things?kind=red&note=%26%3D"


@pytest.fixture
def browser(desk: Desk) -> TestClient:
    """Return Ada's browser at a site with one filtered table."""
    desk.app.state.site = Site(areas=(Area(name="Things", path="/things"),))

    @desk.app.get("/things", dependencies=[Depends(only(StaffRole.OFFICER))])
    def things(request: Request) -> Response:
        kind = request.query_params.get("kind", "any")
        rows = [(plain(kind),)]
        table = Listing(name="things", caption="Things", columns=("Kind",), rows=rows, empty="")
        return show(request, "listed.html", tables=[table])

    templates = desk.app.state.templates
    source = '{% extends "frame.html" %}{% block title %}Things{% endblock %}'
    templates.loader = ChoiceLoader([DictLoader({"listed.html": source}), templates.loader])
    return desk.sign_in("ada")


def _save(browser: TestClient, title: str, address: str = FILTERED) -> int:
    page = browser.get("/account/views").text
    token = re.findall(r'name="csrf" value="([^"]+)"', browser.get("/account").text)[0]
    assert page
    form = {"title": title, "address": address, "csrf": token}
    return browser.post("/account/views", data=form).status_code


def test_a_filtered_table_is_named_and_found_again(browser: TestClient) -> None:
    """The page offers itself with its filters and not its place in them; the menu leads back."""
    shown = browser.get(f"{FILTERED}&after=9_9&format=").text
    (offered,) = re.findall(r'name="address" value="([^"]+)"', shown)
    assert offered.replace("&amp;", "&") == FILTERED
    assert _save(browser, "Red ones") == 303
    menu = browser.get("/account").text
    assert f'<a href="{FILTERED.replace("&", "&amp;")}">Red ones</a>' in menu
    assert "red" in browser.get(FILTERED).text


def test_views_are_saved_as_csv_and_no_name_is_a_formula(browser: TestClient) -> None:
    """The file has name and page of each; a name that begins as a formula is text."""
    assert _save(browser, "=1+1") == 303
    assert 'href="?format=csv"' in browser.get("/account/views").text
    saved = browser.get("/account/views?format=csv")
    assert saved.headers["content-type"].startswith("text/csv")
    assert saved.text.splitlines() == ["Name,Page", f"'=1+1,{FILTERED}"]


def test_a_view_of_the_same_name_is_replaced_and_one_is_forgotten(browser: TestClient) -> None:
    """A name stands once; what was forgotten is in no menu."""
    _save(browser, "Mine")
    _save(browser, "Mine", "/things")
    page = browser.get("/account/views").text
    assert page.count("/removal") == 1
    (path,) = re.findall(r'action="(/account/views/[0-9a-f]+/removal)"', page)
    token = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
    assert browser.post(path).status_code == 403
    assert browser.post(path, data={"csrf": token}).status_code == 303
    assert "Mine" not in browser.get("/account/views").text
    assert browser.post(path, data={"csrf": token}).status_code == 404


def test_nobody_sees_or_forgets_anothers_view(desk: Desk, browser: TestClient) -> None:
    """Bob's menu has none of Ada's, and he cannot take hers away."""
    _save(browser, "Ada's own")
    desk.staff("bob", StaffRole.AUDITOR)
    bob = desk.sign_in("bob")
    assert "own" not in bob.get("/account/views").text
    (view,) = desk.access.views.of("ada")
    token = re.findall(r'name="csrf" value="([^"]+)"', bob.get("/account").text)[0]
    gone = bob.post(f"/account/views/{view.view}/removal", data={"csrf": token})
    assert gone.status_code == 404
    assert desk.access.views.of("ada") == [view]


@pytest.mark.parametrize(
    "address", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere", "", "/\n", "x"]
)
def test_a_view_leads_nowhere_else(browser: TestClient, address: str) -> None:
    """What is no path of this site is not kept, and nobody is sent there."""
    assert _save(browser, "Trap", address) == 422
    assert "Trap" not in browser.get("/account/views").text


def test_names_are_shown_as_text_and_views_are_bounded(desk: Desk, browser: TestClient) -> None:
    """Markup is a name like another; an empty or long one, and one too many, are refused."""
    assert _save(browser, "<script>alert(1)</script>") == 303
    assert "<script>alert" not in browser.get("/account/views").text
    assert _save(browser, " ") == 422
    assert _save(browser, "x" * 61) == 422
    for number in range(MOST_VIEWS - 1):
        desk.access.views.keep("ada", f"view {number}", "/things")
    assert _save(browser, "one more") == 422
    assert _save(browser, "view 3") == 303
