"""What a guard says of a generated message: patterns, findings, verdicts, and the proof of a check.

The values only: `policies.lexicon` finds patterns by their wording, `models.message_guard` adds
a head and is the only maker of `CheckedMessage`. Whoever sends generated text takes that type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType

RuleNumber = NewType("RuleNumber", int)
"""A number of the rule list."""


class Pattern(StrEnum):
    """Ways to manipulate (EDPB Guidelines 03/2022; OECD 2022), and what could not be judged."""

    URGENCY = "urgency"
    SCARCITY = "scarcity"
    SOCIAL_PROOF = "social_proof"
    SHAME = "shame"
    GUILT = "guilt"
    FEAR = "fear"
    NAGGING = "nagging"
    OBSTRUCTION = "obstruction"
    SNEAKING = "sneaking"
    FORCED_ACTION = "forced_action"
    FEELING = "feeling"  # rule 20
    HIDDEN_MACHINE = "hidden_machine"  # rule 20
    CLOSING = "closing"  # rule 21, in hints to agents
    DISGUISED = "disguised"  # letters that hide words from a filter
    UNREAD = "unread"  # too long, in no language that is read, or the guard failed


class Audience(StrEnum):
    """Who reads the message."""

    CUSTOMER = "customer"
    AGENT = "agent"


class FoundBy(StrEnum):
    """Which part of the guard found a pattern."""

    LEXICON = "lexicon"
    HEAD = "head"
    GUARD = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A pattern at a half-open range of characters, with its rule and an honest way to say it.

    `named` is the pattern's name at the EDPB or the OECD.
    """

    start: int
    end: int
    pattern: Pattern
    rule: RuleNumber
    named: str
    sentence: str
    suggestion: str
    found_by: FoundBy


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that was found in a message, in order; nothing found means that it may be sent."""

    text: str
    audience: Audience
    findings: tuple[Finding, ...]

    @property
    def blocked(self) -> bool:
        """Whether the message may not be sent."""
        return bool(self.findings)

    def phrase(self, finding: Finding) -> str:
        """Return the words of a finding."""
        return self.text[finding.start : finding.end]

    def __str__(self) -> str:
        """Say which patterns stand where, without the message's words."""
        if not self.findings:
            return "nothing found"
        return "; ".join(
            f"{f.pattern} at {f.start}-{f.end} (rule {f.rule}; {f.named})" for f in self.findings
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedMessage:
    """A message in which the guard found nothing, for the audience that it was checked for.

    `models.message_guard` alone builds one (a test reads every module to see that).
    """

    text: str
    audience: Audience


def merge(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings in order, those of one pattern and finder that overlap joined."""
    merged: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.pattern, f.found_by, f.start, f.end)):
        last = merged[-1] if merged else None
        alike = last and (last.pattern, last.found_by) == (finding.pattern, finding.found_by)
        if last and alike and finding.start <= last.end:
            merged[-1] = replace(last, end=max(last.end, finding.end))
        else:
            merged.append(finding)
    return tuple(sorted(merged, key=lambda f: (f.start, f.end, f.pattern)))
