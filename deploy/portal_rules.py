"""The made-up organisation's own rules: a bundle in force, and its next version as a shadow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policies.canonical import digest_bytes
from policies.decision import UseRequest, request_to_dict
from policies.standing import (
    Governance,
    Grant,
    Standing,
    governance_to_dict,
    standing_to_dict,
)
from policies.vocabulary import Action, AgeBand, Modality, NodeId, Purpose, SubjectId

NAME = "made-up-air"
_NOW = 1_800_000_000
_OFFERS = "x-made-up-air-no-offers"
_KEEPING = "x-made-up-air-nothing-kept"
_FIRST = """
@id("x-made-up-air-no-offers")
forbid (principal, action == Action::"infer", resource)
when { principal.purpose == "offers" };
"""
_SECOND = """
@id("x-made-up-air-no-offers")
forbid (principal, action == Action::"infer", resource)
when { principal.purpose == "offers" || principal.purpose == "research" };

@id("x-made-up-air-nothing-kept")
forbid (principal, action == Action::"store", resource)
when { principal.purpose == "training" };
"""
_WORDS = {
    1: {
        _OFFERS: (
            "Nobody is read so that something can be offered to them.",
            "Niemand wird gelesen, damit man ihm etwas anbieten kann.",
            "Personne n'est analysé pour qu'on lui propose une offre.",
        )
    },
    2: {
        _OFFERS: (
            "Nobody is read for offers or for research.",
            "Niemand wird für Angebote oder für Forschung gelesen.",
            "Personne n'est analysé pour des offres ou pour la recherche.",
        ),
        _KEEPING: (
            "Nothing is kept for training until the works council has agreed.",
            "Bis der Betriebsrat zustimmt, wird nichts für das Training aufbewahrt.",
            "Rien n'est gardé pour l'entraînement avant l'accord du comité d'entreprise.",
        ),
    },
}


def roll_out(seal: Callable[..., None]) -> None:
    """Publish two versions, the first brought in force stage by stage, the second as a shadow.

    Args:
        seal: Seals an act of the officer, by kind and body, and hands it in.
    """
    seal("bundle", bundle=_bundle(1), by="olga")
    seal("rollout", **_stage(1, "shadow"))
    seal("rollout", **_stage(1, "some", nodes=["harbour"]))
    seal("rollout", **_stage(1, "all"))
    seal("bundle", bundle=_bundle(2), by="olga")
    seal("rollout", **_stage(2, "shadow"))


def shadow_report(policy_digest: str, *, decided: int, otherwise: int) -> dict[str, Any]:
    """Return what a node's shadow of the second version counted."""
    change = {
        "action": "store",
        "purpose": "training",
        "opens": False,
        "before": ["p02-store"],
        "after": [_KEEPING],
        "count": otherwise,
    }
    return {
        "policy_digest": policy_digest,
        "proposed_digest": digest_bytes(_SECOND.encode()),
        "decided": decided,
        "failed": 0,
        "changes": [change],
    }


def _stage(version: int, stage: str, *, nodes: list[str] | None = None) -> dict[str, Any]:
    return {
        "name": NAME,
        "version": version,
        "stage": stage,
        "nodes": nodes or [],
        "percent": 0,
        "by": "olga",
    }


def _bundle(version: int) -> dict[str, Any]:
    refused = [(_OFFERS, Action.INFER, Purpose.OFFERS)]
    if version > 1:
        refused.append((_KEEPING, Action.STORE, Purpose.TRAINING))
    tests = [
        _test(rule, action, purpose if holds else Purpose.SERVICE, modality, refused=holds)
        for rule, action, purpose in refused
        for holds in (True, False)
        for modality in (Modality.TEXT, Modality.VOICE)
    ]
    words = {
        rule: {reader: dict(zip(("en", "de", "fr"), said, strict=True)) for reader in _READERS}
        for rule, said in _WORDS[version].items()
    }
    rules = _FIRST if version == 1 else _SECOND
    return {"name": NAME, "version": version, "rules": rules, "words": words, "tests": tests}


_READERS = ("officer", "customer")


def _test(
    rule: str, action: Action, purpose: Purpose, modality: Modality, *, refused: bool
) -> dict[str, Any]:
    """Return one of the bundle's own situations, of nobody."""
    nobody = SubjectId("ab" * 32)
    grant = Grant(
        purpose=purpose,
        modalities=frozenset({modality}),
        notice_version=1,
        explicit=True,
        granted_at=_NOW - 3_600,
        expires_at=_NOW + 3_600,
    )
    standing = Standing(
        subject=nobody, as_of=_NOW, age=AgeBand.ADULT, grants=(grant,), informed_at=_NOW - 3_600
    )
    governance = Governance(
        as_of=_NOW,
        stopped=False,
        dpia_purposes=frozenset(Purpose),
        minimum_notice=1,
        standing_max_age_s=3_600,
    )
    request = UseRequest(
        node=NodeId("harbour"),
        action=action,
        purpose=purpose,
        subject=nobody,
        modality=modality,
    )
    return {
        "rule": rule,
        "refused": refused,
        "request": request_to_dict(request),
        "standing": standing_to_dict(standing),
        "governance": governance_to_dict(governance),
        "now": _NOW,
    }
