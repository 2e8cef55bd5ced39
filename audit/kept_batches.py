"""What a log keeps of batches: who was in one, shown without naming others.

The leaves lie beside the entry; the key comes from a secret and the decision's id, so that the same
people have another root in another batch. Not here: who is let in (`audit.gate`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from bisect import bisect_left

from audit.batch import Batch, blind
from audit.errors import EntryMissing
from audit.events import EventKind
from audit.log import EvidenceLog
from policies.vocabulary import DecisionId, SubjectId


class KeptBatches:
    """The batches of one log, and their keys."""

    def __init__(self, log: EvidenceLog, *, secret: bytes) -> None:
        """Join the log and the 32 secret bytes from which each batch's own key is derived."""
        self._log, self._secret = log, secret

    def key_of(self, decision_id: DecisionId) -> bytes:
        """Return the key of a decision's batch."""
        return hmac.new(self._secret, b"batch\0" + decision_id.encode(), hashlib.sha256).digest()

    def restore(self, index: int) -> Batch:
        """Rebuild the batch of an entry, to prove a person in it or not in it.

        Raises:
            EntryMissing: There is no such entry.
            EntryMissing: Its leaves are not kept any more.
            ProofInvalid: What is kept is not a batch.
        """
        leaves, key = self._kept(index)
        return Batch.restore(leaves, key=key)

    def holds(self, index: int, subject: SubjectId) -> bool:
        """Return whether the batch of an entry let the person in, by the kept leaves alone.

        Raises:
            EntryMissing: There is no such entry, or its leaves are not kept any more.
        """
        leaves, key = self._kept(index)
        blinded = blind(subject, key=key)
        place = bisect_left(leaves, blinded)
        return place < len(leaves) and leaves[place] == blinded

    def key(self, index: int) -> bytes:
        """Return the key of an entry's batch: with it, anybody known can be looked for in it.

        Raises:
            EntryMissing: There is no such entry, or its leaves are not kept any more.
        """
        return self._kept(index)[1]

    def _kept(self, index: int) -> tuple[list[bytes], bytes]:
        entry, payload = self._log.entry(index), self._log.payload(index)
        if entry.event.kind is not EventKind.BATCH_DECISION or payload is None:
            raise EntryMissing(f"entry {index} is no batch whose leaves are kept")
        data = base64.b64decode(payload["leaves"])
        leaves = [data[i : i + 32] for i in range(0, len(data), 32)]
        return leaves, self.key_of(DecisionId(str(entry.event.fields["decision_id"])))
