"""Another company's node cannot tell who is known here from who is not: words and work alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.consent.conftest import World

ASKED: dict[str, dict[str, Any]] = {
    "/v1/withdrawals": {"purpose": "service"},
    "/v1/objections": {"purposes": ["service"]},
    "/v1/restrictions": {"restricted": True},
    "/v1/consent-states": {},
    "/v1/requests": {"right": "access", "jurisdiction": "IE"},
}


@contextmanager
def _queries() -> Iterator[list[str]]:
    """Note what is asked of any store."""
    asked: list[str] = []

    def note(_1: object, _2: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", ASKED)
def test_another_companys_person_is_like_nobody(world: World, path: str) -> None:
    """Status, headers, words and what the stores are asked are those of a pseudonym of nobody."""
    world.grant("alice")
    seen = []
    for subject in ("warmp", "alice", "nobod"):
        with _queries() as asked:
            answer = world.as_node("rival", "POST", path, ASKED[path] | {"subject": subject})
        seen.append((answer.status_code, dict(answer.headers), answer.text, sorted(asked)))
    _, known, unknown = seen
    assert known == unknown
    assert known[0] == 404
    assert known[3], "the stores were asked"
