"""Every form of both sites, and every address with a gap in it, filled with what nobody expects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit.staff import StaffRole
from tests.journeys.begun import every_page
from tests.journeys.markup import Form, read
from tests.journeys.sites import READERS, Drawn, Site

QUICK, LONG = 3, 400
BAD = (
    "",
    " ",
    "\x00",
    "\x1b[31mred",
    "\r\nset-cookie: zq=1",
    "<zq zqattr=1>alert(1)</zq>",
    '"><zq zqattr="1">',
    "' zqattr='1",
    "</textarea><zq>",
    "javascript:zq",
    "{{ 7*7 }}{% include 'frame.html' %}",
    "%s%n{0.__class__}",
    "'; DROP TABLE entry; --",
    '=HYPERLINK("http://zq")',
    "-1",
    "1e999",
    "NaN",
    "9" * 400,
    "0001-01-01T00:00",
    "9999-12-31T23:59",
    "2027-02-30T25:61",
    "../../../etc/passwd",
    "null",
    '{"a": ["b"]}',
    "\u202egnp.exe",
    "\U0001f600\u0000\uffff",
    "zq" * 4_000,
)
_QUERY = ("language", "page", "kind", "format", "table", "node", "next")
_OWN = "the form's own token"
values = st.one_of(st.sampled_from(BAD), st.text(max_size=40))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sent:
    """What is sent in place of a form, in one of several ways."""

    pairs: tuple[tuple[str, str], ...]
    encode: Callable[[list[tuple[str, str]], str], dict[str, Any]]

    def by(self, csrf: str) -> dict[str, Any]:
        """Return it as a browser with this token sends it."""
        return self.encode([(n, csrf if v == _OWN else v) for n, v in self.pairs], csrf)


@st.composite
def sent(draw: st.DrawFn, form: Form) -> Sent:
    """Draw what is sent in place of a form: fields that are missing, bad, doubled or unknown."""
    pairs = []
    for name in form.names:
        own = [_OWN] if name == "csrf" else [v for n, v in form.fields if n == name][:3]
        match draw(st.sampled_from(["kept", "kept", "bad", "bad", "absent", "twice"])):
            case "kept":
                pairs.append((name, draw(st.sampled_from(own))))
            case "bad":
                pairs.append((name, draw(values)))
            case "twice":
                pairs += [(name, draw(values)), (name, own[-1])]
    if draw(st.booleans()):
        pairs.append((draw(values), draw(values)))
    if "csrf" in form.names and draw(st.sampled_from([False] + 5 * [True])):
        pairs.append(("csrf", _OWN))
    return Sent(pairs=tuple(pairs), encode=draw(st.sampled_from(_ENCODINGS)))


def _urlencoded(pairs: list[tuple[str, str]], _: str) -> dict[str, Any]:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    return {"content": urlencode(pairs, errors="replace").encode(), "headers": kind}


def _as_json(pairs: list[tuple[str, str]], csrf: str) -> dict[str, Any]:
    headers = {"content-type": "application/json", "x-csrf-token": csrf}
    return {"content": json.dumps(dict(pairs)).encode(), "headers": headers}


def _as_parts(pairs: list[tuple[str, str]], csrf: str) -> dict[str, Any]:
    files = {"file": ("=cmd.csv", b"=1+1", "text/csv")}
    fields = {n or "x": v for n, v in pairs}
    return {"data": fields, "files": files, "headers": {"x-csrf-token": csrf}}


def _as_noise(pairs: list[tuple[str, str]], csrf: str) -> dict[str, Any]:
    headers = {"content-type": "application/x-www-form-urlencoded", "x-csrf-token": csrf}
    noise = b"\xff\xfe&=&%zz=%&" + urlencode(pairs, errors="replace").encode() + b"&a" * 150
    return {"content": noise, "headers": headers}


_ENCODINGS = [_urlencoded, _urlencoded, _urlencoded, _urlencoded, _as_json, _as_parts, _as_noise]


def check(answer: Drawn, what: str) -> None:
    """Whatever was sent: an answer, nothing run that was typed, and one line where it is a no."""
    assert answer.status < 500, (what, answer.body)
    assert "Traceback" not in answer.body, what
    if where := answer.headers.get("location"):
        assert where.startswith("/"), (what, where)
        assert not where.startswith("//"), (what, where)
    assert "zq" not in answer.headers.get("set-cookie", ""), what
    if answer.is_page:
        page = read(answer.path, answer.body)
        assert not {"zq", "@zqattr"} & page.names, (what, answer.body)
        assert not [link for link in page.links if link.lower().startswith("javascript:")], what
        said = [line.strip() for line in page.alerts]
    elif answer.headers.get("content-type") == "application/problem+json":
        said = [json.loads(answer.body)["detail"]]
    else:
        return
    if answer.status >= 400:
        clear = [line for line in said if 10 <= len(line) <= 400 and "\n" not in line]
        assert len(clear) == len(said) == 1, (what, answer.status, said)
        assert answer.method == "GET" or "zq" not in clear[0], (what, clear)


def forms_of(site: Site) -> list[tuple[StaffRole | None, Form]]:
    """Return every form of a site once, with who may send it; what closes accounts comes last."""
    found: dict[tuple[Any, ...], tuple[StaffRole | None, Form]] = {}
    every_page(site)
    for role, pages in [*((r, site.walked(r)) for r in READERS), (None, site.once)]:
        for form in (form for drawn in pages if drawn.is_page for form in drawn.markup.forms):
            if not any(f"/{name}/" in form.action for name in site.staff.values()):
                found.setdefault(_kind(site, form), (role, form))
    return sorted(found.values(), key=lambda pair: "/settings/people/" in pair[1].action)


def _kind(site: Site, form: Form) -> tuple[Any, ...]:
    route = site.route(form.method.upper(), form.action)
    path = form.action if route is None else route.path
    step = form.action.rpartition("/")[2] if path.endswith(("{step}", "{act}", "{right}")) else ""
    return (path, step, form.method, form.names)


def _fuzz(site: Site, role: StaffRole | None, form: Form, *, examples: int) -> int:
    """Send a form many times; return how often it was answered."""
    site.clock.now += 2_000  # so that nobody waits for what the form before did
    answered, visitor = 0, site.visitor(role)

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(body=sent(form))
    def no_form_breaks(body: Sent) -> None:
        nonlocal answered, visitor
        given_ = body.by(visitor.csrf)
        if form.method == "get":
            query = given_.get("content", b"").decode("utf-8", "replace")
            answer = visitor.get(f"{form.action}?{quote(query, safe='=&%+')}")
        else:
            answer = visitor.ask("POST", form.action, **given_)
        check(answer, f"{form.action} {given_}"[:1_000])
        answered += 1
        if "clear-site-data" in answer.headers or answer.status == 401:
            visitor = site.visitor(role)

    no_form_breaks()
    return answered


@pytest.mark.parametrize("name", ["trust", "centre"])
def test_no_form_breaks_or_shows_what_was_typed_as_markup(
    sites: dict[str, Site], name: str
) -> None:
    """A few generated bodies to each form of each role: an answer, one line, nothing run."""
    forms = forms_of(sites[name])
    assert len(forms) > {"trust": 30, "centre": 8}[name]
    for role, form in forms:
        assert _fuzz(sites[name], role, form, examples=QUICK) >= QUICK, form.action


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["trust", "centre"])
def test_no_form_of_many_breaks(sites: dict[str, Site], name: str) -> None:
    """The same with hundreds for each form."""
    for role, form in forms_of(sites[name]):
        assert _fuzz(sites[name], role, form, examples=LONG) > QUICK, form.action


def _addresses(site: Site, *, every: int) -> int:
    """Fill each route's gaps and queries; of what is bad, each route gets one in so many."""
    asked, visitor = 0, site.visitor(StaffRole.OFFICER)
    query = dict.fromkeys(_QUERY, BAD[5])
    for number, route in enumerate(r for r in site.routes() if r.method == "GET"):
        for bad in ("9" * 20, *BAD[1 + number % every :: every]):
            path = quote(bad, safe="")[:2_000].join(re.split(r"\{[^}]+\}", route.path))
            after = urlencode(query | {"after": bad[:99], "before": bad[:99], "since": bad[:99]})
            check(visitor.get(f"{path}?{after}"), path)
            asked += 1
    return asked


