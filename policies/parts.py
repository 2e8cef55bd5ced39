"""Which part of the network a plan trains, and how large it may be: public, signed, in every terms.

A part is named in the plan, so that its digest is on a node's allow-list or it is not trained.
The encoder is no part: a node keeps features and no words (promise 2), so that there is nothing
at a node from which a round could adapt it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from policies.errors import PolicyInvalid
from policies.vocabulary import Modality

LARGEST_WIDTH = 512
"""Most hidden units: of 385 features, 200,000 numbers, well below what an update may hold."""


class Part(StrEnum):
    """What private steps change; all else of the network is frozen."""

    LINEAR = "linear"  # one weight for each feature and label, by the closed form
    HIDDEN = "hidden"  # one layer of `width` hidden units before the labels, by Opacus' hooks
    FUSION = "fusion"  # such a layer for each modality, averaged over those that are there


class Basis(StrEnum):
    """In which coordinates a person's gradient is clipped and made noisy."""

    PLAIN = "plain"  # the features as they are
    WHITENED = "whitened"  # the leading directions of public texts, made more alike in spread


def part_of(value: object) -> Part:
    """Return the part of that name.

    Raises:
        PolicyInvalid: There is none of that name that a round can train.
    """
    try:
        return Part(value)  # type: ignore[arg-type]
    except ValueError as error:
        known = " or ".join(repr(part.value) for part in Part)
        raise PolicyInvalid(
            f"a plan's part is {known}, got {value!r}: name one of these"
        ) from error


def modalities_fit(part: Part, modalities: Sequence[tuple[Modality, int]], features: int) -> bool:
    """Tell whether a fusion has two modalities or more, whose features are the plan's together."""
    if part is not Part.FUSION:
        return not modalities
    names, widths = {name for name, _ in modalities}, [width for _, width in modalities]
    whole = all(type(width) is int and width > 0 for width in widths)
    return len(names) == len(modalities) >= 2 and whole and sum(widths) == features  # noqa: PLR2004


def width_fits(part: Part, width: object) -> bool:
    """Tell whether so many hidden units make sense: none for a linear head."""
    if type(width) is not int:
        return False
    return width == 0 if part is Part.LINEAR else 1 <= width <= LARGEST_WIDTH
