"""A node's own policy: what its operator allows, whatever is asked.

`check_terms` holds a round's terms against it, and nothing a run's configuration says can weaken
it (promise 5). Pure values; the operator's signature is checked elsewhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from policies.errors import PolicyInvalid, TermsRefused
from policies.terms import LARGEST_EPSILON, RoundKind, RoundTerms, is_whole
from policies.vocabulary import Digest, Emotion, NodeId, Purpose

MOST_HELD_OUT = 0.5
"""Beyond it more people are measured than taught; a run would rather be measured less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePolicy:
    """What this node's operator allows, signed with the operator's key.

    `period_s` is how long a spent budget stays spent. `connections` are the only hosts
    (host:port) the node may open. `purpose_caps` bound what one purpose may spend of
    `maximum_epsilon`, which bounds them all together; a purpose without one has the whole.
    `held_out` is the share of people who are measured and never trained on; at 0 an evaluation
    measures those who were trained on.
    """

    node: NodeId
    version: int
    minimum_noise_multiplier: float
    maximum_epsilon: float
    maximum_delta: float
    minimum_people: int
    allowed_plans: frozenset[Digest]
    allowed_fabs: frozenset[Digest]
    labels: tuple[tuple[str, Emotion], ...]
    period_s: int
    connections: frozenset[str]
    purpose_caps: tuple[tuple[Purpose, float], ...] = ()
    held_out: float = 0.0


def check_terms(terms: RoundTerms, policy: NodePolicy, *, now: float) -> None:
    """Return if the node may take part on these terms.

    Raises:
        TermsRefused: A term asks for more than the policy allows; the message names each.
    """
    plan, mechanism = terms.plan, terms.plan.mechanism
    held = plan.rounds if terms.kind is RoundKind.TRAIN else plan.evaluations
    noises = [] if plan.evaluation is None else [plan.evaluation.noise]
    noises += [mechanism.joint_noise] if plan.rounds else []
    complaints = [
        complaint
        for broken, complaint in (
            (now >= terms.expires_at, "the terms have expired"),
            (terms.plan_digest not in policy.allowed_plans, "the plan is not on the allow-list"),
            (terms.fab_digest not in policy.allowed_fabs, "the code is not on the allow-list"),
            (not 1 <= terms.round_number <= held, "the round is not in the plan"),
            (
                min(noises, default=0.0) < policy.minimum_noise_multiplier,
                f"noise {min(noises, default=0.0)} is below {policy.minimum_noise_multiplier}",
            ),
            (
                plan.epsilon > policy.maximum_epsilon,
                f"epsilon {plan.epsilon:g} is above the node's {policy.maximum_epsilon:g}",
            ),
            (
                plan.delta > policy.maximum_delta,
                f"delta {plan.delta:g} is above the node's {policy.maximum_delta:g}",
            ),
            (
                plan.minimum_people < policy.minimum_people,
                f"cohort floor {plan.minimum_people} is below the node's {policy.minimum_people}",
            ),
            (
                not set(plan.labels) <= set(policy.labels),
                "a label is not mapped by the node's policy",
            ),
        )
        if broken
    ]
    if complaints:
        raise TermsRefused(f"round {terms.round_number} of {terms.run}: {'; '.join(complaints)}")


def node_policy_to_dict(policy: NodePolicy) -> dict[str, Any]:
    """Return the node policy as JSON values, sets sorted; no caps, nobody held out: unsaid."""
    value = asdict(policy) | {
        "allowed_plans": sorted(policy.allowed_plans),
        "allowed_fabs": sorted(policy.allowed_fabs),
        "connections": sorted(policy.connections),
        "labels": [[name, family.value] for name, family in policy.labels],
        "purpose_caps": [[purpose.value, cap] for purpose, cap in policy.purpose_caps],
    }
    if not policy.purpose_caps:
        del value["purpose_caps"]
    if not policy.held_out:
        del value["held_out"]
    return value


def node_policy_from_dict(value: dict[str, Any]) -> NodePolicy:
    """Rebuild and check a node policy.

    Raises:
        PolicyInvalid: A field is missing or unknown, or a number is out of range.
    """
    try:
        policy = NodePolicy(
            **(
                value
                | {
                    "allowed_plans": frozenset(value["allowed_plans"]),
                    "allowed_fabs": frozenset(value["allowed_fabs"]),
                    "connections": frozenset(value["connections"]),
                    "labels": tuple((str(n), Emotion(f)) for n, f in value["labels"]),
                    "purpose_caps": tuple(
                        (Purpose(name), float(cap)) for name, cap in value.get("purpose_caps", ())
                    ),
                }
            )
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"not a node policy: {type(error).__name__}: {error}") from error
    _check_node_policy(policy)
    return policy


def _check_node_policy(policy: NodePolicy) -> None:
    """Raise unless each limit limits: one that is not a number would let everything pass."""
    in_range = {
        "minimum_noise_multiplier": 0 < policy.minimum_noise_multiplier < float("inf"),
        "maximum_epsilon": 0 < policy.maximum_epsilon <= LARGEST_EPSILON,
        "maximum_delta": 0 < policy.maximum_delta < 1 / max(1, policy.minimum_people),
        "minimum_people": is_whole(policy.minimum_people),
        "period_s": is_whole(policy.period_s),
        "held_out": type(policy.held_out) in (int, float) and 0 <= policy.held_out <= MOST_HELD_OUT,
        "purpose_caps": len(dict(policy.purpose_caps)) == len(policy.purpose_caps)
        and all(0 < cap <= policy.maximum_epsilon for _, cap in policy.purpose_caps),
    }
    wrong = [name for name, ok in in_range.items() if not ok]
    if wrong:
        raise PolicyInvalid(
            f"policy {policy.version} of node {policy.node} is out of range in {', '.join(wrong)}"
        )
