"""The two impact assessments: on data protection (GDPR 35), and on fundamental rights (AI Act 27).

Neither says which purposes are opened: that is what is decided on their strength, and deciding
must not change what was read.
"""

from __future__ import annotations

from typing import Any

from consent.live import Live, not_declared, said
from consent.risks import RISKS, assessed, gaps_of
from policies.law import LAW
from policies.vocabulary import Purpose

_WHAT_FOR = {
    Purpose.SERVICE: "read expressed cues in a turn, so that frustration is noticed early",
    Purpose.HANDOVER: "offer a person where cues ask for one, from idle or reserved capacity",
    Purpose.AGENT_HELP: "show the agent approved words of empathy and the company's articles",
    Purpose.TRAINING: "compute private updates of a model at the branch",
    Purpose.AGGREGATE_REPORTING: "count privately over many people",
    Purpose.OFFERS: "hold an offer back, or make good what went wrong, by a person's approval",
    Purpose.RESEARCH: "study expressed cues under the person's own consent",
    Purpose.RECORDING: "keep that the company may record, apart from analysing; nothing is read",
}


def dpia(live: Live) -> dict[str, Any]:
    """Return the data protection impact assessment (GDPR 35(7)(a) to (d))."""
    return {
        "processing": {
            "what": "Expressed cues of emotion are read from customers' turns at each branch.",
            "purposes": [{"purpose": p.value, "for": _WHAT_FOR[p]} for p in live.purposes],
            "where": [{"node": n["node"], "company": n["company"]} for n in live.nodes],
            "context": said(live, "intended_purpose"),
            "data": ["expressed cues", "redacted text", "features", "the customer's own labels"],
        },
        "necessity": {
            "basis": "Explicit consent for each purpose and modality; nothing without it.",
            "minimised": "Raw words never stay; each branch keeps its own; models share no record.",
            "storage": live.storage,
            "readings_hours": LAW.clocks.emotion_session_hours,
            "log_days_at_least": live.retention["ai_act_floor_days"],
            "retention_policy": live.retention["digest"],
            "people_are_told_by": list(live.notices),
            "people_may": "see, correct, erase, restrict, take along, object, have a person decide",
        },
        "risks": [assessed(risk, live) for risk in RISKS],
        "rules": _rules(live),
        "model": _model(live),
        "oversight": _overseers(live),
        "people_consulted": said(live, "people_consulted"),
    }


def dpia_gaps(live: Live) -> list[str]:
    """Return what keeps it from being approved."""
    return [
        *not_declared(live, "intended_purpose", "people_consulted"),
        *gaps_of([assessed(risk, live) for risk in RISKS]),
    ]


def fria(live: Live) -> dict[str, Any]:
    """Return the fundamental rights impact assessment (AI Act 27(1)(a) to (f))."""
    return {
        "processes": {
            "where_it_is_used": said(live, "processes"),
            "intended_purpose": said(live, "intended_purpose"),
            "branches": [{"node": n["node"], "company": n["company"]} for n in live.nodes],
        },
        "period": {"how_long_and_how_often": said(live, "period")},
        "people": {
            "affected": said(live, "people_affected"),
            "never": ["employees", "students", "minors but in aggregates"],
        },
        "harms": [
            assessed(risk, live) | {"charter_articles": list(risk.charter)} for risk in RISKS
        ],
        "oversight": _overseers(live),
        "when_it_happens": {
            "internal_governance": said(live, "governance"),
            "stop": "One person stops every use at every branch; two lift the stop.",
            "complaints": _complaints(live),
        },
        "rules": _rules(live),
    }


def fria_gaps(live: Live) -> list[str]:
    """Return what keeps it from being approved."""
    names = ("intended_purpose", "processes", "period", "people_affected", "governance")
    return [
        *not_declared(live, *names),
        *gaps_of([assessed(risk, live) for risk in RISKS]),
    ]


def _rules(live: Live) -> dict[str, Any]:
    return {
        "policy_digest": live.policy_digest,
        "of_the_organisation": {n: b["in_force"] for n, b in live.bundles.items()},
        "by_branch": {str(n["node"]): n.get("policy_digest") for n in live.nodes},
    }


def _model(live: Live) -> dict[str, Any]:
    release = live.release()
    if release is None:
        return {"release": None}
    names = ("data", "unit", "epsilon", "delta", "rounds", "metrics", "limits")
    return {"release": release["release"], "card_digest": release["card_digest"]} | {
        name: release["card"][name] for name in names
    }


def _overseers(live: Live) -> list[dict[str, Any]]:
    return [{"purpose": p.value, "people": live.overseers(p)} for p in live.purposes]


def _complaints(live: Live) -> list[dict[str, Any]]:
    return [
        {
            "company": company,
            "contact": live.parties.get(company, {}).get("contact"),
            "authority": live.parties.get(company, {}).get("authority"),
        }
        for company in live.companies()
    ]
