"""The record of processing activities, section by section (GDPR 30(1)(a) to (g))."""

from __future__ import annotations

from typing import Any

from consent.basis import basis_of
from consent.live import Live
from policies.law import LAW
from policies.vocabulary import Purpose


def ropa(live: Live) -> dict[str, Any]:
    """Return the record."""
    approved = live.governance.dpia_purposes
    return {
        "controllers": [{"company": c, **live.parties.get(c, {})} for c in live.companies()],
        "purposes": [
            {
                "purpose": purpose.value,
                "in_use": purpose in approved and not live.governance.stopped,
                "legal_basis": basis_of(purpose).sentence(),
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
            "policy": live.retention["digest"],
        },
        "security": {
            "policy_digest": live.policy_digest,
            "rules": sorted(str(page["rule"]) for page in live.rules),
            "standing_max_age_s": live.governance.standing_max_age_s,
            "measures": ["a key for each person and purpose", "redaction before storage", "TLS"],
        },
        "notices": list(live.notices),
        "assessments": list(live.assessments),
        "oversight": list(live.oversight),
    }


def ropa_gaps(live: Live) -> list[str]:
    """Return what the record lacks: name and contact of each controller (30(1)(a))."""
    return [
        f"company {company}: no name and contact (settings, [parties.{company}])"
        for company in live.companies()
        if not live.parties.get(company, {}).get("contact")
    ]
