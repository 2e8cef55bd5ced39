"""The record of processing, generated from the live system (GDPR 30).

Pure: `ropa` takes what the system is right now and returns sections of JSON values; each has its
digest, and all together have one. An approval names that digest, so that a system that has
changed makes it stale, and `changed` says in which sections.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.canonical import digest
from policies.law import LAW
from policies.standing import Governance
from policies.vocabulary import Purpose
from policies.words import rule_pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What the system is right now; nothing of any person."""

    governance: Governance
    notices: Sequence[Mapping[str, Any]]
    assessments: Sequence[Mapping[str, Any]]
    nodes: Sequence[Mapping[str, str]]
    parties: Mapping[str, Mapping[str, str]]
    storage: str
    policy_digest: str
    oversight: Sequence[Mapping[str, Any]]


def ropa(live: Live) -> dict[str, Any]:
    """Return the record of processing, section by section (GDPR 30(1)(a) to (g))."""
    companies = sorted({node["company"] for node in live.nodes})
    approved = live.governance.dpia_purposes
    return {
        "controllers": [{"company": c, **live.parties.get(c, {})} for c in companies],
        "purposes": [
            {
                "purpose": purpose.value,
                "in_use": purpose in approved and not live.governance.stopped,
                "legal_basis": "GDPR 6(1)(a) and 9(2)(a): explicit consent",
            }
            for purpose in Purpose
        ],
        "categories": {
            "people": ["customers"],
            "data": ["pd:Emotion, as expressed cues", "redacted text", "features", "own labels"],
        },
        "recipients": [{"node": n["node"], "company": n["company"]} for n in live.nodes],
        "transfers": {"third_countries": [], "storage": live.storage},
        "retention": {
            "readings_hours": LAW.clocks.emotion_session_hours,
            "training_copies": "until withdrawn, or the consent ends",
            "log_days_at_least": LAW.clocks.high_risk_log_days,
        },
        "security": {
            "policy_digest": live.policy_digest,
            "rules": sorted(str(page["rule"]) for page in rule_pages()),
            "standing_max_age_s": live.governance.standing_max_age_s,
            "measures": ["a key for each person and purpose", "redaction before storage", "TLS"],
        },
        "notices": list(live.notices),
        "assessments": list(live.assessments),
        "oversight": list(live.oversight),
    }


def stamped(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its digest and those of its sections."""
    sections = {name: digest({"section": value}) for name, value in document.items()}
    return {"document": dict(document), "sections": sections, "digest": digest(sections)}


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the sections whose digests differ."""
    return sorted(n for n in {*then, *now} if then.get(n) != now.get(n))


def as_markdown(title: str, stamp: Mapping[str, Any]) -> str:
    """Return a stamped document as Markdown."""
    parts = [f"## {name.capitalize()}\n\n{_lines(of)}" for name, of in stamp["document"].items()]
    return f"# {title}\n\nDigest: `{stamp['digest']}`\n\n" + "\n".join(parts)


def as_html(title: str, stamp: Mapping[str, Any]) -> str:
    """Return a stamped document as one HTML page without script."""
    text = html.escape(as_markdown(title, stamp))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title></head><body><main><pre>{text}</pre></main></body></html>"
    )


def _lines(value: Any, depth: int = 0) -> str:
    pad = "  " * depth
    if isinstance(value, Mapping):
        return "".join(
            f"{pad}- {name}: {of}\n"
            if not isinstance(of, Mapping | list)
            else f"{pad}- {name}:\n{_lines(of, depth + 1)}"
            for name, of in value.items()
        )
    if isinstance(value, list):
        return (
            "".join(
                f"{pad}- {item}\n"
                if not isinstance(item, Mapping)
                else f"{pad}- {'; '.join(f'{n}: {of}' for n, of in item.items())}\n"
                for item in value
            )
            or f"{pad}- none\n"
        )
    return f"{pad}{value}\n"
