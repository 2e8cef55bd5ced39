"""Asking people: whether it is allowed now, by a page to answer on, and whose consent runs out.

Nobody is asked past the gate: each purpose is one decision about asking (rule 18, and what
closes everything, rule 27), which is in the log before the request is recorded. Running out is
silent and renewing is not: what is listed as expiring is only listed, and a renewal is a new act.

Not here: answers (`consent.answers`), and what asking again may do (`policies`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from audit.gate import Gate
from consent.acts import Acts
from consent.errors import RequestInvalid
from consent.ledger import Ledger
from consent.officer import Officer
from consent.records import DAY_S, Requested, standing_of
from consent.tables import NodeRow
from consent.tokens import Randomness, new_token, token_hash
from policies.clock import Clock
from policies.decision import Decides, UseRequest
from policies.standing import Grant, Standing
from policies.vocabulary import Action, AgeBand, NodeId, Purpose, SubjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """A consent that runs out soon; `refused_by` are the rules against asking for it now."""

    subject: SubjectId
    grant: Grant
    refused_by: tuple[str, ...]


class Asking:
    """Asks by the gate's leave, and lists whom to ask again."""

    def __init__(
        self,
        *,
        acts: Acts,
        ledger: Ledger,
        officer: Officer,
        gate: Gate,
        rules: Decides,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._acts = acts
        self._ledger = ledger
        self._officer = officer
        self._gate = gate
        self._rules = rules
        self._clock = clock
        self._randomness = randomness

    def ask(self, node: NodeRow, subject: SubjectId, act: Requested) -> dict[str, Any]:
        """Record that a person is asked, where each purpose may be asked for now.

        Raises:
            Refused: Not now, by which rules (rule 18).
            NotFound, Conflict: As in `Acts.move`.
            EvidenceUnavailable, LedgerUnavailable, PolicyUnavailable: Nobody is asked.
        """
        person = self._acts.newcomer(node, subject)
        standing = self._standing(subject)
        for purpose in sorted(act.purposes):
            request = _asked(node, standing, purpose)
            self._gate.open(request, standing, self._officer.governance())
        return self._acts.move(person, act)

    def invite(self, node: NodeRow, subject: SubjectId, act: Requested) -> dict[str, Any]:
        """Ask by a page; return the receipt, the page's token, and one to confirm by if wanted.

        Raises:
            RequestInvalid: Nobody could answer it on a page.
            Refused, NotFound, Conflict, EvidenceUnavailable, LedgerUnavailable: As in `ask`.
        """
        invitation = act.invitation
        if invitation is None:
            raise RequestInvalid("an invitation says until when and by which channel it is open")
        if invitation.age is AgeBand.MINOR:
            raise RequestInvalid("a minor's guardian is verified at the branch, not on a page")
        if invitation.confirm_hours is None:
            return self.ask(node, subject, act)
        if Purpose.RECORDING in act.purposes and len(act.purposes) > 1:
            raise RequestInvalid("recording is confirmed apart: invite to it by itself")
        token = new_token(self._randomness)
        promised = replace(invitation, confirm_digest=token_hash(token))
        taken = self.ask(node, subject, replace(act, invitation=promised))
        return taken | {"confirmation_token": token}

    def expiring(self, node: NodeRow, *, within_days: int) -> list[Expiring]:
        """Return the consents of the node's company that run out soon, the first to end first.

        Raises:
            LedgerUnavailable, PolicyUnavailable: No answer.
        """
        found = []
        for subject, grant, standing in self._ending(node.company, within_days):
            decision = self._rules.decide(
                _asked(node, standing, grant.purpose),
                standing,
                self._officer.governance(),
                now=self._clock(),
            )
            against = () if decision.allowed else decision.rules
            found.append(Expiring(subject=subject, grant=grant, refused_by=against))
        return sorted(found, key=lambda one: (one.grant.expires_at, one.subject))

    def expiring_counts(self, companies: set[str], *, within_days: int) -> list[dict[str, Any]]:
        """Return how many consents run out soon, by company and purpose; of nobody in person."""
        counts = Counter(
            (company, grant.purpose)
            for company in companies
            for _, grant, _ in self._ending(company, within_days)
        )
        return [
            {"company": company, "purpose": purpose.value, "consents": count}
            for (company, purpose), count in sorted(counts.items())
        ]

    def _ending(self, company: str, within_days: int) -> list[tuple[SubjectId, Grant, Standing]]:
        now = self._clock()
        records = self._ledger.records_of(self._ledger.people(company))
        standings = {
            who: standing_of(kept, subject=who, as_of=int(now)) for who, kept in records.items()
        }
        return [
            (who, grant, standing)
            for who, standing in standings.items()
            for grant in standing.grants
            if now < grant.expires_at <= now + within_days * DAY_S
        ]

    def _standing(self, subject: SubjectId) -> Standing:
        """Return what is known of somebody; of a newcomer nothing, which speaks against nothing."""
        records = self._ledger.records_of([subject]).get(subject, [])
        return standing_of(records, subject=subject, as_of=int(self._clock()))


def _asked(node: NodeRow, standing: Standing, purpose: Purpose) -> UseRequest:
    return UseRequest(
        node=NodeId(node.node),
        action=Action.ASK,
        purpose=purpose,
        subject=standing.subject,
        role=standing.role,
    )
