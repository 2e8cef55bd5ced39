"""What is drawn of runs: who took part, what was learned, and what accuracy costs in privacy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audit.portal.charts import Chart, axis
from coordinator.pages.told import Told

_UNIT = {"domain": [0, 1]}
_UPRIGHT = {"labelAngle": 0, "tickCount": 8}
_F1 = axis("f1", "Macro-F1", scale=_UNIT)


def _interval(field: str, kind: str = "quantitative") -> dict[str, Any]:
    """Return the upright line between the bounds of each figure."""
    low = axis("low", "Macro-F1", scale=_UNIT)
    return {"x": axis(field, "", kind, axis=_UPRIGHT), "y": low, "y2": {"field": "high"}}


def participation_chart(told: Told) -> Chart:
    """Return the replies of each round: those that counted and those that did not."""
    rows = []
    for one in told.rounds:
        rows.append({"round": one.number, "replies": one.replies, "what": "counted"})
        missed = sum(one.rejected.values())
        rows.append({"round": one.number, "replies": missed, "what": "not counted"})
    fewest = min((one.replies for one in told.rounds), default=0)
    return Chart(
        path=f"/federation/runs/{told.record.run}/participation.svg",
        alt=f"Bars of replies in {len(told.rounds)} rounds; the fewest that counted: {fewest}.",
        caption="Replies by round",
        rows=rows,
        encoding={
            "x": axis("round", "Round", "ordinal", axis=_UPRIGHT),
            "y": axis("replies", "Replies", axis={"tickMinStep": 1}),
            "color": axis("what", "", "nominal"),
        },
    )


def accuracy_chart(told: Told) -> Chart:
    """Return macro-F1 after each round that was evaluated, with the interval of its noise."""
    found = [(one.after_round, told.figures(one)) for one in told.evaluations]
    rows = [
        {"round": at, "f1": f.macro_f1.value, "low": f.macro_f1.low, "high": f.macro_f1.high}
        for at, f in found
        if f is not None
    ]
    last = rows[-1]["f1"] if rows else 0.0
    return Chart(
        path=f"/federation/runs/{told.record.run}/accuracy.svg",
        alt=f"A line of macro-F1 by round, {len(rows)} evaluations; the last: {last:.3f}.",
        caption="Macro-F1 by round, by private evaluation; upright lines show what noise may hide",
        rows=rows,
        encoding={
            "x": axis("round", "After round", "ordinal", axis=_UPRIGHT),
            "y": _F1,
        },
        band=_interval("round", "ordinal"),
        mark="line",
    )


def compared_chart(told: Sequence[Told]) -> Chart:
    """Return all runs that were measured: what they cost and what they reached."""
    rows = [
        {
            "epsilon": one.preview.epsilon,
            "f1": last.value,
            "low": last.low,
            "high": last.high,
            "plan": one.plan.name,
        }
        for one in told
        if (last := one.final_accuracy) is not None
    ]
    return Chart(
        path="/federation/accuracy.svg",
        alt=f"Macro-F1 against epsilon of {len(rows)} runs; the table of runs has the figures.",
        caption="What accuracy cost: each run's last macro-F1 against its ε for a person at a node",
        rows=rows,
        encoding={
            "x": axis("epsilon", "ε of a person at a node", axis=_UPRIGHT),
            "y": _F1,
            "color": axis("plan", "", "nominal"),
            "shape": axis("plan", "", "nominal"),
        },
        band=_interval("epsilon"),
        mark="point",
    )
