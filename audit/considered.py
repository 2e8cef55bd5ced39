"""The facts that a decision considered, opened for a named request under a permit.

What a use stated of itself may rest on a reading of somebody's emotion, so it opens only where the
gate lets that person's readings be opened now. Where it does not, what the organisation and the
trust service knew anyway is told (standing, governance, what was asked for), and by which rules the
rest stays shut. Once the person's keys are destroyed there is nothing to open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from audit.errors import EntryMissing
from audit.events import EventKind
from audit.log import EvidenceLog
from policies.errors import Refused
from policies.permit import Permit
from policies.vocabulary import SubjectId

COMPLETE, KEPT_SHUT, NOTHING_HERE = "complete", "kept-shut", "nothing-here"

PermitFor = Callable[[SubjectId], Permit]
"""Ask the gate to open a person's readings; raises `Refused`."""


def considered(
    log: EvidenceLog, index: int, decision: str, permit_for: PermitFor
) -> tuple[str, dict[str, Any]]:
    """Return the outcome and what may be shown of the facts of one decision.

    Args:
        log: The log that the decision is in.
        index: Its place.
        decision: Its id.
        permit_for: Asks the gate.

    Raises:
        EvidenceUnavailable, LogTampered, PolicyUnavailable: Not now; ask again.
    """
    facts = _sealed(log, index, decision)
    if facts is None:
        return NOTHING_HERE, {"why": "no facts are sealed beside it here: erased, or past keeping"}
    subject = SubjectId(facts["request"]["subject"])
    try:
        permit = permit_for(subject)
    except Refused as refusal:
        rules = [str(rule) for rule in refusal.decision.rules]
        return KEPT_SHUT, {"facts": _without_cues(facts), "kept_shut_by": rules}
    return COMPLETE, {"facts": _opened(facts, permit), "opened_by": str(permit.decision_id)}


def _sealed(log: EvidenceLog, index: int, decision: str) -> dict[str, Any] | None:
    """Return what lies sealed beside a decision; None where nothing does."""
    try:
        event = log.entry(index).event
    except EntryMissing:
        return None
    if event.kind is not EventKind.DECISION or event.fields["decision_id"] != decision:
        return None
    return log.payload(index)


def _opened(facts: Mapping[str, Any], permit: Permit) -> dict[str, Any]:
    if facts["request"]["subject"] not in permit.subjects:
        raise EntryMissing("the permit is for somebody else: nothing is opened")
    return dict(facts)


def _without_cues(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the use stated of itself, and whose data it was."""
    asked = {n: v for n, v in facts["request"].items() if n not in {"facts", "subject"}}
    standing = facts.get("standing")
    told = None if standing is None else {n: v for n, v in standing.items() if n != "subject"}
    return {**facts, "request": asked, "standing": told}
