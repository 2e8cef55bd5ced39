"""Who is measured and never trained on: a part of the people, by a keyed hash of each alone.

Which side a person is on depends on the node's secret key and on who they are, on nobody else
and on nothing they said. So the two sides are a partition fixed beforehand, as parallel
composition asks (McSherry 2009): one person more or less changes one side only, and costs them
the head count and the computations of their own side. The key is the one that makes pseudonyms:
as long as a person is the same person here, they stay on their side, in every run.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from policies.terms import RoundKind
from policies.vocabulary import Purpose, SubjectId

_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Splits people; `share` of them, in [0, 1), are held out of training.

    With a share of 0 nobody is, and an evaluation measures everybody.
    """

    key: bytes = field(default=b"", repr=False)
    share: float = 0.0
    purpose: Purpose = Purpose.TRAINING

    def holds(self, subject: SubjectId) -> bool:
        """Tell whether the person is held out."""
        # Another hash than pseudonyms are made with: no customer's name can ask for this key.
        key = hmac.digest(self.key, f"held-out/{self.purpose}".encode(), hashlib.sha512)
        drawn = hmac.digest(key, subject.encode(), hashlib.sha256)[: _BITS // 8]
        return int.from_bytes(drawn, "big") < self.share * (1 << _BITS)

    def takes(self, subject: SubjectId, kind: RoundKind) -> bool:
        """Tell whether the person is of those whom a computation of this kind is about."""
        return self.share == 0 or self.holds(subject) is (kind is RoundKind.EVALUATE)
