"""What strangers try at both sites: every answer guarded, none kept, nothing told apart."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from unittest import mock

import pytest

from audit.errors import AccountsUnavailable
from audit.http import BodyLimit
from audit.staff import StaffRole
from consent.privacy_centre.frame import centre_words
from policies.words import Language
from tests.journeys.sites import Drawn, Site, Visitor

SITES = ("trust", "centre")
KEPT = {
    "/favicon.svg",
    "/portal.css",
    "/portal.js",
    "/tour.js",
    "/centre/privacy.css",
    "/centre/check.js",
}
"""What a browser may keep: of nobody, and the same for everybody."""


def _guarded(drawn: Drawn) -> None:
    what = (drawn.method, drawn.path, drawn.status)
    assert "frame-ancestors 'none'" in drawn.headers.get("content-security-policy", ""), what
    assert drawn.headers.get("x-frame-options") == "DENY", what
    assert drawn.headers.get("x-content-type-options") == "nosniff", what
    assert drawn.headers.get("referrer-policy") in {"same-origin", "no-referrer"}, what
    kept = drawn.headers.get("cache-control", "")
    if drawn.path in KEPT:
        return
    if drawn.headers.get("content-type", "").startswith("image/svg"):  # of counts, for a minute
        assert "no-store" in kept or kept == "private, max-age=60", what
    else:
        assert "no-store" in kept, what


def _every_kind(site: Site) -> Iterator[Drawn]:
    """Yield what each way of going wrong is answered, by a program and by a person."""
    for role in (None, StaffRole.AUDITOR):
        visitor = site.visitor(role)
        for accept in ("text/html", "application/json"):
            asked = {"accept": accept, "x-csrf-token": visitor.csrf}
            for method, path, content in (
                ("GET", "/none", b""),
                ("PUT", "/sign-in", b""),
                ("POST", "/sign-in", b"csrf=wrong"),
                ("POST", "/v1/tokens", b"{"),
                ("POST", "/v1/tokens", b"\xff"),
                ("POST", "/v1/tokens", b"0" * 9_000_000),
                ("GET", "/v1/staff", b""),
                ("GET", "/v1/log/zq", b""),
                ("HEAD", "/sign-in", b""),
                ("OPTIONS", "/sign-in", b""),
                ("TRACE", "/sign-in", b""),
            ):
                yield visitor.ask(method, path, headers=asked, content=content)


@pytest.mark.parametrize("name", SITES)
def test_every_answer_is_guarded_and_none_of_a_person_is_kept(
    sites: dict[str, Site], name: str
) -> None:
    """Pages, files, tables, pictures, answers to programs, and refusals of every kind."""
    site = sites[name]
    walked = [d for role in (None, StaffRole.OFFICER) for d in site.walked(role)]
    refused = list(_every_kind(site))
    for drawn in walked + refused:
        _guarded(drawn)
    assert {drawn.status for drawn in refused} >= {401, 403, 404, 405, 413, 422}


@pytest.mark.parametrize("name", SITES)
def test_answers_before_any_page_are_guarded_too(sites: dict[str, Site], name: str) -> None:
    """What broke and what came too slowly are answered outside the pages."""
    for reader in (None, StaffRole.OFFICER):
        visitor = sites[name].visitor(reader)
        for accept in ("text/html", "application/json"):
            for drawn in _early(visitor, "/sign-in", accept):
                _guarded(drawn)
                assert drawn.is_page == (accept == "text/html"), drawn.status
                assert drawn.template == ("problem.html" if drawn.is_page else "")


def _early(visitor: Visitor, path: str, accept: str) -> list[Drawn]:
    """Return what a body too large and too slow are answered, and what broke."""
    asked = {"accept": accept}
    large = visitor.ask("POST", path, headers=asked, content=b"0" * 9_000_000)
    with mock.patch("audit.http._read", side_effect=TimeoutError):
        slow = visitor.ask("GET", path, headers=asked)
    with mock.patch.object(BodyLimit, "_limit", side_effect=ValueError):
        broken = visitor.ask("GET", path, headers=asked)
    assert [one.status for one in (large, slow, broken)] == [413, 408, 500]
    assert large.headers["connection"] == slow.headers["connection"] == "close"
    return [large, slow, broken]


@pytest.mark.parametrize("name", SITES)
def test_a_form_has_at_most_what_the_documents_state(sites: dict[str, Site], name: str) -> None:
    """docs/security.md says 64 KiB; only what programs send may be more."""
    visitor = sites[name].visitor(None)
    for path, size, refused in (
        ("/sign-in", 64 * 1024, False),
        ("/sign-in", 64 * 1024 + 1, True),
        ("/my/none", 64 * 1024 + 1, True),
        ("/v1/tokens", 64 * 1024 + 1, False),
        ("/v1/tokens", 8 * 2**20 + 1, True),
    ):
        answer = visitor.ask("POST", path, content=b"0" * size)
        assert (answer.status == 413) == refused, (path, size)


def test_an_early_refusal_is_in_the_customers_own_words(sites: dict[str, Site]) -> None:
    """In their frame and language, with the id to name, and no way to where staff sign in."""
    visitor = sites["trust"].visitor(None)
    path = next(path for path in sites["trust"].starts if path.startswith("/my/"))
    for language in Language:
        told = [
            *_early(visitor, f"{path}?language={language}", "text/html"),
            visitor.ask("PUT", f"{path}?language={language}"),
        ]
        for drawn, said in zip(told, ("failed", "failed", "failed", "unknown"), strict=True):
            _guarded(drawn)
            assert drawn.template == "told.html"
            assert centre_words()[language][said] in html.unescape(drawn.body)
            assert drawn.headers["referrer-policy"] == "no-referrer"
            assert 'href="/"' not in drawn.body
        assert re.search(r"<p>[0-9a-f]{16}</p>", told[2].body)
        assert told[3].headers["allow"]


def test_what_broke_is_a_page_though_the_menu_cannot_be_drawn(sites: dict[str, Site]) -> None:
    """Where the store of accounts is away, its saved views are too: the page does without."""
    site = sites["trust"]
    visitor, views = site.visitor(StaffRole.OFFICER), site.app.state.views
    away = mock.Mock(side_effect=AccountsUnavailable("the accounts cannot be read"))
    site.app.state.views = away
    try:
        drawn = visitor.get("/account")
    finally:
        site.app.state.views = views
    assert (drawn.status, drawn.template) == (503, "problem.html")
    assert drawn.is_page
    assert "cannot be read" in drawn.body
    assert away.called
    site.app.state.views = mock.Mock(side_effect=ValueError("Ann"))
    try:
        bare = visitor.get("/account")
    finally:
        site.app.state.views = views
    assert (bare.status, bare.is_page, "something broke here" in bare.body) == (500, True, True)
    assert "Ann" not in bare.body
    _guarded(bare)


@pytest.mark.parametrize("name", SITES)
def test_who_may_not_read_cannot_tell_what_is_there(sites: dict[str, Site], name: str) -> None:
    """Pages and tables of one person, request, decision or run: known and unknown are alike."""
    site = sites[name]
    met = {drawn.path.partition("?")[0] for role in StaffRole for drawn in site.walked(role)}
    judged = 0
    for path in sorted(met):
        route = site.route("GET", path)
        if route is None or not route.roles or "{" not in route.path:
            continue
        unknown = re.sub(r"\{[^}]+\}", "9" * 8, route.path)
        for role in {None, *StaffRole} - route.roles:
            visitor = site.visitor(role)
            told = []
            for asked in (path, unknown):
                answer = visitor.ask("GET", asked, headers={"accept": "application/json"})
                told.append((answer.status, dict(answer.headers), answer.body))
            assert told[0] == told[1], (role, path)
            assert told[0][0] in {401, 403}
            judged += 1
    assert judged > 5


def test_a_pseudonym_is_told_to_nobody_who_may_not_look_people_up(sites: dict[str, Site]) -> None:
    """By the forms that find a person, whoever may not use them learns nothing from the answer."""
    site = sites["trust"]
    known = next(fields["subject"] for path, fields in site.posts if path == "/people")
    for role in (StaffRole.OPERATOR, StaffRole.DATA_SCIENTIST):
        visitor = site.visitor(role)
        for path in ("/people", "/decisions"):
            told = [visitor.post(path, {"subject": s}) for s in (known, "e" * 32)]
            assert {one.status for one in told} == {403}, (role, path)
            assert told[0].body == told[1].body
