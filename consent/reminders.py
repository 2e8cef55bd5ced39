"""What is due soon or overdue at the desk: requests, breaches, appointments, stale documents.

Pure: it reads states as the desks give them, and names entries by id, nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consent.register import UNABLE

DAY_S = 86_400

State = Mapping[str, Any]


def reminders(
    *,
    requests: Iterable[State],
    breaches: Iterable[State],
    appointments: Iterable[State],
    documents: Iterable[State],
    now: float,
    within_days: int,
) -> list[dict[str, Any]]:
    """Return what is due within so many days, the most urgent first.

    A request whose clock stands still for the identity is not due; a breach is from the moment
    somebody must be told; a document once what was approved is no longer what the system is.
    """
    found = [
        *(_of_request(state) for state in requests if not state["paused"]),
        *(_of_breach(state) for state in breaches if _waits(state)),
        *(_of_appointment(made, now) for made in appointments if made["within_term"]),
        *(_of_document(one) for one in documents if _stale(one)),
    ]
    due = [row for row in found if row["days_left"] <= within_days]
    return sorted(due, key=lambda row: (row["days_left"], row["what"], row["entry"]))


def _of_request(state: State) -> dict[str, Any]:
    why = "; ".join(state["missing"]) or "only to be closed"
    return _row("request", state["request"], why, state["days_left"], overdue=state["overdue"])


def _waits(state: State) -> bool:
    return state["closed_at"] is None and bool(state["missing"])


def _of_breach(state: State) -> dict[str, Any]:
    days = int(state["hours_left"] // 24)
    why = "; ".join(state["missing"])
    return _row("breach", state["breach"], why, days, overdue=state["overdue"])


def _of_appointment(made: State, now: float) -> dict[str, Any]:
    if not made["in_force"]:
        why = f"who oversees {made['purpose']} {UNABLE[made['account']]}: appoint another"
        return _row("oversight", made["appointment"], why, 0, overdue=True)
    days = int((made["until"] - now) // DAY_S)
    why = f"oversight of {made['purpose']} ends"
    return _row("oversight", made["appointment"], why, days, overdue=False)


def _stale(one: State) -> bool:
    return bool(one["approval"]["approvals"]) and not one["approval"]["approved"]


def _of_document(one: State) -> dict[str, Any]:
    changed: Sequence[str] = one["approval"]["changed"]
    waits = " and ".join(one["approval"]["waits_for"])
    why = f"changed in {', '.join(changed)}" if changed else "not approved yet"
    return _row("document", one["name"], f"{why}; waits for {waits}", 0, overdue=False)


def _row(what: str, entry: str, why: str, days_left: int, *, overdue: bool) -> dict[str, Any]:
    return {"what": what, "entry": entry, "why": why, "days_left": days_left, "overdue": overdue}
