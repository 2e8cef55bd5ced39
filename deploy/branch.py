"""A branch's own systems, as the demo plays them: what a CRM would send to its node."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Any

import httpx

from deploy.errors import PartFailed
from deploy.identities import Identity
from deploy.turns import Turn
from policies.canonical import digest_bytes
from policies.vocabulary import AgeBand, Provenance, Purpose, Use

GRANT_DAYS = 30
MOST_CONSENTS = 250
ACT = "ticked_box"


class BranchClient:
    """The node's local API, with this branch's key."""

    def __init__(self, identity: Identity) -> None:
        self.name = identity.branch
        self.node = identity.node
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{identity.api_port}",
            headers={"Authorization": f"Bearer {identity.api_key}"},
            timeout=60.0,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def answers(self) -> bool:
        """Tell whether the node is up."""
        try:
            return self._http.get("/healthz").is_success
        except httpx.HTTPError:
            return False

    def status(self) -> dict[str, Any]:
        """Return release, age of standing and size of the log."""
        return self._ask("GET", "/v1/status")

    def budget(self) -> dict[str, Any]:
        """Return what has been spent of each person's privacy here, and what is left."""
        return self._ask("GET", "/v1/budget")

    def consent(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """Record what the people of these turns agreed to; it is played, as the demo says."""
        receipts, shown = [], self._ask("GET", "/v1/notices/1")["digests"]["en"]
        for start in range(0, len(turns), MOST_CONSENTS):
            some = turns[start : start + MOST_CONSENTS]
            body = {"consents": [consent(turn, turn.purposes) | made_up(shown) for turn in some]}
            receipts += self._ask("POST", "/v1/consents/batch", body)["receipts"]
        return receipts

    def turn(self, turn: Turn, *, explain: bool = False) -> dict[str, Any]:
        """Send a message and return the node's answer."""
        message = {
            "customer": turn.customer,
            "conversation": turn.conversation,
            "text": turn.text,
            "explain": explain,
        }
        return self._ask("POST", "/v1/turns", message)

    def label(self, turn_id: str, label: str) -> dict[str, Any]:
        """Send the customer's own rating of a turn, replayed."""
        rating = {"turn": turn_id, "label": label, "provenance": Provenance.REPLAYED.value}
        return self._ask("POST", "/v1/labels", rating)

    def use(self, use: Use, turn_id: str, **facts: object) -> dict[str, Any]:
        """Ask to act on the reading of a turn; a refusal is an answer, not an error."""
        return self._ask("POST", f"/v1/uses/{use.value}", {"turn": turn_id, **facts})

    def proof_of_round(self, run: str, round_number: int, customer: str) -> dict[str, Any]:
        """Return the node's proof that a person was, or was not, in a round."""
        question = {"run": run, "round": round_number, "customer": customer}
        return self._ask("POST", "/v1/proofs", question)

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise PartFailed(f"{self.name}: {path}: {type(error).__name__}") from error
        if answer.is_error:
            raise PartFailed(f"{self.name}: {path}: {answer.status_code} {answer.text[:300]}")
        value: dict[str, Any] = answer.json()
        return value


def made_up(text_digest: str) -> dict[str, Any]:
    """Return what was shown and how it was caught: made up, on a page that nobody saw."""
    return {
        "shown": {"language": "en", "text_digest": text_digest, "channel": "web"},
        "capture": {"evidence": secrets.token_hex(32)},
    }


def consent(turn: Turn, purposes: Collection[Purpose]) -> dict[str, Any]:
    """Return what the person of a turn agrees to; for a minor a guardian does (GDPR 8)."""
    return {
        "customer": turn.customer,
        "purposes": sorted(purposes),
        "modalities": ["text"],
        "notice_version": 1,
        "act": ACT,
        "age": turn.age.value,
        "vulnerabilities": sorted(turn.vulnerabilities),
        "informed": True,
        "valid_days": GRANT_DAYS,
    } | (_guardian(turn.customer) if turn.age is AgeBand.MINOR else {})


def _guardian(customer: str) -> dict[str, Any]:
    """Return a guardian who says yes for a minor; made up, as the consent is."""
    made_up = digest_bytes(f"played document of {customer}".encode())
    known = {"relation": "parent", "verified": "document-seen", "evidence": made_up}
    return {"guardian": known | {"customer": f"parent of {customer}"}}
