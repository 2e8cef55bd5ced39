"""What strangers try at both sites: every answer guarded, none kept, nothing told apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from unittest import mock

import pytest

from audit.http import BodyLimit
from audit.staff import StaffRole
from tests.journeys.sites import Drawn, Site

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
    visitor = sites[name].visitor(None)
    with mock.patch.object(BodyLimit, "_limit", side_effect=ValueError):
        broken = visitor.get("/sign-in")
    with mock.patch("audit.http._read", side_effect=TimeoutError):
        slow = visitor.get("/sign-in")
    assert (broken.status, slow.status) == (500, 408)
    for drawn in (broken, slow):
        _guarded(drawn)


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
