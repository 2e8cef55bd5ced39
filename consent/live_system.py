"""Reads the running service into a `Live` value, for the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audit.retention_policy import policy_to_dict
from consent.live import Live
from consent.notice import Dpia, Notice
from policies.words import rule_pages

if TYPE_CHECKING:  # the service is made with what this reads
    from consent.service import TrustService


def live_of(service: TrustService) -> Live:
    """Return what the system is right now."""
    settings, officer, rules = service.settings, service.officer, service.bundles.status()
    nodes = [n for n in service.ledger.nodes() if n.node != settings.coordinator]
    return Live(
        governance=officer.governance(),
        notices=[_notice(notice) for notice in officer.notices()],
        assessments=[_assessment(dpia) for dpia in officer.assessments()],
        nodes=[
            {
                "node": n.node,
                "company": n.company,
                "policy_digest": rules["nodes"].get(n.node, {}).get("policy_digest"),
            }
            for n in sorted(nodes, key=lambda n: n.node)
        ],
        parties={name: p.model_dump() for name, p in settings.parties.items()},
        storage=settings.storage,
        policy_digest=service.engine.policy_digest,
        rules=[{n: v for n, v in page.items() if n != "words"} for page in rule_pages()],
        bundles={name: {"in_force": b["in_force"]} for name, b in rules["bundles"].items()},
        oversight=service.registers.appointments(),
        retention=policy_to_dict(service.retention.retention.policy),
        coordinator=settings.coordinator or "",
        releases=service.cards.every(),
        log={"origin": service.log.origin, "witnesses": _witnesses(service)},
        declared=settings.declared.words(),
        purposes=settings.declared.purposes,
        version=service.version,
    )


def _notice(notice: Notice) -> dict[str, Any]:
    digests = dict(notice.text_digests())
    return {"version": notice.version, "digests": digests, "material": notice.material}


def _assessment(dpia: Dpia) -> dict[str, Any]:
    return {
        "dpia": dpia.dpia,
        "purposes": sorted(dpia.purposes),
        "mitigations": list(dpia.mitigations),
        "approved_by": dpia.approved_by,
    }


def _witnesses(service: TrustService) -> list[str]:
    nodes = [f"node {row.node}" for row in service.ledger.nodes()]
    return sorted(nodes) + [f"auditor {key.split('+')[0]}" for key in service.settings.auditors]
