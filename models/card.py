"""The card of a model: what it was made from, what it may be used for, what it cost.

A release carries its card; a node shows it, and `card_markdown` is what a person reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.errors import ReleaseInvalid
from policies.vocabulary import Digest

CALIBRATION_ERROR, ERROR, MACRO_F1 = "calibration error", "error", "macro-F1"
ABSTAINED = "abstained"
GAP = "gap in"
"""Names of figures that a limit may be set on; a gap is `gap in error by sex`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measured figure, and who measured it on what.

    Never of people's data at the nodes, unless it was charged to their budget.
    """

    name: str
    value: float
    measured_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a reader must know before using a model.

    `unit` is whom the privacy bound protects, such as "a person at a node". `epsilon` and
    `delta` are totals of the run, None where no person's data was used. `epsilon_at_nodes`
    pairs k with the composed epsilon of a person at k nodes.
    """

    data: str
    unit: str
    epsilon: float | None
    delta: float | None
    plan_digest: Digest | None
    rounds: int
    intended_use: str
    limits: tuple[str, ...]
    metrics: tuple[Metric, ...] = ()
    epsilon_at_nodes: tuple[tuple[int, float], ...] = ()


def card_to_dict(card: Card) -> dict[str, Any]:
    """Return the card as JSON values."""
    return asdict(card) | {
        "limits": list(card.limits),
        "metrics": [asdict(metric) for metric in card.metrics],
        "epsilon_at_nodes": [list(pair) for pair in card.epsilon_at_nodes],
    }


def card_from_dict(value: Any) -> Card:
    """Rebuild a card.

    Raises:
        ReleaseInvalid: A field is missing, unknown or of another type, or a number is not
            finite.
    """
    try:
        card = _parse(value)
    except (KeyError, TypeError, ValueError) as error:
        raise ReleaseInvalid(f"not a model card: {type(error).__name__}: {error}") from error
    return card


def card_markdown(card: Card) -> str:
    """Return the card as Markdown for people."""
    lines = [
        "# Model card",
        "",
        f"- **Data:** {card.data}",
        f"- **Privacy:** {_privacy(card)}",
        *(
            f"  - for a person at {nodes} nodes: epsilon {value:.2f} in all"
            for nodes, value in card.epsilon_at_nodes
        ),
        f"- **Plan:** {card.plan_digest or 'none'}, {card.rounds} rounds",
        f"- **Intended use:** {card.intended_use}",
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in card.limits or ("None stated.",)),
        "",
        "## Measured",
        "",
        *_metric_table(card.metrics),
    ]
    return "\n".join(lines) + "\n"


def _privacy(card: Card) -> str:
    """Say what the bound is, and for whom."""
    if card.epsilon is None or card.delta is None:
        return "made without any person's data"
    return (
        f"epsilon {card.epsilon:.2f} at delta {card.delta:g} in all, "
        f"for {card.unit}, against anyone who sees every update"
    )


def _metric_table(metrics: tuple[Metric, ...]) -> list[str]:
    """Return the rows of the table of figures."""
    if not metrics:
        return ["Nothing was measured."]
    rows = [f"| {m.name} | {m.value:.4g} | {m.measured_by} |" for m in metrics]
    return ["| figure | value | measured by |", "|---|---|---|", *rows]


def _parse(value: Mapping[str, Any]) -> Card:
    """Read and check the fields; the caller translates what goes wrong."""
    if set(value) != (names := {field.name for field in fields(Card)}):
        raise ValueError(f"fields are {sorted(names)}, got {sorted(map(str, value))}")
    digest = value["plan_digest"]
    return Card(
        data=_text(value["data"]),
        unit=_text(value["unit"]),
        epsilon=_number(value["epsilon"]),
        delta=_number(value["delta"]),
        plan_digest=None if digest is None else Digest(_text(digest)),
        rounds=_whole(value["rounds"]),
        intended_use=_text(value["intended_use"]),
        limits=tuple(_text(limit) for limit in _items(value["limits"])),
        metrics=tuple(_metric(metric) for metric in _items(value["metrics"])),
        epsilon_at_nodes=tuple(
            (_whole(nodes), _finite(bound)) for nodes, bound in _items(value["epsilon_at_nodes"])
        ),
    )


def _metric(value: Mapping[str, Any]) -> Metric:
    return Metric(
        name=_text(value["name"]),
        value=_finite(value["value"]),
        measured_by=_text(value["measured_by"]),
    )


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a whole number of at least 0, got {type(value).__name__}")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("expected a finite number")
    return float(value)


def _number(value: Any) -> float | None:
    return None if value is None else _finite(value)
