"""A round's terms and a run's plan: what is asked of nodes.

Terms are requests (promise 5); what a node allows is in `policies.node_policy`. Pure values;
signing and transport lie elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from policies.errors import PolicyInvalid
from policies.parts import Basis, Part, modalities_fit, part_of, width_fits
from policies.vocabulary import Digest, Emotion, Modality, ReleaseId, RunId

LARGEST_EPSILON = 20.0
"""Beyond it a guarantee says nothing: odds may change by a factor of 5 * 10**8."""


class RoundKind(StrEnum):
    """What terms ask of a node; each kind has replies and a cost of its own."""

    TRAIN = "train"  # private steps from the weights: an update
    EVALUATE = "evaluate"  # how the weights do on the node's people: a table of noisy counts


class Grouping(StrEnum):
    """By what a table of counts keeps people apart; which groups there are is public."""

    NONE = "none"
    TURNS = "turns"  # how much a person said: whether it serves those who say little


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One round's private steps at one node; every number is public and fixed beforehand.

    Each step samples people at `sample_rate` (Poisson), clips a person's summed gradient to
    L2 norm `clip`, adds Gaussian noise of standard deviation `noise_multiplier * clip`, and
    divides by `sample_rate * nominal_people`. `count_noise` is the standard deviation of the
    one noisy head count at enrolment; `learning_rate`, `momentum` and `steps` shape the local
    optimiser. `max_turns` bounds a person's records that are read in a round. `basis` says in
    which coordinates all of that is done.

    With a `clip_quantile` the clip only begins at `clip`: after each step it moves towards the
    norm that this share of the sampled people stay within, by a count of them with noise of
    standard deviation `quantile_noise` (Andrew et al. 2021). At 0 it stays.
    """

    clip: float
    noise_multiplier: float
    sample_rate: float
    nominal_people: int
    steps: int
    learning_rate: float
    momentum: float
    max_turns: int
    count_noise: float
    basis: Basis = Basis.PLAIN
    clip_quantile: float = 0.0
    quantile_noise: float = 0.0

    @property
    def joint_noise(self) -> float:
        """Return the multiplier of the one Gaussian that a step is: sum and count together.

        In the count a person is half a unit more or less, so its own multiplier is twice its
        deviation; precisions add up (Andrew et al. 2021, theorem 1).
        """
        if not self.clip_quantile:
            return self.noise_multiplier
        count = 2 * self.quantile_noise
        return self.noise_multiplier * count / math.hypot(self.noise_multiplier, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How nodes measure what a run would release, in noisy counts by label and group.

    `noise` is the standard deviation of each number of a node's table, of which one person
    moves the whole by at most 1 (L2). The start is measured, then what there is after each
    `every` rounds, and the end. The run ends early once `patience` measurements one after
    another were no better than the best before them; 0 never ends it.
    """

    noise: float
    every: int
    patience: int
    groups: Grouping

    def held_in(self, rounds: int) -> int:
        """Return how often a run of so many rounds is measured."""
        return 1 + -(-rounds // self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A federated run as its operator declares it, hashed and logged before it starts.

    `epsilon` and `delta` are totals for the run, for a person at a node, head count and
    evaluations included. `labels` maps each label to its regulated family. `deadline_s` is when
    every node replies, counted from receipt. `minimum_nodes` is how many replies make a round
    count. A plan of no `rounds` evaluates a release and trains nothing. `part` is what the rounds
    train, `width` how many hidden units it has (`policies.parts`); of a fusion `modalities` names
    what it reads, and how many features each has.
    """

    name: str
    labels: tuple[tuple[str, Emotion], ...]
    features: int
    encoder_digest: Digest
    rounds: int
    epsilon: float
    delta: float
    mechanism: Mechanism
    minimum_people: int
    minimum_nodes: int
    deadline_s: float
    evaluation: Evaluation | None = None
    part: Part = Part.LINEAR
    width: int = 0
    modalities: tuple[tuple[Modality, int], ...] = ()

    @property
    def evaluations(self) -> int:
        """Return how often the run is measured at most: at its start and every so many rounds."""
        return 0 if self.evaluation is None else self.evaluation.held_in(self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTerms:
    """What the coordinator asks of a node for one round; it signs the canonical bytes.

    `round_number` counts the rounds of its `kind`. `weights_digest` is over the little-endian
    float32 bytes sent along. `expires_at` is a Unix second after which a node refuses.
    """

    run: RunId
    round_number: int
    plan_digest: Digest
    plan: Plan
    fab_digest: Digest
    base_release: ReleaseId
    weights_digest: Digest
    issued_at: int
    expires_at: int
    kind: RoundKind = RoundKind.TRAIN


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values; no evaluation, or a linear head, goes without saying."""
    value = asdict(plan) | {"labels": [[name, family.value] for name, family in plan.labels]}
    value["mechanism"] = mechanism_to_dict(plan.mechanism)
    if plan.part is Part.LINEAR:
        del value["part"], value["width"]
    else:
        value["part"] = plan.part.value
    value["modalities"] = [[modality.value, width] for modality, width in plan.modalities]
    if not plan.modalities:
        del value["modalities"]
    if plan.evaluation is None:
        del value["evaluation"]
    else:
        value["evaluation"]["groups"] = plan.evaluation.groups.value
    return value


def plan_from_dict(value: dict[str, Any]) -> Plan:
    """Rebuild and check a plan.

    Raises:
        PolicyInvalid: A field is missing, unknown or out of range, or a label is unmapped.
    """
    try:
        labels = tuple((str(name), Emotion(family)) for name, family in value["labels"])
        parsed: dict[str, Any] = {
            "labels": labels,
            "mechanism": mechanism_from_dict(value["mechanism"]),
        }
        parsed["evaluation"] = evaluation_from_dict(value.get("evaluation"))
        parsed["part"] = part_of(value.get("part", Part.LINEAR))
        parsed["modalities"] = tuple(
            (Modality(name), width) for name, width in value.get("modalities", ())
        )
        plan = Plan(**(value | parsed))
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"not a plan: {type(error).__name__}: {error}") from error
    check_plan(plan)
    return plan


def mechanism_to_dict(mechanism: Mechanism) -> dict[str, Any]:
    """Return the mechanism as JSON values; plain coordinates and a fixed clip are not said."""
    value = asdict(mechanism) | {"basis": mechanism.basis.value}
    if mechanism.basis is Basis.PLAIN:
        del value["basis"]
    if not mechanism.clip_quantile:
        del value["clip_quantile"], value["quantile_noise"]
    return value


def mechanism_from_dict(value: Mapping[str, Any]) -> Mechanism:
    """Rebuild a mechanism, unchecked.

    Raises:
        TypeError: A field is missing or unknown.
        ValueError: There is no basis of that name.
    """
    return Mechanism(**(dict(value) | {"basis": Basis(value.get("basis", Basis.PLAIN))}))


def evaluation_from_dict(value: Mapping[str, Any] | None) -> Evaluation | None:
    """Rebuild a plan's evaluation, unchecked; None is none.

    Raises:
        PolicyInvalid: A field is missing or unknown, or whole numbers are not.
    """
    if value is None:
        return None
    try:
        found = Evaluation(**(dict(value) | {"groups": Grouping(value["groups"])}))
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"not an evaluation: {type(error).__name__}: {error}") from error
    if not is_whole(found.every):
        raise PolicyInvalid("evaluation every: so many rounds, 1 or more")
    return found


def check_plan(plan: Plan) -> None:
    """Return if every number of the plan is one that the mathematics allows.

    Raises:
        PolicyInvalid: A number is out of range; the message names it.
    """
    m, e = plan.mechanism, plan.evaluation
    in_range = {
        "labels": len({name for name, _ in plan.labels}) == len(plan.labels) >= 2,  # noqa: PLR2004
        "features": is_whole(plan.features),
        "width": width_fits(plan.part, plan.width),
        "modalities": modalities_fit(plan.part, plan.modalities, plan.features),
        "rounds": is_whole(plan.rounds) or (_none(plan.rounds) and e is not None),
        "epsilon": 0 < plan.epsilon <= LARGEST_EPSILON,
        # At delta = 1 / people, publishing one of them outright would count as private.
        "delta": 0 < plan.delta < 1 / max(1, m.nominal_people),
        "clip": 0 < m.clip < float("inf"),
        "noise_multiplier": 0 < m.noise_multiplier < float("inf"),
        "sample_rate": 0 < m.sample_rate <= 1,
        "nominal_people": is_whole(m.nominal_people),
        "steps": is_whole(m.steps),
        "learning_rate": 0 < m.learning_rate < float("inf"),
        "momentum": 0 <= m.momentum < 1,
        "max_turns": is_whole(m.max_turns),
        "count_noise": 0 < m.count_noise < float("inf"),
        "basis": m.basis is Basis.PLAIN or plan.part is Part.LINEAR,
        "clip_quantile": 0 <= m.clip_quantile < 1,
        "quantile_noise": 0 < m.quantile_noise < float("inf")
        if m.clip_quantile
        else m.quantile_noise == 0,
        "minimum_people": is_whole(plan.minimum_people),
        "minimum_nodes": is_whole(plan.minimum_nodes),
        "deadline_s": 0 < plan.deadline_s < float("inf"),
    }
    if e is not None:
        in_range |= {
            "evaluation noise": 0 < e.noise < float("inf"),
            "evaluation every": is_whole(e.every),
            "evaluation patience": is_whole(e.patience) or _none(e.patience),
        }
    wrong = [name for name, ok in in_range.items() if not ok]
    if wrong:
        raise PolicyInvalid(f"plan {plan.name!r} is out of range in {', '.join(wrong)}")


def is_whole(number: object) -> bool:
    """Tell whether it is an integer of at least one; half a step is none."""
    return type(number) is int and number > 0


def _none(number: object) -> bool:
    """Tell whether it is the integer zero."""
    return type(number) is int and number == 0


def terms_to_dict(terms: RoundTerms) -> dict[str, Any]:
    """Return the terms as JSON values."""
    return asdict(terms) | {"plan": plan_to_dict(terms.plan), "kind": terms.kind.value}


def terms_from_dict(value: dict[str, Any]) -> RoundTerms:
    """Rebuild terms.

    Raises:
        PolicyInvalid: A field is missing or unknown, or the plan is out of range.
    """
    try:
        parsed = {"plan": plan_from_dict(value["plan"]), "kind": RoundKind(value["kind"])}
        return RoundTerms(**(value | parsed))
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"not round terms: {type(error).__name__}: {error}") from error
