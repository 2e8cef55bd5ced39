"""A person's own acts, carried to the trust service under their pseudonym.

The customer id stays here: it becomes a pseudonym before anything leaves. A withdrawal counts
here at once, with or without the line (`client_node.withdrawing`, promise 11); a consent comes with
the long poll that is always waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from client_node.errors import TurnInvalid
from client_node.pseudonym import Pseudonyms, pseudonym
from client_node.standing_keeper import StandingKeeper
from client_node.trust_client import TrustClient
from client_node.withdrawals import Withdrawal
from client_node.withdrawing import Withdrawing
from policies.errors import UndertoneError
from policies.vocabulary import Purpose, SubjectId

_NOBODY = "the customer id is empty or not text: send one"


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Names people by pseudonym, and carries their choices."""

    pseudonyms: Pseudonyms
    client: TrustClient
    keeper: StandingKeeper
    withdrawing: Withdrawing

    def subject(self, customer: str) -> SubjectId:
        """Return the pseudonym of a customer.

        Raises:
            TurnInvalid: There is no customer id, or it is not text.
            PersonTwice: They are known under two pseudonyms.
        """
        try:
            return self.pseudonyms.of(customer)
        except ValueError:
            raise TurnInvalid(_NOBODY) from None

    def _every(self, customer: str) -> tuple[SubjectId, ...]:
        """Return all pseudonyms of a customer, so that a no reaches each of them."""
        try:
            return self.pseudonyms.every(customer)
        except ValueError:
            raise TurnInvalid(_NOBODY) from None

    def named(self, customer: str, grant: Mapping[str, Any]) -> dict[str, Any]:
        """Return a grant with pseudonyms for everybody in it: customer, guardian and agent.

        An agent's pseudonym is made from another text than a customer's: nobody is both.

        Raises:
            TurnInvalid: As in `subject`.
        """
        value = {**grant, "subject": self.subject(customer)}
        if guardian := grant.get("guardian"):
            known = {name: of for name, of in guardian.items() if name != "customer"}
            value["guardian"] = known | {"subject": self.subject(guardian["customer"])}
        if (capture := grant.get("capture")) and "agent" in capture:
            agent = pseudonym(f"agent\0{capture['agent']}", key=self.pseudonyms.keys[0])
            value["capture"] = {**capture, "agent": agent}
        return value

    def consent(self, customer: str, grant: Mapping[str, Any]) -> dict[str, Any]:
        """Record a consent, after every withdrawal that waits; return its receipt.

        Raises:
            TrustUnavailable: It was not recorded.
        """
        self.withdrawing.forward()
        self._hear_of_others()
        return self.client.grant(self.named(customer, grant))

    def refuse(self, customer: str, purposes: Sequence[str]) -> dict[str, Any]:
        """Record a no to these purposes; return its receipt.

        Raises:
            TrustUnavailable: It was not recorded.
        """
        for subject in self._every(customer):
            said = {"subject": subject, "purposes": list(purposes)}
            receipt = self.client.choice("refusals", said)
        self._hear()
        return receipt

    def invite(self, customer: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Ask by a page; return where it is, its code as a picture, and until when it is open.

        Raises:
            TrustRefused: The rules refuse to ask now (rule 18), or nobody could answer it.
            TrustUnavailable: Nobody was asked.
        """
        self._hear_of_others()
        taken = self.client.choice("invitations", {**said, "subject": self.subject(customer)})
        page = f"/consent/{taken['invitation_token']}"
        return taken | {"page": page, "code": f"{page}/code.svg"}

    def await_confirmation(
        self, customer: str, grant: Mapping[str, Any], confirm_hours: int
    ) -> dict[str, Any]:
        """Record a yes that counts when its token comes back; return the token.

        Raises:
            TrustUnavailable: It was not recorded.
        """
        self._hear_of_others()
        said = {"grant": self.named(customer, grant), "confirm_hours": confirm_hours}
        return self.client.choice("unconfirmed-consents", said)

    def consent_many(self, grants: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """Record many customers' consents, all or none; return their receipts in order.

        Raises:
            TrustUnavailable: None was recorded.
        """
        self.withdrawing.forward()
        self._hear_of_others()
        named = [self.named(customer, grant) for customer, grant in grants]
        return self.client.grant_many(named)

    def withdraw(self, customer: str, purpose: Purpose | None) -> Withdrawal:
        """Withdraw one purpose, or everything where there is none; it is in force on return.

        Raises:
            TurnInvalid: As in `subject`.
            TrustRefused, VaultError, EvidenceUnavailable: As in `client_node.withdrawing`.
        """
        return [self.withdrawing.give(one, purpose) for one in self._every(customer)][-1]

    def request(self, customer: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Open a customer's request (access, erasure, ...); return its state and token.

        Raises:
            TrustUnavailable: Nothing was opened.
        """
        opened = [self.client.request({**said, "subject": one}) for one in self._every(customer)]
        self._hear()
        return opened[0] if len(opened) == 1 else opened[0] | {"also": opened[1:]}

    def _hear_of_others(self) -> None:
        """Hear who is known before anybody new is named, where keys change: nobody gets two."""
        if len(self.pseudonyms.keys) > 1:
            self._hear()

    def _hear(self) -> None:
        """Fetch standing now; where that fails, the poll in the background comes soon."""
        with suppress(UndertoneError):
            while self.keeper.poll():
                pass
