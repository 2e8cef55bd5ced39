"""The technical documentation under the headings of the AI Act's Annex IV.

Each section is one point of the annex; what the running system cannot know is the operator's own
declaration, and missing until it is made.
"""

from __future__ import annotations

from typing import Any

from consent.live import Live, figures_of, not_declared, said
from consent.risks import RISKS, assessed
from policies.law import LAW

PRIVATE_RULES = "r25-"


def technical(live: Live) -> dict[str, Any]:
    """Return the documentation (AI Act 11, Annex IV points 1 to 9)."""
    return {
        "general_description": {
            "intended_purpose": said(live, "intended_purpose"),
            "provider": said(live, "provider"),
            "version": live.version,
            "releases": [_short(release) for release in live.releases],
            "interacts_with": "A CRM or telephone system beside each branch, by its local API.",
            "placed_on_the_market_as": "Software for an organisation's own machines.",
            "hardware": said(live, "hardware"),
            "instructions_for_use": "The document `instructions`, generated beside this one.",
        },
        "elements_and_development": {
            "method": "A frozen public encoder with a public adapter; a small head is trained in "
            "rounds at branches, which share private updates alone.",
            "design": "Default deny: every use asks one gate, which decides by rules and records.",
            "data": [
                {"release": r["release"], "data": r["card"]["data"], "unit": r["card"]["unit"]}
                for r in live.releases
            ],
            "human_oversight": _oversight(live),
            "predetermined_changes": "Weights by a release, rules by a signed bundle; each with "
            "its own approval and its entry in the log.",
            "validation": [
                {"release": r["release"], "figures": figures_of(r)} for r in live.releases
            ],
            "cybersecurity": {
                "measures": ["TLS", "signed requests", "a key for each person and purpose"],
                "rules": _rule_ids(live, PRIVATE_RULES),
            },
        },
        "monitoring_and_control": {
            "capabilities": said(live, "intended_purpose"),
            "limits": [] if (found := live.release()) is None else list(found["card"]["limits"]),
            "accuracy_for_groups": figures_of(live.release(), "gap in"),
            "oversight": _oversight(live),
            "stop": "One person stops every use; two lift the stop.",
            "logs": _logs(live),
        },
        "metrics": {
            "chosen": figures_of(live.release()),
            "why": said(live, "metrics_why"),
        },
        "risk_management": [assessed(risk, live) for risk in RISKS],
        "changes": {
            "releases": [_short(release) for release in live.releases],
            "rules": {"policy_digest": live.policy_digest, "bundles": dict(live.bundles)},
            "notices": list(live.notices),
        },
        "standards": {
            "applied": said(live, "standards"),
            "formats": ["ISO/IEC TS 27560", "W3C DPV", "RFC 6962", "C2SP tlog-checkpoint"],
        },
        "declaration_of_conformity": {"copy": said(live, "conformity")},
        "post_market_monitoring": {
            "plan": said(live, "monitoring"),
            "breach_hours": LAW.clocks.breach_notice_hours,
            "log_days_at_least": live.retention["ai_act_floor_days"],
        },
    }


def technical_gaps(live: Live) -> list[str]:
    """Return what keeps it from being approved."""
    names = (
        *("intended_purpose", "provider", "hardware", "metrics_why", "standards"),
        *("conformity", "monitoring"),
    )
    lacking = not_declared(live, *names)
    if live.release() is None:
        lacking.append("no release's card has reached this service (settings, coordinator)")
    return lacking


def instructions(live: Live) -> dict[str, Any]:
    """Return the instructions for use (AI Act 13(3)(a) to (f))."""
    release = live.release()
    card = {} if release is None else release["card"]
    return {
        "provider": {"name_and_contact": said(live, "provider")},
        "intended_purpose": {
            "purpose": said(live, "intended_purpose"),
            "release": None if release is None else release["release"],
            "model_is_for": card.get("intended_use"),
        },
        "accuracy": {
            "figures": figures_of(release),
            "limits": list(card.get("limits", ())),
            "for_groups": figures_of(release, "gap in"),
        },
        "foreseeable_misuse": [
            {"rule": page["rule"], "refused": page["sentence"], "source": page["source"]}
            for page in live.rules
            if page.get("absolute")
        ],
        "reading_the_output": {
            "cue": "What was expressed, never what somebody feels; open to correction.",
            "no_answer": "Below its threshold the model abstains: that is an answer too.",
            "why": "Each decision names its rules; `undertone-trust trace` shows what it rests on.",
        },
        "input": {
            "text": "The customer's own turns, in a language that the model was measured in.",
            "never": ["an agent's words", "mixed speakers", "people who were not told"],
        },
        "changes": {"policy_digest": live.policy_digest, "bundles": dict(live.bundles)},
        "human_oversight": _oversight(live),
        "resources": {
            "hardware": said(live, "hardware"),
            "lifetime_and_care": said(live, "lifetime"),
            "version": live.version,
        },
        "logs": _logs(live),
    }


def instructions_gaps(live: Live) -> list[str]:
    """Return what keeps them from being approved."""
    lacking = not_declared(live, "provider", "intended_purpose", "hardware", "lifetime")
    if live.release() is None:
        lacking.append("no release's card has reached this service (settings, coordinator)")
    if alone := [p.value for p in live.purposes if not live.overseers(p)]:
        lacking.append(f"nobody who can act oversees: {', '.join(alone)}")
    return lacking


def _short(release: Any) -> dict[str, Any]:
    names = ("release", "card_digest", "published_at")
    return {name: release[name] for name in names}


def _oversight(live: Live) -> list[dict[str, Any]]:
    return [
        {
            "purpose": made["purpose"],
            "person": made["person"],
            "until": made["until"],
            "competence": made["competence"],
        }
        for made in live.oversight
        if made["in_force"]
    ]


def _logs(live: Live) -> dict[str, Any]:
    return {
        "origin": live.log["origin"],
        "witnesses": list(live.log["witnesses"]),
        "days_at_least": live.retention["ai_act_floor_days"],
        "read_them_by": "undertone-trust verify, export and trace",
    }


def _rule_ids(live: Live, start: str) -> list[str]:
    return sorted(str(page["rule"]) for page in live.rules if page["rule"].startswith(start))