@pytest.mark.parametrize("name", ["trust", "centre"])
def test_no_address_breaks_that_is_filled_with_anything(sites: dict[str, Site], name: str) -> None:
    """What stands in an address, or asks for a page's variant, can be anything."""
    assert _addresses(sites[name], every=8) > 100


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", ["trust", "centre"])
def test_no_address_breaks_that_is_filled_with_everything(
    sites: dict[str, Site], name: str
) -> None:
    """The same with all that is bad, at every address."""
    assert _addresses(sites[name], every=1) > 1_000


@pytest.mark.parametrize(
    "body", [f"<p title='{BAD[7]}'>", f"<p>{BAD[5]}", "<a href='javascript:zq'>"]
)
def test_a_page_that_shows_what_was_typed_is_seen(body: str) -> None:
    """What the fuzzing looks for is found where a field is written as it came."""
    kind = {"content-type": "text/html"}
    shown = Drawn(method="POST", path="/x", status=200, headers=kind, body=body, template="")
    with pytest.raises(AssertionError):
        check(shown, "x")


@pytest.mark.parametrize(
    "body", ["", "<p role=alert>no</p>", "<p role=alert>Traceback\nline 1\n</p>"]
)
def test_a_refusal_that_says_nothing_clear_is_seen(body: str) -> None:
    """A refusal without its one line is found."""
    kind = {"content-type": "text/html"}
    shown = Drawn(method="POST", path="/x", status=422, headers=kind, body=body, template="")
    with pytest.raises(AssertionError):
        check(shown, "x")
