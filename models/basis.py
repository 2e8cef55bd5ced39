"""The shipped coordinates in which private steps may be taken: whitened, and few.

Noise falls on every number of a gradient alike, what is to be learnt does not. So a plan may name
a public basis B `(feature, 64)`: a person's gradient is B'g, of 64 numbers a label in place of 385;
that is what is clipped and made noisy, and the weights move by B times it. The columns are the
leading eigenvectors of the second moments of features of GoEmotions' training comments, each
divided by its root spread to the power of one half (whole whitening would divide by the root
spread, and make what is nearly absent as loud as the rest), all scaled so that a public text has
norm one on the mean. Nothing of any customer is in it, and it costs no privacy.

Zhou, Wu & Banerjee 2021 ("Bypassing the ambient dimension") and Yu et al. 2021 take gradients to a
public subspace; features do as well for a linear head, whose gradients are outer products of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features import BASIS_DIGEST
from models.pretrained import BASIS, FOLDER, load_tensors
from policies.parts import Basis

FloatArray = npt.NDArray[np.float64]

RANK = 64
POWER = 0.25
"""Of the spread. Both were chosen on ISEAR alone, at epsilon 2 and 8 (docs/private-learning.md)."""
NAME = "whitened"


def basis_of(named: Basis) -> FloatArray | None:
    """Return the matrix `(feature, direction)`, None for the features as they are.

    Raises:
        EncoderRejected: The file is not the one that was shipped.
    """
    return None if named is Basis.PLAIN else shipped_basis()


@cache
def shipped_basis() -> FloatArray:
    """Return the shipped matrix `(385, 64)`.

    Raises:
        EncoderRejected: The file is not the one that was shipped.
    """
    matrix = load_tensors(FOLDER / BASIS, BASIS_DIGEST)[NAME].astype(np.float64)
    matrix.setflags(write=False)
    return matrix


def whitened_basis(
    features: npt.NDArray[np.floating[Any]], *, rank: int = RANK, power: float = POWER
) -> npt.NDArray[np.float32]:
    """Return the basis `(feature, rank)` of public features `(text, feature)`."""
    rows = features.astype(np.float64)
    spread, directions = np.linalg.eigh(rows.T @ rows / len(rows))
    leading = slice(-1, -rank - 1, -1)
    found = directions[:, leading] * spread[leading] ** -power
    found *= np.where(found.sum(axis=0) < 0, -1, 1)  # an eigenvector's sign is nobody's choice
    norms = np.einsum("tk,tk->t", rows @ found, rows @ found)
    return np.asarray(found / np.sqrt(norms.mean()), np.float32)
