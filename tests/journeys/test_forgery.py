"""Requests that another site's page, or a link, makes a reader's browser send: nothing changes."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest

from audit.staff import SAFE_METHODS, StaffRole
from tests.journeys.sites import HTML, READERS, Drawn, Route, Site, Visitor

SITES = ("trust", "centre")
GUESSES = 'INSERT INTO "staff_throttle"'
JSON = {"accept": "application/json", "content-type": "application/json"}
FOREIGN = (
    {"origin": "null"},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": "https://evil.example"},
    {"origin": "https://staff.portal.example"},
    {"origin": "https://portal.example.evil.example"},
    {"origin": "https://portal.example:8443"},
    {"origin": "http://portal.example"},
    {"origin": ""},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
)
"""What a browser says of a page that is not ours, even one that got hold of the right token."""


def _kept(site: Site) -> dict[str, list[str]]:
    """Return every row of every store of a site, its log's too.

    But for the index of decisions, which follows the log when it is read, and the count of
    guesses at customers' links, which are opened by reading alone.
    """
    kept = {}
    for path in sorted(set(site.folder.rglob("*.db")) - set(site.folder.rglob("decisions.db"))):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            kept[path.name] = [row for row in store.iterdump() if GUESSES not in row]
    assert len(kept) >= 2, "its stores were not found"
    return kept


def _changed(site: Site, before: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [
        (name, row)
        for name, rows in _kept(site).items()
        for row in sorted(set(rows) ^ set(before.get(name, [])))
    ]


def _filled(route: Route) -> str:
    """Return an address of a route, whose every name is a number; a round is asked for by one."""
    return re.sub(r"\{[^}]+\}", "1", route.path) + "?round=1"


def _is_forged(drawn: Drawn) -> bool:
    return drawn.status == 403 and json.loads(drawn.body)["title"] == "Request forged"


@pytest.mark.parametrize("name", SITES)
def test_no_route_changes_anything_for_another_sites_page(
    sites: dict[str, Site], name: str
) -> None:
    """Every route that changes, by a foreign origin with our token, or by ours without it."""
    site = sites[name]
    officer, another = site.visitor(StaffRole.OFFICER), site.visitor(StaffRole.OFFICER)
    ours = {"origin": "https://portal.example", "sec-fetch-site": "same-origin"}
    wrong = [{"x-csrf-token": token} for token in ("", "0" * 64, another.csrf)]
    tries = [
        *({"x-csrf-token": officer.csrf} | foreign for foreign in FOREIGN),
        *(ours | token for token in wrong),
        *wrong,
    ]
    before = _kept(site)
    changing = [route for route in site.routes() if route.method not in SAFE_METHODS]
    for route in changing:
        for headers in tries:
            answer = officer.ask(route.method, _filled(route), headers=JSON | headers)
            assert _is_forged(answer), (route.method, route.path, headers, answer.status)
    assert len(changing) > {"trust": 50, "centre": 20}[name]
    assert _changed(site, before) == []
    good = JSON | ours | {"x-csrf-token": officer.csrf}
    assert not _is_forged(officer.ask("POST", "/none", headers=good)), "what is ours goes on"


def _cookie(visitor: Visitor) -> str:
    return f"{visitor.site.access.cookies.session}={next(iter(visitor.http.cookies.values()))}"


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("host", ["portal.example", "localhost.evil.example"])
def test_a_page_by_plain_http_is_another_site_behind_a_proxy_too(
    sites: dict[str, Site], name: str, host: str
) -> None:
    """Where a proxy ends TLS we are asked by http, and whoever answers by http is still not us."""
    officer = sites[name].visitor(StaffRole.OFFICER)
    sent = JSON | {"host": host, "cookie": _cookie(officer), "x-csrf-token": officer.csrf}
    for origin, forged in ((f"http://{host}", True), (f"https://{host}", False)):
        headers = sent | {"origin": origin}
        answer = officer.ask("POST", "http://portal.example/none", headers=headers)
        assert _is_forged(answer) == forged, origin


@pytest.mark.parametrize("name", SITES)
def test_a_session_in_a_second_cookie_header_is_guarded_like_any(
    sites: dict[str, Site], name: str
) -> None:
    """A proxy that speaks HTTP/2 may send two; whichever has the session, its form needs proof."""
    officer = sites[name].visitor(StaffRole.OFFICER)
    cookies = ("theme=dark", _cookie(officer))
    visitor = sites[name].visitor(None)
    for first, second in (cookies, cookies[::-1]):
        sent = [("cookie", first), ("cookie", second), *JSON.items()]
        for origin, forged in (("https://evil.example", True), ("https://portal.example", False)):
            proof = [("origin", origin), ("x-csrf-token", officer.csrf)]
            answer = visitor.http.request("POST", "/none", headers=[*sent, *proof])
            assert (answer.status_code == 403) == forged, (first, origin)


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1:8090", "[::1]:8090"])
def test_a_browser_on_the_machine_itself_needs_no_tls(
    sites: dict[str, Site], name: str, host: str
) -> None:
    """On loopback, where services listen without TLS, our own pages are ours."""
    officer = sites[name].visitor(StaffRole.OFFICER)
    sent = JSON | {"host": host, "cookie": _cookie(officer), "x-csrf-token": officer.csrf}
    for origin, forged in ((f"http://{host}", False), ("http://localhost:1", True)):
        headers = sent | {"origin": origin}
        assert (
            _is_forged(officer.ask("POST", "http://portal.example/none", headers=headers)) == forged
        )


def _reading(site: Site) -> list[str]:
    """Return an address of every GET route as readers meet it, or filled blindly."""
    met: dict[str, str] = {}
    for drawn in (one for reader in READERS for one in site.walked(reader)):
        if drawn.method == "GET" and (route := site.route("GET", drawn.path)) is not None:
            met.setdefault(route.path, drawn.path)
    return [met.get(r.path, _filled(r)) for r in site.routes() if r.method == "GET"]


@pytest.mark.parametrize("name", SITES)
def test_no_link_changes_anything(sites: dict[str, Site], name: str) -> None:
    """Every address opened as every reader, from a foreign page: logs and stores stay."""
    site = sites[name]
    addresses = _reading(site)
    visitors = [site.visitor(role) for role in READERS]
    foreign = HTML | {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    before = _kept(site)
    for visitor in visitors:
        asked = [visitor.ask("GET", path, headers=foreign) for path in addresses]
        asked += [visitor.ask("HEAD", path, headers=foreign) for path in addresses[::5]]
        assert len(asked) > 60
        assert 200 in {answer.status for answer in asked}
    assert _changed(site, before) == []
