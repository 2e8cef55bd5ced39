"""A branch's side of the node's interface, typed: for a CRM, a telephone system, or a notebook.

Every POST carries a key of its own and is sent again with it when the connection breaks or the
node says that it is busy, so that what is asked is done once (`client_node.idempotency_api`).
A refusal of the gate is an answer; a problem raises `NodeProblem` with the node's one line.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict, cast

import httpx

from client_node.errors import NodeProblem
from policies.vocabulary import Use

MOST_TRIES = 5
LONGEST_WAIT_S = 10.0


class Reading(TypedDict):
    """An expressed cue; `says` is None where the reader abstained, and `because` says why."""

    label: str | None
    emotion: str | None
    says: str | None
    confidence: float
    because: str | None
    release: str
    local_head: str | None


class UseReply(TypedDict):
    """What became of a use: done, waits or refused; the use's own fields come beside these."""

    called: str
    use: str
    answer: str
    decision: str
    rules: list[str]
    reasons: list[str]
    statutes: list[str]
    would_need: NotRequired[list[list[str]]]
    approval: NotRequired[str]
    hints: NotRequired[list[str]]
    text: NotRequired[str]
    hasty: NotRequired[bool]


class TurnReply(TypedDict):
    """What the node says to a turn."""

    turn: str
    answer: str
    decision: str
    rules: list[str]
    reasons: list[str]
    statutes: list[str]
    redacted: dict[str, int]
    sealed_for: list[str]
    reading: NotRequired[Reading]
    conversation: NotRequired[dict[str, Any]]
    use: NotRequired[UseReply]
    alert: NotRequired[UseReply]
    context: NotRequired[UseReply]
    left_out: NotRequired[list[str]]


class WaitingItem(TypedDict):
    """What waits for a person's yes."""

    approval: str
    use: str
    turn: str
    topic: str
    state: str
    created_at: float
    expires_at: float


class CampaignReply(TypedDict):
    """A wording that waits, an audience (done), a referral (refer), or why not (abstained)."""

    campaign: str
    answer: str
    wording: NotRequired[str | None]
    because: NotRequired[str]
    do: NotRequired[str]
    text: NotRequired[str]
    audience: NotRequired[list[str]]
    counts: NotRequired[dict[str, float]]
    rules: NotRequired[list[str]]


class CorrectionReply(TypedDict):
    """What became of a correction; `rules` say why it is not learned from."""

    turn: str
    decision: str
    training: bool
    rules: list[str]


class InvitationReply(TypedDict):
    """Where a customer answers: `page` and `code`, its picture, at the trust service's address."""

    record: str
    invitation_token: str
    page: str
    code: str
    until: int
    confirmation_token: NotRequired[str]


class UnconfirmedReply(TypedDict):
    """A yes that waits; the token goes to the customer by another way."""

    record: str
    confirmation_token: str
    until: int


