"""What stands in for the encoder and the trust service around a node under test.

The trust service is a handler behind httpx's own transport: it verifies the node's signatures and
seals real envelopes. The encoder is a hash with the right shape; the real one is in a slow test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from audit.signing import SigningKey, seal, verify_request
from models.encoder import Encoder
from models.features import FEATURES, FEATURES_DIGEST
from policies.redacted import PublicText, RedactedText
from policies.standing import Governance, Standing, governance_to_dict, standing_to_dict
from policies.vocabulary import NodeId, Purpose, SubjectId

NODE = NodeId("branch-1")


class HashEncoder(Encoder):
    """Features from a hash of the text: the right shape and norm, no network."""

    def encode(self, texts: Sequence[RedactedText | PublicText]) -> np.ndarray[Any, Any]:
        """Return features `(text, 385)` that depend on the text alone."""
        rows = np.zeros((len(texts), FEATURES), np.float32)
        for row, text in enumerate(texts):
            seed = int.from_bytes(hashlib.sha256(text.text.encode()).digest()[:8], "big")
            vector = np.random.default_rng(seed).normal(size=FEATURES - 1)
            rows[row, :-1] = vector / np.linalg.norm(vector)
            rows[row, -1] = 1.0
        return rows / np.float32(np.sqrt(2))


def hash_encoder() -> HashEncoder:
    """Return the encoder that needs no weights."""
    return HashEncoder(digest=FEATURES_DIGEST, _tokenizer=None, _session=None)


@dataclass
class FakeTrust:
    """Seals standing envelopes for one node and takes its acknowledgements."""

    key: SigningKey
    node_key: SigningKey
    clock: Callable[[], float]
    away: bool = False
    sequence: int = 0
    changes: list[tuple[int, Standing]] = field(default_factory=list)
    withdrawn: list[tuple[int, SubjectId, Purpose | None]] = field(default_factory=list)
    challenge: list[int] = field(default_factory=list)
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stopped: bool = False
    notice: str = "We analyse emotion in your messages."
    dpia: frozenset[Purpose] = frozenset(Purpose) - {Purpose.OFFERS}
    max_age_s: int = 60
    more: bool = False
    holds: list[dict[str, Any]] | None = field(default_factory=list)
    receipts: int | None = None
    """How many receipts to give for many grants; as many as there are, if None."""

    def put(self, standing: Standing) -> None:
        """Record a change of somebody's standing."""
        self.sequence += 1
        self.changes.append((self.sequence, standing))

    def withdraw(self, standing: Standing, purpose: Purpose | None) -> None:
        """Record a change that destroys keys."""
        self.put(standing)
        self.withdrawn.append((self.sequence, standing.subject, purpose))

    def envelope(self, *, after: int = 0, **changed: Any) -> bytes:
        """Seal what changed after a sequence, freshly dated."""
        governance = Governance(
            as_of=int(self.clock()),
            stopped=self.stopped,
            dpia_purposes=self.dpia,
            minimum_notice=1,
            standing_max_age_s=self.max_age_s,
        )
        latest = {s.subject: s for n, s in self.changes if n > after}
        body = {
            "node": NODE,
            "sequence": self.sequence,
            "issued_at": int(self.clock()),
            "governance": governance_to_dict(governance),
            "standings": [standing_to_dict(s) for s in latest.values()],
            "withdrawn": [
                {"subject": s, "purpose": p and p.value} for n, s, p in self.withdrawn if n > after
            ],
            "challenge": self.challenge,
            "more": self.more,
            "holds": self.holds,
        }
        return seal("standing", body | changed, self.key)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one signed request of the node."""
        if self.away:
            raise httpx.ConnectError("away")
        path = request.url.raw_path.decode()
        if path.startswith(("/v1/witness", "/v1/branch-decisions")):
            return httpx.Response(404)  # this one is no witness, and reads no branch's decisions
        verify_request(
            request.headers,
            method=request.method,
            path=path,
            body=request.content,
            find_key=lambda _: self.node_key.verify_key,
            now=self.clock(),
        )
        if path.startswith("/v1/standing"):
            after = int(request.url.params["after"])
            return httpx.Response(200, content=self.envelope(after=after))
        if path.startswith("/v1/notices/"):
            texts = {"en": self.notice}
            return httpx.Response(200, json={"version": 1, "texts": texts, "material": False})
        body = json.loads(request.content)
        if path == "/v1/acknowledgements":
            self.acknowledged.append(body)
        else:
            self.received.append((path, body))
        if "grants" in body:
            count = len(body["grants"]) if self.receipts is None else self.receipts
            return httpx.Response(201, json={"receipts": [{"record": "r1"}] * count})
        if path == "/v1/invitations":
            return httpx.Response(201, json={"invitation_token": "t", "until": 1})
        return httpx.Response(201, json={"record": "r1"})
