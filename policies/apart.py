"""Whether rules may tell people apart whom `policies.likeness.alike` makes one.

A batch is decided once for all people of whom the shipped rules say the same. A rule of an
organisation may weigh what that leaves out: another time, another purpose, one person by name.
It need not fear to: where a rule reads more of a person than stays, each is decided alone.

Reads rules as Cedar writes them in JSON; in doubt they tell people apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PERSON, _CONTEXT = {"Var": "resource"}, {"Var": "context"}
_STAYS = frozenset({"role", "age", "vulnerabilities", "restricted", "erased"})
"""What `alike` leaves as it is."""
_CONSENT_STAYS = frozenset({"purpose", "modalities", "notice_version", "explicit"})
_IS_THERE = _STAYS | {"consent", "informed_at"}
"""What is there of a person if and only if it is there of whom `alike` makes of them."""
_VOUCHED = "standing_as_of"
"""All that the context holds of one person; `alike` leaves of it only whether it is fresh."""


def tells_apart(rows: Mapping[str, Any]) -> bool:
    """Return whether one of some rules reads more of a person than `alike` leaves."""
    return any(
        row["resource"]["op"] not in {"All", "is"}
        or "in" in row["resource"]
        or _reads_more(row["conditions"])
        for row in rows.values()
    )


def _reads_more(expression: Any) -> bool:
    if expression in (_PERSON, _CONTEXT):
        return True
    if isinstance(expression, list):
        return any(map(_reads_more, expression))
    if not isinstance(expression, Mapping):
        return False
    return not _stays(expression) and any(map(_reads_more, expression.values()))


def _stays(expression: Mapping[str, Any]) -> bool:
    """Return whether this is a member of the person, consent or context that stays."""
    if set(expression) not in ({"."}, {"has"}):
        return False
    ((operator, read),) = expression.items()
    consent = {".": {"left": _PERSON, "attr": "consent"}}
    if read.get("left") == _CONTEXT:
        return operator == "has" or read.get("attr") != _VOUCHED
    if read.get("left") == _PERSON:
        return read.get("attr") in (_STAYS if operator == "." else _IS_THERE)
    return read.get("left") == consent and read.get("attr") in _CONSENT_STAYS
