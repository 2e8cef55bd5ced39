"""What is missing, as a person reads it: the words of evidence become sentences.

The interface keeps `no evidence: KIND` (`consent.rights.missing`); only pages say it like this.
"""

from __future__ import annotations

from collections.abc import Iterable

from consent.rights import EvidenceKind

_SAID = {
    EvidenceKind.OWN_RECORDS: "our own records are not gathered",
    EvidenceKind.STANDING_RECORDED: "the gate has not closed by it",
    EvidenceKind.KEYS_DESTROYED: "our own keys are not destroyed",
    EvidenceKind.HUMAN_DECIDED: "nobody has decided yet",
    EvidenceKind.DELIVERED: "the person has no answer yet",
}
_HELD_NOWHERE = "no node holds what it concerns"
_PLAIN = {f"no evidence: {kind}": said for kind, said in _SAID.items()}


def lacking(missing: Iterable[str]) -> list[str]:
    """Return each thing that is missing in words for a page."""
    said = list(missing)
    if any(one.endswith(": no answer") for one in said):
        said = [one for one in said if one != _HELD_NOWHERE]  # who has not answered may hold it
    return [_PLAIN.get(one, one) for one in said]
