"""What the demo knows so far: plain values that its acts fill and its telling prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from coordinator.plan import Preview
from deploy.options import Options
from deploy.report import Row
from deploy.turns import Turn
from policies.vocabulary import Emotion


@dataclass(slots=True, kw_only=True)
class Story:
    """What the demo was asked and has found out; each act adds its rows."""

    options: Options
    console: Console
    turns: tuple[Turn, ...]
    labels: tuple[tuple[str, Emotion], ...]
    started: float
    preview: Preview = field(init=False)
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class FedTurn:
    """A turn and what its node answered."""

    turn: Turn
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """All turns that went through nodes, and the receipts of those who consented."""

    turns: tuple[FedTurn, ...]
    tokens: dict[tuple[str, str], str]
    labelled: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class Withdrawn:
    """What became of the person who withdrew; `None` where it was not seen."""

    turn: Turn
    heard_s: float | None = None
    keys_destroyed: int = 0
    last_round_with: int | None = None
    first_round_without: int | None = None


@dataclass(slots=True, kw_only=True)
class Learned:
    """A finished run as the demo saw it."""

    run: str
    macro_f1: float = 0.0
    seconds: list[float] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    withdrawn: Withdrawn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The release in force and turns that were answered again, with a reading."""

    release: str
    answered: tuple[FedTurn, ...]
