"""How fast the portal's pages are over a long log and many people: `--json` prints rows.

Decisions go through the log itself, people through the desk of consents; only the rules are not
asked. Each page is asked for as an officer, through the whole application, without the network;
first paint is Chromium's own figure (first-contentful-paint) over TLS on loopback, nothing cached.

    python -m tests.bench.portal --json [--entries 1000000] [--people 100000] [--times 40]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.testclient import TestClient

from audit.events import Event, EventKind
from audit.log import Draft
from audit.portal.access import SESSION_COOKIE
from audit.portal.decision_index import Search
from audit.portal.frame import csrf_of
from consent.api import create_app
from deploy.portal import make_history
from deploy.portal_history import History
from policies.vocabulary import Purpose, SubjectId
from tests.browser import chromium, served

AIM_MS, AIM_KB, AIM_PAINT_MS = 300.0, 150.0, 1_000.0
_PAINTS = 7
_PAINTED = """() => new Promise(done => new PerformanceObserver(list => {
  const found = list.getEntriesByName("first-contentful-paint")[0];
  if (found) done(found.startTime);
}).observe({ type: "paint", buffered: true }))"""
_GROUP = 5_000
_END = 1_800_000_000.0
_NODES = ("harbour", "meadow", "station")
_SERVICE = frozenset({Purpose.SERVICE})
_PURPOSES = ("service", "handover", "training", "offers")


def main() -> None:
    """Make the history, ask for every page, print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="undertone-bench-") as folder:
        history = make_history(Path(folder), end=_END, people=20, uses=60, other_url=None)
        try:
            history.play()
            _people(history, options.people)
            _entries(history, options.entries)
            rows = _measure(history, options.times) + _paints(history, Path(folder))
        finally:
            history.close()
    print(json.dumps(rows, indent=1) if options.json else "\n".join(map(_line, rows)))


def _people(history: History, count: int) -> None:
    """Let so many people say yes."""
    node = history._nodes["harbour"]
    for start in range(0, count, _GROUP):
        numbers = range(start, min(count, start + _GROUP))
        history.service.acts.grant(
            node, [(_subject(n), history.yes(_SERVICE, 10_000 + n)) for n in numbers]
        )


def _subject(number: int) -> SubjectId:
    return SubjectId(hashlib.sha256(f"bench {number}".encode()).hexdigest()[:32])


def _entries(history: History, count: int) -> None:
    """Let the log have so many entries, decisions all the rest, and the index read them."""
    log = history.service.log
    while log.size < count:
        first = log.size
        log.append_many([_decision(n) for n in range(first, min(count, first + _GROUP))])
    history.service.evidence.index.catch_up()


def _decision(number: int) -> Draft:
    allowed = number % 7 > 0
    fields = {
        "decision_id": secrets.token_hex(16),
        "node": _NODES[number % 3],
        "action": "infer",
        "purpose": _PURPOSES[number % 4],
        "modality": "text",
        "policy_digest": "a" * 64,
        "use": None,
        "allowed": allowed,
        "rules": ["p01-infer"] if allowed else ["r04-no-consent"],
        "request_digest": "b" * 64,
        "standing_digest": "c" * 64,
    }
    at = _END - 3_000_000 + number
    return Draft(Event(kind=EventKind.DECISION, at=min(at, _END), fields=fields))


def _areas(history: History) -> tuple[str, ...]:
    """Return the address of every area, of searches of each kind, and of single entries."""
    middle = history.service.evidence.index.find(
        Search(purpose="offers", allowed=False), limit=500
    )[-1]
    return (
        "/today",
        "/decisions",
        "/decisions?outcome=refused&node=meadow",
        "/decisions?rule=r04-no-consent&purpose=offers",
        f"/decisions?after={middle.at!r}_{middle.idx}",
        f"/decisions/{middle.decision_id}",
        "/evidence",
        f"/evidence?before={middle.idx}",
        "/evidence?kind=grant-recorded",
        f"/evidence/entries/{middle.idx}",
        "/people",
        "/rulebook",
        "/documents",
        "/documents/dpia",
        "/incidents",
        "/settings",
        "/budget",
        "/rules",
    )


def _paints(history: History, folder: Path) -> list[dict[str, object]]:
    """Return how soon a browser shows something of each area."""
    access = history.service.access
    rows = []
    # Chromium judges the certificate and the session by the machine's clock.
    history.clock.follow = time.time
    session = access.sessions.open(access.accounts.known("olga"), method="bench")
    cookie = {"name": SESSION_COOKIE, "value": session, "domain": "localhost", "path": "/"}
    with served(create_app(history.service), pki=folder / "pki") as url, chromium() as opened:
        for path in _areas(history):
            found = []
            for _ in range(_PAINTS):
                context = opened.new_context(ignore_https_errors=True)
                context.add_cookies([cookie | {"secure": True, "httpOnly": True}])
                page = context.new_page()
                if page.goto(url + path).status != HTTPStatus.OK:
                    raise SystemExit(f"{path} does not answer the browser")
                found.append(float(page.evaluate(_PAINTED)))
                context.close()
            rows.append(_row(f"{_named(path)}, first paint, p95", _p95(found), "ms", AIM_PAINT_MS))
    return rows


def _measure(history: History, times: int) -> list[dict[str, object]]:
    access = history.service.access
    session = access.sessions.open(access.accounts.known("olga"), method="bench")
    client = TestClient(create_app(history.service), base_url="https://portal.example")
    client.cookies.set(SESSION_COOKIE, session, domain="portal.example")
    rows = [row for path in _areas(history) for row in _page(client, path, times)]
    csrf = csrf_of({SESSION_COOKIE: session})
    body = {"csrf": csrf, "subject": _subject(3)}
    found = [_timed(lambda: client.post("/people", data=body))[0] for _ in range(times)]
    return [*rows, _row("page /people of one person, p95", _p95(found), "ms", AIM_MS)]


def _page(client: TestClient, path: str, times: int) -> list[dict[str, object]]:
    client.get(path)
    asked = [_timed(lambda: client.get(path)) for _ in range(times)]
    if any(answer.status_code != 200 for _, answer in asked):
        raise SystemExit(f"{path} does not answer")
    size = max(len(answer.content) for _, answer in asked) / 1024
    name = _named(path)
    return [
        _row(f"{name}, p95", _p95([ms for ms, _ in asked]), "ms", AIM_MS),
        _row(f"{name}, size", size, "KiB", AIM_KB),
    ]


def _named(path: str) -> str:
    plain, _, query = path.partition("?")
    asked = " by " + ", ".join(parse_qs(query)) if query else ""
    return f"page {plain[:28]}{asked}"


def _timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    answer = ask()
    return 1000 * (time.perf_counter() - start), answer


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def _row(name: str, value: float, unit: str, aim: float) -> dict[str, object]:
    held = value <= aim
    return {"name": name, "value": round(value, 1), "unit": unit, "aim": aim, "held": held}


def _line(row: dict[str, object]) -> str:
    mark = "held" if row["held"] else "MISSED"
    return f"{row['name']}: {row['value']} {row['unit']} (aim {row['aim']}, {mark})"


if __name__ == "__main__":
    main()
