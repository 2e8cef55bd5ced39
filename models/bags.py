"""What a round opens at a node: everybody's turns, each person's together.

Apart from the training itself, so that a service that only hands bags to its executor loads
no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingInvalid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bags:
    """The turns of all people in a round, in the order in which each person's are read.

    `features` is `(turn, feature)`, `labels` is `(turn,)` with indices into the plan's labels,
    `owners` is `(turn,)` with any whole number that stands for the person within this round.

    Raises:
        TrainingInvalid: The three do not have one entry for each turn.
    """

    features: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.integer[Any]]
    owners: npt.NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        turns = self.features.shape[0] if self.features.ndim == 2 else -1  # noqa: PLR2004
        if not (self.labels.shape == self.owners.shape == (turns,)):
            raise TrainingInvalid(
                "bags are features (turn, feature), labels (turn,) and owners (turn,), got "
                f"{self.features.shape}, {self.labels.shape} and {self.owners.shape}"
            )
