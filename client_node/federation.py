"""This node's answer to the coordinator's messages: Flower's ClientApp around a journey.

    enrolment   the node service tests its cohort floor once and signs ready or a refusal
    evaluation  the node service does steps 1 to 3 with a table of noisy counts in their place
    release     the node service verifies, logs and loads it, and signs that it did
    terms       1. the node service checks the terms, asks the gate, spends, opens the vault
                2. private training, here in the executor, under the permit it handed over
                3. the node service signs the update

Every reply is bytes that the node service signed; this process holds no key. Refusals come
from the node service too, one word of a closed set that tells nothing of people. Imported by
the executor only; the bundle names `client_app`, but no bundle is ever run.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import safetensors
import safetensors.numpy
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from audit.gate import admit_permit
from audit.signing import VerifyKey
from models.bags import Bags
from models.errors import TrainingInvalid
from models.heads import plan_shape
from models.noise import SYSTEM_NOISE, Noise
from models.private_training import train_round
from models.update import Update, update_to_dict, weights_from_bytes
from policies.canonical import digest
from policies.clock import Clock
from policies.errors import PolicyInvalid
from policies.parts import Part
from policies.terms import RoundTerms, terms_from_dict
from policies.vocabulary import NodeId

RECORD = "undertone"
SHORTEST_S, LONGEST_S = 0.05, 600.0
OTHER_DEADLINE_S = 2.0
"""When messages are answered that carry no plan: releases."""


def client_app(answer: Callable[[bytes], bytes]) -> ClientApp:
    """Return the ClientApp that answers each payload with a payload."""
    app = ClientApp()

    @app.query()  # type: ignore[untyped-decorator]  # Flower's
    def query(message: Message, context: Context) -> Message:  # noqa: ARG001 (Flower passes it)
        # The nonce makes each reply an object of its own (see coordinator.federation.carry).
        nonce = secrets.token_bytes(16)
        reply = ConfigRecord({"payload": answer(payload_of(message)), "nonce": nonce})
        return Message(RecordDict({RECORD: reply}), reply_to=message)

    return app


def payload_of(message: Message) -> bytes:
    """Return the payload of a message of ours, or no bytes if it has another shape."""
    record = message.content.config_records.get(RECORD) if message.has_content() else None
    payload = record.get("payload") if record is not None else None
    return payload if isinstance(payload, bytes) else b""


def kind_of(payload: bytes) -> str:
    """Return the kind that an envelope claims, unverified; empty when it is none."""
    kind = _body_and_kind(payload)[1]
    return kind if isinstance(kind, str) else ""


def deadline_of(payload: bytes) -> float:
    """Return the seconds after receipt at which to reply, from the plan in the terms.

    Read before the signature is checked, on purpose: a forged message is answered at its
    deadline too. It decides nothing else.
    """
    try:
        deadline = _body_and_kind(payload)[0]["terms"]["plan"]["deadline_s"]
        return min(max(float(deadline), SHORTEST_S), LONGEST_S)
    except (KeyError, TypeError, ValueError):
        return OTHER_DEADLINE_S


def _body_and_kind(payload: bytes) -> tuple[Any, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}, ""
    return (value.get("body"), value.get("kind")) if isinstance(value, dict) else ({}, "")


# --- the journey ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the node service hands over for one round: a signed permit, and the bags it opened."""

    permit: bytes
    bags: bytes


class NodeService(Protocol):
    """The node service, as its executor sees it; every reply is signed by the node."""

    def enrol(self, envelope: bytes) -> bytes:
        """Answer an enrolment."""
        ...

    def evaluate(self, envelope: bytes) -> bytes:
        """Answer an evaluation."""
        ...

    def load_release(self, envelope: bytes) -> bytes:
        """Answer a release."""
        ...

    def open_round(self, envelope: bytes) -> Work | bytes:
        """Check, gate, spend and open the vault; or return the signed refusal."""
        ...

    def sign_update(self, update: dict[str, Any]) -> bytes:
        """Sign the update of an open round."""
        ...


