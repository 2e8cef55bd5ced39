"""What the system is right now, as the documents read it; nothing of any person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policies.standing import Governance
from policies.vocabulary import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Facts of the running service, and what the operator declared where no system can know.

    Attributes:
        governance: What the officer's acts add up to.
        notices: Published notices: version and text digests.
        assessments: Sealed impact assessments: id, purposes, mitigations, who approved.
        nodes: Enrolled nodes with their companies and the rules that each decides by.
        parties: How each company is named, with contact and authority.
        storage: Where consent records are kept.
        policy_digest: The rules that ship and are in force.
        rules: Every rule's page of the catalogue.
        bundles: The organisation's own rules, by name.
        oversight: Appointments, with whether each is in force, and whether who it names can act.
        retention: The retention policy.
        coordinator: The coordinator whose cards are taken; empty where none is named.
        releases: Cards that the coordinator's log vouches for, oldest first.
        log: Origin, key and witnesses of the evidence log.
        declared: The operator's own words; empty where nothing is declared.
        purposes: The purposes that the operator means to use.
        version: The software's.
    """

    governance: Governance
    notices: Sequence[Mapping[str, Any]]
    assessments: Sequence[Mapping[str, Any]]
    nodes: Sequence[Mapping[str, Any]]
    parties: Mapping[str, Mapping[str, Any]]
    storage: str
    policy_digest: str
    rules: Sequence[Mapping[str, Any]]
    bundles: Mapping[str, Any]
    oversight: Sequence[Mapping[str, Any]]
    retention: Mapping[str, Any]
    coordinator: str
    releases: Sequence[Mapping[str, Any]]
    log: Mapping[str, Any]
    declared: Mapping[str, str] = field(default_factory=dict)
    purposes: tuple[Purpose, ...] = tuple(Purpose)
    version: str = ""

    def companies(self) -> list[str]:
        """Return the companies that have nodes."""
        return sorted({str(node["company"]) for node in self.nodes})

    def overseers(self, purpose: Purpose) -> list[str]:
        """Return who oversees a purpose now."""
        held = (made for made in self.oversight if made["in_force"])
        return sorted({str(made["person"]) for made in held if made["purpose"] == purpose.value})

    def release(self) -> Mapping[str, Any] | None:
        """Return the newest release whose card is known here."""
        return self.releases[-1] if self.releases else None


def not_declared(live: Live, *names: str) -> list[str]:
    """Return in words what the operator must still declare."""
    return [
        f"not declared: {name} (settings, [declared])"
        for name in names
        if not live.declared.get(name)
    ]


def said(live: Live, name: str) -> str | None:
    """Return what the operator declared, None where nothing."""
    return live.declared.get(name) or None


def figures_of(release: Mapping[str, Any] | None, words: str = "") -> list[dict[str, Any]]:
    """Return the figures on a release's card whose name has these words."""
    if release is None:
        return []
    return [dict(row) for row in release["card"]["metrics"] if words in row["name"]]
