"""The encoder and the release in force, as the pipeline sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client_node.errors import TurnEmpty
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
        """Return the reading of the release in force; it abstains on other languages.

        Its confidence is this branch's own, where that was fitted.

        Raises:
            PermitInvalid: The permit is not for reading this person's turn now.
            WeightsInvalid: The features do not fit the release.
        """
        current = self.releases.current
        if current is None:
            return NO_RELEASE
        reading = infer(current, features, permit=permit, subject=subject, now=now)
        if text.foreign:
            return silent(reading.release_id, Abstention.LANGUAGE)
        return self.recalibration.applied(reading)

    def explain(
        self, text: RedactedText, *, permit: Permit, subject: SubjectId, now: float
    ) -> tuple[WordWeight, ...]:
        """Return how much each part of the text weighed; nothing before the first release.

        Raises:
            PermitInvalid: As in `infer`.
        """
        current = self.releases.current
        if current is None:
            return ()
        return explain(self.encoder, current, text, permit=permit, subject=subject, now=now)
