"""The encoder, the release in force and this node's own head, as the pipeline sees them.

`infer` is the release's own reading, on which decisions and everything that is kept rest;
`shown` is what the branch is shown of it: by the node's own head or its own temperature, where
there is one. Those were made of people's data and charged to no budget: they leave nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client_node.errors import TurnEmpty
from client_node.local_head import LocalHead
from client_node.personal import Personalisation
from client_node.recalibration import Recalibration
from client_node.releases import Releases
from models.encoder import Encoder
from models.errors import TextRejected
from models.inference import Abstention, Reading, WordWeight, explain, infer, silent
from policies.permit import Permit
from policies.redacted import RedactedText
from policies.vocabulary import ReleaseId, SubjectId

NO_RELEASE = silent(ReleaseId("none"), Abstention.UNTRAINED)
"""What is read before the first release: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads redacted text under a permit; abstains until a release is in force."""

    encoder: Encoder
    releases: Releases
    recalibration: Recalibration
    personalisation: Personalisation

    def encode(self, text: RedactedText) -> NDArray[np.float32]:
        """Return the features `(385,)`.

        Raises:
            TurnEmpty: Nothing in the text can be read.
        """
        try:
            return np.asarray(self.encoder.encode([text])[0], dtype=np.float32)
        except TextRejected:
            raise TurnEmpty("the text has nothing that can be read") from None

    def infer(
        self,
        text: RedactedText,
        features: NDArray[np.float32],
        *,
        permit: Permit,
        subject: SubjectId,
        now: float,
    ) -> Reading:
        """Return the reading of the release in force; it says nothing of a text that is unread.

        Features of what is no customer's speech are read all the same, and often surely.

        Raises:
            PermitInvalid: The permit is not for reading this person's turn now.
            WeightsInvalid: The features do not fit the release.
        """
        current = self.releases.current
        if current is None:
            return NO_RELEASE
        reading = infer(current, features, permit=permit, subject=subject, now=now)
        return reading if text.unread is None else silent(reading.release_id, text.unread)

    def shown(
        self,
        reading: Reading,
        features: NDArray[np.float32],
        *,
        permit: Permit,
        subject: SubjectId,
        now: float,
    ) -> Reading:
        """Return a reading as the branch is shown it; one that says nothing stays as it is.

        Raises:
            PermitInvalid, WeightsInvalid: As in `infer`.
        """
        current, local = self.releases.current, self._local()
        if current is None or local is None or not reading.probabilities:
            return self.recalibration.applied(reading)
        asked: dict[str, Any] = {"permit": permit, "subject": subject, "now": now}
        ours = infer(current, features, local=local.personal, **asked)
        return replace(ours, local_head=local.digest)

    def explain(
        self, text: RedactedText, *, permit: Permit, subject: SubjectId, now: float
    ) -> tuple[WordWeight, ...]:
        """Return how much each part of the text weighed in what is shown.

        Nothing before the first release.

        Raises:
            PermitInvalid: As in `infer`.
        """
        current = self.releases.current
        if current is None:
            return ()
        local = self._local()
        return explain(
            self.encoder,
            current,
            text,
            permit=permit,
            subject=subject,
            now=now,
            local=None if local is None else local.personal,
        )

    def _local(self) -> LocalHead | None:
        """Return the node's own head where it takes part."""
        local = self.personalisation.current
        return local if local is not None and local.takes_part else None
