"""Which of a log's decisions are about one person, for a named request under a permit.

Decisions are found by the keys that seal them. The keys of somebody unknown, and of somebody
erased, are nowhere: both look like a person about whom nothing was decided.
"""

from __future__ import annotations

from typing import Any

from audit.considered import COMPLETE, KEPT_SHUT, NOTHING_HERE, PermitFor
from audit.errors import EntryMissing
from audit.events import EventKind
from audit.log import EvidenceLog
from policies.errors import Refused
from policies.vocabulary import SubjectId

MOST = 200
"""Decisions in one answer; the newest."""

NOTHING: dict[str, Any] = {"decisions": [], "cut": False}


def decisions_about(
    log: EvidenceLog, subject: SubjectId, permit_for: PermitFor
) -> tuple[str, dict[str, Any]]:
    """Return the outcome and the places and ids of a person's decisions, newest first.

    Args:
        log: The log to look in, as it is before the gate is asked.
        subject: Whose decisions.
        permit_for: Asks the gate; not asked where nothing is found.

    Raises:
        EvidenceUnavailable, LogTampered, PolicyUnavailable: Not now; ask again.
    """
    found: list[dict[str, Any]] = []
    for index in reversed(log.sealed_for(subject)):
        decision = _decision(log, index, subject)
        if decision is not None:
            found.append({"entry": index, "decision": decision})
        if len(found) > MOST:
            break
    if not found:
        return NOTHING_HERE, dict(NOTHING)
    try:
        permit = permit_for(subject)
    except Refused as refusal:
        return KEPT_SHUT, NOTHING | {"kept_shut_by": [str(r) for r in refusal.decision.rules]}
    if subject not in permit.subjects:
        raise EntryMissing("the permit is for somebody else: nothing is told")
    told = {"decisions": found[:MOST], "cut": len(found) > MOST}
    return COMPLETE, told | {"opened_by": str(permit.decision_id)}


def _decision(log: EvidenceLog, index: int, subject: SubjectId) -> str | None:
    """Return the id of the decision at a place, if it is one about this person."""
    try:
        event = log.entry(index).event
    except EntryMissing:
        return None
    if event.kind is not EventKind.DECISION:
        return None
    facts = log.payload(index)
    if facts is None or facts["request"]["subject"] != subject:
        return None
    return str(event.fields["decision_id"])