class ReviewedDecision(TypedDict):
    """One decision as a person judged it, and what is left to do by hand."""

    request: str
    decision: str
    outcome: str
    action: str
    use: str | None
    allowed: bool
    turn: str | None
    decided_at: float
    do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClient:
    """Asks one node. `http` has its address and the key; `pause` waits some seconds."""

    http: httpx.Client
    new_key: Callable[[], str] = field(default=lambda: secrets.token_hex(16))
    pause: Callable[[float], None] = time.sleep

    def turn(self, customer: str, conversation: str, text: str, **more: Any) -> TurnReply:
        """Send one thing that a customer said; see `POST /v1/turns` for what else may be said."""
        body = {"customer": customer, "conversation": conversation, "text": text, **more}
        return cast("TurnReply", self._post("/v1/turns", body))

    def use(self, use: Use, turn: str, **more: Any) -> UseReply:
        """Act on a turn that was read before."""
        return cast("UseReply", self._post(f"/v1/uses/{use.value}", {"turn": turn, **more}))

    def correct(self, turn: str, label: str | None) -> CorrectionReply:
        """Say that a reading is wrong: the customer's own label, or none."""
        body = {"turn": turn, "label": label}
        return cast("CorrectionReply", self._post("/v1/corrections", body))

    def reply(self, turn: str, topic: str) -> UseReply:
        """Have a reply drafted; it waits for a yes."""
        return cast("UseReply", self._post("/v1/replies", {"turn": turn, "topic": topic}))

    def compensate(self, turn: str, reason: str, value: int | None = None) -> UseReply:
        """Propose a compensation; it waits for a yes."""
        body = {"turn": turn, "reason": reason, "value": value}
        return cast("UseReply", self._post("/v1/compensations", body))

    def approvals(self) -> list[WaitingItem]:
        """Return what waits for a yes."""
        return cast("list[WaitingItem]", self._ask("GET", "/v1/approvals")["approvals"])

    def decide(self, approval: str, step: str, by: str) -> dict[str, Any]:
        """Take a step (`show`, `approve`, `deny`) in the name of somebody."""
        return self._post(f"/v1/approvals/{approval}/{step}", {"by": by})

    def journey(
        self, customer: str, conversation: str | None = None, *, before: str | None = None
    ) -> dict[str, Any]:
        """Return the newest expressed cues of a customer's session; `before` its `older` ones."""
        asked = {"customer": customer, "conversation": conversation, "before": before}
        return self._post("/v1/journeys", asked)

    def campaign(self, **asked: Any) -> CampaignReply:
        """Have a campaign worded for a whole cohort; it waits for a yes (`POST /v1/campaigns`)."""
        return cast("CampaignReply", self._post("/v1/campaigns", asked))

    def audience(self, campaign: str, **asked: Any) -> CampaignReply:
        """Return the text of an approved campaign, and whom it may go to now."""
        return cast("CampaignReply", self._post(f"/v1/campaigns/{campaign}/audience", asked))

    def signal(self, customer: str, conversation: str, **event: Any) -> dict[str, Any]:
        """Keep what a thing told as context; see `POST /v1/signals` for what it may be."""
        body = {"customer": customer, "conversation": conversation, **event}
        return self._post("/v1/signals", body)

    def consent(self, grants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Record many people's consents: all or none; return their receipts."""
        found = self._post("/v1/consents/batch", {"consents": list(grants)})
        return cast("list[dict[str, Any]]", found["receipts"])

    def notice(self, version: int) -> dict[str, Any]:
        """Return a notice's texts by language and their digests, to be shown and sent back."""
        return self._ask("GET", f"/v1/notices/{version}")

    def invite(
        self, customer: str, purposes: Sequence[str], *, channel: str, **more: Any
    ) -> InvitationReply:
        """Ask a customer by a page; see `POST /v1/invitations` for what else may be said."""
        body = {"customer": customer, "purposes": list(purposes), "channel": channel, **more}
        return cast("InvitationReply", self._post("/v1/invitations", body))

    def await_confirmation(
        self, consent: Mapping[str, Any], *, confirm_hours: int = 48
    ) -> UnconfirmedReply:
        """Record a yes that counts when the customer confirms it by the token."""
        body = {"consent": dict(consent), "confirm_hours": confirm_hours}
        return cast("UnconfirmedReply", self._post("/v1/unconfirmed-consents", body))

    def pressed(self, envelope: bytes) -> dict[str, Any]:
        """Pass on the telephone system's own signed event; return the receipt."""
        return self._ask("POST", "/v1/telephone-events", json.loads(envelope))

    def reviews(self) -> list[ReviewedDecision]:
        """Return what people decided on looking at this node's decisions again."""
        return cast("list[ReviewedDecision]", self._ask("GET", "/v1/reviews")["reviews"])

    def panel(self, by: str) -> str:
        """Open a panel for somebody named; return its address at the node."""
        return str(self._post("/v1/panel/sessions", {"by": by})["panel"])

    def alerts(self) -> Iterator[dict[str, Any]]:
        """Yield each change of an alert as it comes, until the node ends the stream."""
        with self.http.stream("GET", "/v1/alerts/stream", timeout=None) as stream:
            _check(stream)
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("POST", path, body, {"Idempotency-Key": self.new_key()})

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Ask, and again with the same key where that may help.

        Raises:
            NodeProblem: The node does not answer, or says no.
        """
        for tried in range(1, MOST_TRIES + 1):
            try:
                answer = self.http.request(method, path, json=body, headers=headers)
            except httpx.HTTPError as error:
                if tried == MOST_TRIES:
                    raise NodeProblem(f"{path}: {type(error).__name__}") from error
                self.pause(0.1 * 2**tried)
                continue
            after = answer.headers.get("Retry-After", "")
            if not after.isdigit() or tried == MOST_TRIES:
                _check(answer)
                value: dict[str, Any] = answer.json()
                return value
            self.pause(min(LONGEST_WAIT_S, float(after)))
        raise AssertionError("unreachable")  # pragma: no cover


def _check(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    try:
        detail = json.loads(answer.read())["detail"]
    except (ValueError, KeyError, TypeError):
        detail = "no reason was given"
    raise NodeProblem(f"{answer.url.path}: {answer.status_code}: {detail}")
