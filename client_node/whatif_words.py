"""What a play of the twin told: as lines, as JSON values, and as a picture with its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from client_node.whatif import Interval, Measure, Told

WIDTH, ROW, LEFT = 640, 44, 200


def told_to_dict(told: Told) -> dict[str, Any]:
    """Return a plan's figures as JSON values."""
    return {
        "plan": told.plan.name,
        "policy": told.plan.policy.value,
        "agents": told.plan.ordinary + told.plan.reserved,
        "measures": {m.value: _values(v) for m, v in told.measures.items()},
        "differences": {m.value: _values(v) for m, v in told.differences.items()},
    }


def lines(told: Sequence[Told]) -> list[str]:
    """Return the figures as a manager reads them; differences are against the first plan."""
    found = []
    for place, one in enumerate(told):
        plan = one.plan
        found.append(f"{plan.name}: {plan.ordinary} ordinary and {plan.reserved} reserved agents")
        for measure in Measure:
            value, apart = one.measures[measure], one.differences[measure]
            row = f"  {measure.value}: {value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]"
            if place:
                row += f"; {apart.mean:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}], {_sure(apart)}"
                row += f" (one such stretch: {apart.least:+.2f} to {apart.most:+.2f})"
            found.append(row)
    return found


def drawn(name: str, told: Sequence[Told]) -> str:
    """Return mean waits with their intervals as an SVG that says in words what it shows."""
    waits = [one.measures[Measure.WAIT_S] for one in told]
    scale = (WIDTH - LEFT - 90) / max(*(wait.high for wait in waits), 1e-9)
    words = "; ".join(
        f"{one.plan.name}: {wait.mean:.1f} s [{wait.low:.1f}, {wait.high:.1f}]"
        for one, wait in zip(told, waits, strict=True)
    )
    rows = "".join(
        f'<text x="0" y="{y + 5}">{escape(one.plan.name)}</text>'
        f'<rect x="{LEFT}" y="{y - 9}" width="{wait.mean * scale:.1f}" height="18"/>'
        f'<line x1="{LEFT + max(0.0, wait.low) * scale:.1f}" x2="{LEFT + wait.high * scale:.1f}" '
        f'y1="{y}" y2="{y}"/>'
        f'<text x="{LEFT + wait.high * scale + 8:.1f}" y="{y + 5}">{wait.mean:.1f} s</text>'
        for y, one, wait in zip(range(30, 9_999, ROW), told, waits, strict=False)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t d" '
        f'viewBox="0 0 {WIDTH} {ROW * len(told) + 20}" font-family="sans-serif" font-size="14">'
        f'<title id="t">{escape(name)}: mean wait by plan</title>'
        f'<desc id="d">{escape(words)}</desc>'
        f'<g fill="#3b6ea5" stroke="none">{rows.replace("<line", _LINE)}</g></svg>\n'
    )


_LINE = '<line stroke="#222" stroke-width="2"'


def _sure(apart: Interval) -> str:
    return "no sure difference" if apart.low <= 0 <= apart.high else "a difference"


def _values(value: Interval) -> dict[str, float]:
    return asdict(value)
