"""Every use of this version: described, with its objective, and shut without a permit."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import client_node.uses
from client_node.uses.queue import QueueState
from client_node.uses.use import AskedUse, BuiltUse
from models.conversation import Outlook, Trend
from policies.errors import PermitInvalid
from policies.vocabulary import Action, Emotion, Purpose, SubjectId, Use
from tests.models.fakes import NOW, permit

FOLDER = Path(client_node.uses.__path__[0])
IDLE = QueueState(
    now_s=0.0, idle_agents=1, reserved_idle=1, busy_until_s=(), waiting=(), handling_s=60.0
)
WARNED = Outlook(
    trend=Trend.WORSENING, silent=None, warning=True, level=0.5, risk=None, turns=3, because=()
)


def uses_of(world: Any) -> Iterator[BuiltUse]:
    """Yield every use of a node that a caller may name, and the one that watches by itself."""
    node = world.open()
    yield node.pipeline.early
    yield node.room.proposals.reply
    yield node.room.proposals.release
    yield node.room.things.context
    yield node.room.customers.journey
    yield node.room.customers.hold_back
    yield from node.pipeline.uses.built.values()


def classes() -> set[type]:
    """Return every class below `client_node.uses` that acts."""
    found = set()
    for path in FOLDER.glob("*.py"):
        module = import_module(f"client_node.uses.{path.stem}".removesuffix(".__init__"))
        found |= {
            member
            for _, member in inspect.getmembers(module, inspect.isclass)
            if "act" in vars(member) and member is not BuiltUse
        }
    return found


def asked(use: BuiltUse) -> AskedUse:
    """Return a request that lacks nothing."""
    return AskedUse(
        use=use.described.use,
        subject=SubjectId("anna"),
        emotion=Emotion.ANGER,
        read_at=int(NOW),
        text="it is late again",
        queue=IDLE,
        conversation="c1",
        outlook=WARNED,
    )


def test_no_use_acts_without_its_own_permit(world: Any) -> None:
    """Another use's, another person's, another action's and a stale permit open no use."""
    walked = set()
    for use in uses_of(world):
        walked.add(type(use))
        mine = replace(
            permit("anna", action=Action.USE, purpose=use.described.purpose),
            use=use.described.use,
        )
        other = Use.PRIORITY if use.described.use is Use.REFERRAL else Use.REFERRAL
        for wrong in (
            replace(mine, use=other),
            replace(mine, use=None, action=Action.INFER),
            replace(mine, subjects=frozenset({SubjectId("bob")})),
            replace(mine, purpose=Purpose.RESEARCH),
            replace(mine, expires_at=NOW),
            replace(mine, issued_at=NOW + 1),
        ):
            with pytest.raises(PermitInvalid):
                use.act(asked(use), permit=wrong, now=NOW)
    assert walked == classes()


def test_every_act_shows_its_permit_before_anything_else() -> None:
    """The first statement of each `act` is the showing of the permit (read from the source)."""
    seen = 0
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "act" and path.stem != "use":
                body = [s for s in node.body if not _is_docstring(s)]
                assert ast.unparse(body[0]).startswith("self.described.show(permit, asked"), path
                seen += 1
    assert seen == len(classes())


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_every_use_says_what_it_is_for(world: Any) -> None:
    """The interface lists each use with objective, purpose, rules and when it abstains."""
    node = world.open()
    said = world.api(node).get("/v1/uses").json()["uses"]
    assert {one["use"] for one in said} >= set(node.pipeline.uses.built)
    assert len({one["called"] for one in said}) == len(said)
    for one in said:
        assert one["objective"]
        assert one["abstains"]
        assert one["rules"]
        words = one["objective"].lower()
        assert not any(word in words for word in ("engagement", "conversion", "revenue"))
