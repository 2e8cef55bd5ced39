"""Every page of both sites, as every role: none left out, every link walked, no dead end."""

from __future__ import annotations

import pytest

from audit.staff import StaffRole
from tests.journeys.begun import every_page
from tests.journeys.sites import READERS, Drawn, Site, onward

SITES = ("trust", "centre")
UNLINKED = {
    "/healthz",
    "/favicon.ico",
    "/verify.js",
    "/consent/{token}/code.svg",
    "/sign-in/provider",
    "/sign-in/provider/return",
    "/sign-on",
    "/sign-on/keys",
    "/sign-on/leave",
    "/.well-known/openid-configuration",
}
"""What no page leads to: machines ask it, or a site that takes or gives word of who somebody is."""


@pytest.mark.parametrize("name", SITES)
def test_no_page_escapes_the_walk(sites: dict[str, Site], name: str) -> None:
    """Every address that answers a person is walked, and every template is drawn.

    So a new page stands in every test of this folder from its first day.
    """
    site = sites[name]
    met = every_page(site)
    answered = {
        route.path
        for drawn in met
        if drawn.method == "GET" and drawn.status < 400 and (route := site.route("GET", drawn.path))
    }
    asked = {r.path for r in site.routes() if r.method == "GET" and not r.path.startswith("/v1/")}
    assert asked - answered - UNLINKED == set()
    assert site.every_template() - {drawn.template for drawn in met} == set()


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("role", READERS, ids=str)
def test_every_link_leads_somewhere(sites: dict[str, Site], name: str, role: StaffRole) -> None:
    """What a page links to answers whoever sees the link; nothing leads off the site."""
    site = sites[name]
    followed = [d for d in site.walked(role) if d.via and not d.via.startswith("/my/none")]
    assert len(followed) > 1
    assert [(d.via, d.path, d.status) for d in followed if d.status >= 400] == []
    assert [(d.path, _away(d)) for d in followed if d.is_page and _away(d)] == []
    shut = {d.path for d in site.walked(role) if d.status >= 400 and d.path in site.starts}
    pages = [d for d in site.walked(role) if d.status < 400]
    assert [(d.path, to) for d in pages for to in onward(d) if to in shut] == []


def _away(drawn: Drawn) -> list[str]:
    return [link for link in drawn.markup.links if "//" in link.partition("?")[0]]


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("role", list(StaffRole))
def test_a_page_offers_what_its_reader_may_do(
    sites: dict[str, Site], name: str, role: StaffRole
) -> None:
    """No link and no button of a page leads somebody to a refusal."""
    site = sites[name]
    judged = 0
    for drawn in site.walked(role):
        if not drawn.is_page:
            continue
        for form in drawn.markup.forms:
            route = site.route(form.method.upper(), form.action)
            assert route is not None, (drawn.path, form.action)
            assert not route.roles or role in route.roles, (drawn.path, form.action)
            judged += 1
    assert judged > 5


@pytest.mark.parametrize("name", SITES)
def test_every_answer_has_the_headers_that_guard_it(sites: dict[str, Site], name: str) -> None:
    """Page, file, picture or refusal: no frame, no foreign content, no guessing of types."""
    for drawn in (d for role in (None, StaffRole.OFFICER) for d in sites[name].walked(role)):
        policy = drawn.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, drawn.path
        assert "unsafe" not in policy, drawn.path
        assert drawn.headers["x-content-type-options"] == "nosniff", drawn.path
        assert drawn.headers["x-frame-options"] == "DENY", drawn.path
        if drawn.is_page and "content-disposition" not in drawn.headers:
            assert drawn.headers["cache-control"] == "no-store", drawn.path
            assert not {"@onclick", "@onload", "@style", "style"} & drawn.markup.names, drawn.path
