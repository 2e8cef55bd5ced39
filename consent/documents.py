"""The documents an authority asks for, each generated from the live system.

Pure. A document is sections of JSON values; each has its digest, and all together have one. An
approval names that digest, so that a system that has changed makes it stale, and `changed` says
in which sections. `gaps` says what is missing before anybody may approve it, and `seats` who
must: each seat is another person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from audit.staff import StaffRole
from consent.errors import NotFound
from consent.impact import dpia, dpia_gaps, fria, fria_gaps
from consent.live import Live
from consent.ropa import ropa, ropa_gaps
from consent.technical import instructions, instructions_gaps, technical, technical_gaps
from policies.canonical import digest


class Name(StrEnum):
    """The documents, by the word that addresses and commands use."""

    ROPA = "ropa"
    DPIA = "dpia"
    FRIA = "fria"
    TECHNICAL = "technical"
    INSTRUCTIONS = "instructions"


Seat = frozenset[StaffRole]
_EITHER: Seat = frozenset({StaffRole.OFFICER, StaffRole.DPO})
_OFFICER: Seat = frozenset({StaffRole.OFFICER})
_DPO: Seat = frozenset({StaffRole.DPO})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a document is made, by whom it is approved, and what its sections are called."""

    title: str
    term: str | None
    build: Callable[[Live], Mapping[str, Any]]
    gaps: Callable[[Live], list[str]]
    seats: tuple[Seat, ...]
    headings: Mapping[str, str]


DOCUMENTS: Mapping[Name, Kind] = MappingProxyType(
    {
        Name.ROPA: Kind(
            title="Record of processing activities (GDPR 30)",
            term="dpv:ROPA",
            build=ropa,
            gaps=ropa_gaps,
            seats=(_EITHER,),
            headings={
                "controllers": "Controllers (1)(a)",
                "purposes": "Purposes (1)(b)",
                "categories": "People and data (1)(c)",
                "recipients": "Recipients (1)(d)",
                "transfers": "Transfers (1)(e)",
                "retention": "Time limits (1)(f)",
                "security": "Security (1)(g)",
            },
        ),
        Name.DPIA: Kind(
            title="Data protection impact assessment (GDPR 35)",
            term="dpv:DPIA",
            build=dpia,
            gaps=dpia_gaps,
            seats=(_OFFICER, _DPO),  # the controller approves, the DPO has advised: 35(2)
            headings={
                "processing": "Processing and its purposes (7)(a)",
                "necessity": "Necessity and proportionality (7)(b)",
                "risks": "Risks, and what is done against each (7)(c), (d)",
                "rules": "Rules in force",
                "model": "The model in use",
                "oversight": "Human oversight",
                "people_consulted": "Views of the people concerned (9)",
            },
        ),
        Name.FRIA: Kind(
            title="Fundamental rights impact assessment (AI Act 27)",
            term="dpv:FRIA",
            build=fria,
            gaps=fria_gaps,
            seats=(_OFFICER, _DPO),
            headings={
                "processes": "The deployer's processes (1)(a)",
                "period": "Period and frequency (1)(b)",
                "people": "People affected (1)(c)",
                "harms": "Risks of harm (1)(d)",
                "oversight": "Human oversight (1)(e)",
                "when_it_happens": "If a risk comes true (1)(f)",
                "rules": "Rules in force",
            },
        ),
        Name.TECHNICAL: Kind(
            title="Technical documentation (AI Act 11, Annex IV)",
            term=None,
            build=technical,
            gaps=technical_gaps,
            seats=(_EITHER,),
            headings={
                "general_description": "1. General description",
                "elements_and_development": "2. Elements and development",
                "monitoring_and_control": "3. Monitoring, functioning and control",
                "metrics": "4. Performance metrics",
                "risk_management": "5. Risk management (Article 9)",
                "changes": "6. Changes through the lifecycle",
                "standards": "7. Standards applied",
                "declaration_of_conformity": "8. EU declaration of conformity",
                "post_market_monitoring": "9. Post-market monitoring (Article 72)",
            },
        ),
        Name.INSTRUCTIONS: Kind(
            title="Instructions for use (AI Act 13)",
            term=None,
            build=instructions,
            gaps=instructions_gaps,
            seats=(_EITHER,),
            headings={
                "provider": "Provider (3)(a)",
                "intended_purpose": "Intended purpose (3)(b)(i)",
                "accuracy": "Accuracy, also for groups (3)(b)(ii), (v)",
                "foreseeable_misuse": "Foreseeable misuse, and what refuses it (3)(b)(iii)",
                "reading_the_output": "Reading the output (3)(b)(iv), (vii)",
                "input": "Input (3)(b)(vi)",
                "changes": "Changes foreseen (3)(c)",
                "human_oversight": "Human oversight (3)(d)",
                "resources": "Machines, lifetime and care (3)(e)",
                "logs": "Logs (3)(f)",
            },
        ),
    }
)


def kind_of(word: str) -> tuple[Name, Kind]:
    """Return a document by its word.

    Raises:
        NotFound: There is no such document; the message lists those that there are.
    """
    try:
        name = Name(word)
    except ValueError as error:
        known = ", ".join(Name)
        raise NotFound(f"no such document: expected one of {known}") from error
    return name, DOCUMENTS[name]


def stamped(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its digest and those of its sections."""
    sections = {name: digest({"section": value}) for name, value in document.items()}
    return {"document": dict(document), "sections": sections, "digest": digest(sections)}


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the sections whose digests differ."""
    return sorted(n for n in {*then, *now} if then.get(n) != now.get(n))