class NodeServiceClient:
    """The node service over its Unix socket (mode 0600: the socket is the credential)."""

    def __init__(self, socket: Path) -> None:
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            base_url="http://node",
            timeout=LONGEST_S,
        )

    def enrol(self, envelope: bytes) -> bytes:
        """Post the enrolment."""
        return self._post("/internal/enrolment", envelope).content

    def evaluate(self, envelope: bytes) -> bytes:
        """Post the evaluation."""
        return self._post("/internal/evaluations", envelope).content

    def load_release(self, envelope: bytes) -> bytes:
        """Post the release."""
        return self._post("/internal/releases", envelope).content

    def open_round(self, envelope: bytes) -> Work | bytes:
        """Post the terms."""
        value = self._post("/internal/rounds", envelope).json()
        if "refusal" in value:
            return base64.b64decode(value["refusal"])
        return Work(permit=base64.b64decode(value["permit"]), bags=base64.b64decode(value["bags"]))

    def sign_update(self, update: dict[str, Any]) -> bytes:
        """Post the update."""
        return self._post("/internal/updates", json.dumps(update).encode()).content

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _post(self, path: str, content: bytes) -> httpx.Response:
        answer = self._http.post(path, content=content)
        answer.raise_for_status()
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Answer a payload by its kind; bytes of no kind that we know are answered with none.

    `node_key` is the node's public key, which signs the permits that the service hands over.
    """

    service: NodeService
    node: NodeId
    node_key: VerifyKey
    clock: Clock
    noise: Noise = SYSTEM_NOISE

    def __call__(self, payload: bytes) -> bytes:
        """Return the signed reply.

        Raises:
            httpx.HTTPError: The node service does not answer, or with an error.
            UndertoneError: What it handed over does not hold together.
        """
        match kind_of(payload):
            case "terms":
                return self._hold(payload)
            case "evaluation":
                return self.service.evaluate(payload)
            case "enrolment":
                reply = self.service.enrol(payload)
                _warm(payload)
                return reply
            case "release":
                return self.service.load_release(payload)
            case _:
                return b""

    def _hold(self, payload: bytes) -> bytes:
        work = self.service.open_round(payload)  # 1
        if isinstance(work, bytes):
            return work
        # From here on the payload is known to be the coordinator's: the service verified it.
        body = json.loads(payload)["body"]
        terms = terms_from_dict(body["terms"])
        trained = self._train(terms, body["weights"], work)  # 2
        update = Update(
            run=terms.run,
            round_number=terms.round_number,
            node=self.node,
            terms_digest=digest(body["terms"]),
            weights=trained,
        )
        return self.service.sign_update(update_to_dict(update))  # 3

    def _train(self, terms: RoundTerms, weights: str, work: Work) -> NDArray[np.float32]:
        return train_round(
            weights_from_bytes(base64.b64decode(weights), shape=plan_shape(terms.plan)),
            bags_from_bytes(work.bags),
            mechanism=terms.plan.mechanism,
            labels=len(terms.plan.labels),
            permit=admit_permit(work.permit, self.node_key),
            now=self.clock(),
            width=terms.plan.width,
            modalities=terms.plan.modalities,
            noise=self.noise,
        )


def _warm(payload: bytes) -> None:
    """Load what the plan's part trains by, beside the answer: the first round has a deadline."""
    try:
        part = terms_from_dict(_body_and_kind(payload)[0]["terms"]).plan.part
    except (PolicyInvalid, KeyError, TypeError):
        return  # the service refused it
    if part is not Part.LINEAR:
        threading.Thread(target=_load_hooks, daemon=True).start()


def _load_hooks() -> None:
    import models.hidden_gradients  # noqa: F401, PLC0415 (torch and Opacus, for this part alone)


def bags_from_bytes(data: bytes) -> Bags:
    """Return bags that came as safetensors: `features`, `labels`, `owners`.

    Raises:
        TrainingInvalid: Not those three arrays.
    """
    try:
        arrays = safetensors.numpy.load(data)
        return Bags(features=arrays["features"], labels=arrays["labels"], owners=arrays["owners"])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise TrainingInvalid(f"not bags: {type(error).__name__}") from error
