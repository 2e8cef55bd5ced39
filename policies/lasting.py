"""Which rules speak of an action, and which answer as before until something else than time moves.

Cedar evaluates each rule for itself: a use is refused where one prohibition holds, and allowed
where none does and a permission holds. So the rules may be asked in two parts, and what one part
said stays true as long as nothing that it reads has changed. Lasting is a rule that does not read
the time, nor when the cue was read, nor when standing or governance was last vouched for; in doubt
it does.

Reads rules as Cedar writes them in JSON; knows nothing of any rule in particular.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.vocabulary import RuleId, Use

FLEETING = frozenset({"now", "read_at", "standing_as_of", "governance_as_of"})
"""What is another at every turn, or at every page of the feed."""

_CONTEXT = {"Var": "context"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The lasting rules among those that speak of one action, and what they read of a request."""

    rules: frozenset[RuleId]
    reads: tuple[str, ...]


def lasting(rows: Mapping[str, Any]) -> Part:
    """Return the lasting part of some rules."""
    found = {RuleId(row["annotations"]["id"]): _reads(row["conditions"]) for row in rows.values()}
    kept = {
        rule: names for rule, names in found.items() if names is not None and not names & FLEETING
    }
    return Part(rules=frozenset(kept), reads=tuple(sorted(frozenset().union(*kept.values()))))


def speaks_of(action: str, scope: Mapping[str, Any]) -> bool:
    """Return whether a rule's scope may hold an action: in doubt it does."""
    named = scope.get("entities") or ([scope["entity"]] if "entity" in scope else [])
    names = {entity["id"] for entity in named}
    is_use = action in set(Use)
    return not names or action in names or (is_use and scope["op"] == "in" and "use" in names)


def _reads(expression: Any) -> frozenset[str] | None:
    """Return which members of the context an expression reads; None where it may read any."""
    if expression == _CONTEXT:
        return None
    if isinstance(expression, Mapping):
        for operator in (".", "has"):
            inner = expression.get(operator)
            if isinstance(inner, Mapping) and inner.get("left") == _CONTEXT:
                return frozenset({inner["attr"]}) if isinstance(inner["attr"], str) else None
        parts = [_reads(value) for value in expression.values()]
    elif isinstance(expression, list):
        parts = [_reads(value) for value in expression]
    else:
        return frozenset()
    return None if None in parts else frozenset().union(*(part for part in parts if part))
