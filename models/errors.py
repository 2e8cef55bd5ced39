"""The tree of errors of this package.

ModelError
├── EncoderRejected      the encoder's bytes are not the published ones, or are not there
├── TextRejected         a text that has nothing to encode
├── WeightsInvalid       numbers of a head that are missing, of another shape or not finite
│   ├── UpdateInvalid    ... inside a node's update
│   └── ReleaseInvalid   ... inside a release, or its card
├── TrainingInvalid      bags or weights that do not fit together
├── AccountingInvalid    a privacy figure that cannot be computed or reached
├── EvaluationInvalid    labels and predictions that cannot be compared
└── ThresholdInvalid     thresholds or limits that contradict each other
"""

from __future__ import annotations

from policies.errors import UndertoneError


class ModelError(UndertoneError):
    """Stand at the root of this package's errors."""


class EncoderRejected(ModelError):  # noqa: N818 (reads as the fact it states)
    """Reject an encoder whose bytes are not the published ones, or that is not there."""


class TextRejected(ModelError):  # noqa: N818
    """Reject a text that has nothing to encode."""


class WeightsInvalid(ModelError):  # noqa: N818
    """Reject weights of another size or shape, or with a number that is not finite."""


class UpdateInvalid(WeightsInvalid):
    """Reject an update that cannot be read or does not fit its round."""


class ReleaseInvalid(WeightsInvalid):
    """Reject a release or card that cannot be read."""


class TrainingInvalid(ModelError):  # noqa: N818
    """Reject bags or weights that do not fit together, or data that nothing can be taught from."""


class AccountingInvalid(ModelError):  # noqa: N818
    """Report a privacy figure that cannot be computed or reached."""


class EvaluationInvalid(ModelError):  # noqa: N818
    """Reject labels and predictions that cannot be compared."""


class ThresholdInvalid(ModelError):  # noqa: N818
    """Reject thresholds or limits that contradict each other."""
