"""Terms are requests: the node's policy holds, and a plan's numbers are ones that add up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from policies.canonical import canonical
from policies.errors import PolicyInvalid, TermsRefused
from policies.node_policy import NodePolicy, check_terms, node_policy_from_dict, node_policy_to_dict
from policies.parts import Basis, Part
from policies.terms import (
    Evaluation,
    Grouping,
    Mechanism,
    Plan,
    RoundKind,
    RoundTerms,
    check_plan,
    plan_from_dict,
    plan_to_dict,
    terms_from_dict,
    terms_to_dict,
)
from policies.vocabulary import Digest, Emotion, Modality, NodeId, ReleaseId, RunId

NOW = 1_800_000_000
LABELS = (("frustration", Emotion.ANGER), ("calm", Emotion.NEUTRAL))
MECHANISM = Mechanism(
    clip=1.0,
    noise_multiplier=1.5,
    sample_rate=0.2,
    nominal_people=500,
    steps=30,
    learning_rate=0.5,
    momentum=0.9,
    max_turns=20,
    count_noise=20.0,
)
PLAN = Plan(
    name="six branches",
    labels=LABELS,
    features=385,
    encoder_digest=Digest("e" * 64),
    rounds=10,
    epsilon=2.0,
    delta=1e-6,
    mechanism=MECHANISM,
    minimum_people=200,
    minimum_nodes=3,
    deadline_s=1.0,
)
EVALUATION = Evaluation(noise=20.0, every=3, patience=2, groups=Grouping.TURNS)
TERMS = RoundTerms(
    run=RunId("run-1"),
    round_number=1,
    plan_digest=Digest("a" * 64),
    plan=PLAN,
    fab_digest=Digest("f" * 64),
    base_release=ReleaseId("release-0"),
    weights_digest=Digest("b" * 64),
    issued_at=NOW,
    expires_at=NOW + 60,
)
POLICY = NodePolicy(
    node=NodeId("branch-1"),
    version=1,
    minimum_noise_multiplier=1.5,
    maximum_epsilon=2.0,
    maximum_delta=1e-6,
    minimum_people=200,
    allowed_plans=frozenset({TERMS.plan_digest}),
    allowed_fabs=frozenset({TERMS.fab_digest}),
    labels=LABELS,
    period_s=90 * 86_400,
    connections=frozenset({"127.0.0.1:9092"}),
)


def _plan(**changes: Any) -> RoundTerms:
    return replace(TERMS, plan=replace(PLAN, **changes))


def test_terms_at_the_policys_edge_are_accepted() -> None:
    """Terms that ask for exactly what the policy allows are accepted."""
    check_terms(TERMS, POLICY, now=NOW)
    check_terms(replace(TERMS, round_number=10), POLICY, now=NOW + 59)


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        (replace(TERMS, expires_at=NOW), "expired"),
        (replace(TERMS, plan_digest=Digest("c" * 64)), "plan"),
        (replace(TERMS, fab_digest=Digest("c" * 64)), "code"),
        (replace(TERMS, round_number=0), "round"),
        (replace(TERMS, round_number=11), "round"),
        (_plan(mechanism=replace(MECHANISM, noise_multiplier=1.49)), "noise"),
        (_plan(epsilon=2.01), "epsilon"),
        (_plan(delta=2e-6), "delta"),
        (_plan(minimum_people=199), "cohort"),
        (_plan(labels=(*LABELS, ("sad", Emotion.SADNESS))), "label"),
        (_plan(labels=(("frustration", Emotion.JOY), LABELS[1])), "label"),
    ],
)
def test_terms_that_weaken_the_policy_are_refused(terms: RoundTerms, named: str) -> None:
    """Each weakening alone is refused, and the refusal names it."""
    with pytest.raises(TermsRefused, match=named):
        check_terms(terms, POLICY, now=NOW)


def test_refusal_of_terms_names_every_weakening() -> None:
    """An operator sees all complaints at once."""
    with pytest.raises(TermsRefused, match=r"expired.*epsilon.*delta"):
        check_terms(replace(_plan(epsilon=9.0, delta=0.1), expires_at=0), POLICY, now=NOW)


NAN, INFINITE = float("nan"), float("inf")
OUT_OF_RANGE: dict[str, tuple[Any, ...]] = {
    "labels": ((LABELS[0],), (LABELS[0], LABELS[0])),
    "features": (0, 1.5, True),
    "rounds": (0, -1, 2.5),
    "epsilon": (0.0, -1.0, NAN, INFINITE, 20.1, 1e9),
    "delta": (0.0, 1.0, NAN, 0.5, 1 / 500),
    "minimum_people": (0, 1.5, True),
    "minimum_nodes": (0, 1.5, True),
    "deadline_s": (0.0, NAN, INFINITE),
    "clip": (0.0, NAN, INFINITE),
    "noise_multiplier": (0.0, -1.0, NAN, INFINITE),
    "sample_rate": (0.0, 1.01, NAN),
    "nominal_people": (0, 1.5, True),
    "steps": (0, 1.5, True),
    "learning_rate": (0.0, NAN, INFINITE),
    "momentum": (-0.1, 1.0, NAN),
    "max_turns": (0, 1.5, True),
    "count_noise": (0.0, NAN, INFINITE),
    "width": (1, -1, True),  # of a linear head
    "modalities": (((Modality.TEXT, 385),),),  # of a linear head
    "clip_quantile": (-0.1, 1.0, NAN),
    "quantile_noise": (1.0, -1.0, NAN),  # of a clip that stays
}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in OUT_OF_RANGE.items() for v in values]
)
def test_plan_out_of_range_is_rejected(name: str, value: Any) -> None:
    """Every number of a plan has a range, and leaving it is named."""
    inner = name in MECHANISM.__dataclass_fields__
    given: dict[str, Any] = {name: value}
    changed = {"mechanism": replace(MECHANISM, **given)} if inner else given
    with pytest.raises(PolicyInvalid, match=name):
        check_plan(replace(PLAN, **changed))


@pytest.mark.parametrize("noise", [0.0, -1.0, NAN, INFINITE])
def test_a_clip_that_follows_a_quantile_needs_noise(noise: float) -> None:
    """A count without noise would tell who is there."""
    moving = replace(MECHANISM, clip_quantile=0.5, quantile_noise=noise)
    with pytest.raises(PolicyInvalid, match="quantile_noise"):
        check_plan(replace(PLAN, mechanism=moving))


def test_a_basis_is_for_a_linear_head() -> None:
    """Another part has no such directions, and says so before anything is spent."""
    whitened = replace(MECHANISM, basis=Basis.WHITENED)
    check_plan(replace(PLAN, mechanism=whitened))
    with pytest.raises(PolicyInvalid, match="basis"):
        check_plan(replace(PLAN, mechanism=whitened, part=Part.HIDDEN, width=4))


def test_options_of_a_mechanism_come_back_and_go_without_saying() -> None:
    """A plan from before them keeps its bytes, so that its digest holds; theirs name them."""
    assert not {"basis", "clip_quantile", "quantile_noise"} & set(plan_to_dict(PLAN)["mechanism"])
    moving = replace(
        PLAN,
        mechanism=replace(MECHANISM, basis=Basis.WHITENED, clip_quantile=0.5, quantile_noise=20.0),
    )
    assert plan_from_dict(json.loads(canonical(plan_to_dict(moving)))) == moving
    said = plan_to_dict(PLAN)
    with pytest.raises(PolicyInvalid):
        plan_from_dict(said | {"mechanism": said["mechanism"] | {"basis": "private"}})


def test_noise_of_a_quantile_counts_towards_the_nodes_floor() -> None:
    """The floor holds what a step shows in all, not the sum alone."""
    moving = replace(MECHANISM, clip_quantile=0.5, quantile_noise=1.0)
    with pytest.raises(TermsRefused, match="noise"):
        check_terms(_plan(mechanism=moving), POLICY, now=NOW)


def test_every_number_of_a_plan_has_a_range() -> None:
    """No field can join a plan or its mechanism without a range of its own."""
    numbers = {*PLAN.__dataclass_fields__, *MECHANISM.__dataclass_fields__}
    words = {"name", "encoder_digest", "mechanism", "evaluation", "part", "basis"}
    assert numbers - set(OUT_OF_RANGE) == words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("noise", value) for value in (0.0, -1.0, NAN, INFINITE)),
        *(("every", value) for value in (0, -1, 1.5, True)),
        *(("patience", value) for value in (-1, 1.5, True)),
    ],
)
def test_evaluation_out_of_range_is_rejected(name: str, value: Any) -> None:
    """An evaluation's numbers have ranges too, and leaving one is named."""
    changed: dict[str, Any] = {name: value}
    with pytest.raises(PolicyInvalid, match=f"evaluation {name}"):
        check_plan(replace(PLAN, evaluation=replace(EVALUATION, **changed)))
    with pytest.raises(PolicyInvalid, match="groups"):
        plan_from_dict(plan_to_dict(PLAN) | {"evaluation": {"noise": 20.0, "every": 1}})


def test_plan_without_evaluation_says_nothing_of_it() -> None:
    """Digests of plans made before there were evaluations stay what they were."""
    assert "evaluation" not in plan_to_dict(PLAN)
    assert (PLAN.evaluations, _plan(evaluation=EVALUATION).plan.evaluations) == (0, 5)
    assert replace(PLAN, rounds=0, evaluation=EVALUATION).evaluations == 1


def test_terms_of_an_evaluation_are_held_to_the_policy() -> None:
    """Its noise has the policy's floor, and it comes as often as the plan says, no oftener."""
    terms = replace(_plan(evaluation=EVALUATION), kind=RoundKind.EVALUATE)
    check_terms(replace(terms, round_number=5), POLICY, now=NOW)
    for refused in (
        replace(terms, round_number=6),
        replace(TERMS, kind=RoundKind.EVALUATE),
        _plan(evaluation=replace(EVALUATION, noise=1.4)),
    ):
        with pytest.raises(TermsRefused, match=r"round is not|noise 1\.4"):
            check_terms(refused, POLICY, now=NOW)


def test_terms_survive_the_wire() -> None:
    """Plan, terms and node policy are equal after canonical JSON and back."""
    plan, terms, policy = (
        json.loads(canonical(value))
        for value in (plan_to_dict(PLAN), terms_to_dict(TERMS), node_policy_to_dict(POLICY))
    )
    assert plan_from_dict(plan) == PLAN
    measured = _plan(evaluation=EVALUATION).plan
    assert plan_from_dict(json.loads(canonical(plan_to_dict(measured)))) == measured
    assert terms_from_dict(terms) == TERMS
    assert node_policy_from_dict(policy) == POLICY


@pytest.mark.parametrize("name", sorted(terms_to_dict(TERMS)))
def test_terms_that_lack_a_field_are_rejected(name: str) -> None:
    """A field that is missing, or one that nobody knows, is no terms at all."""
    value = terms_to_dict(TERMS)
    with pytest.raises(PolicyInvalid):
        terms_from_dict({k: v for k, v in value.items() if k != name})
    with pytest.raises(PolicyInvalid):
        terms_from_dict(value | {f"{name}_too": 1})


@pytest.mark.parametrize("name", sorted(node_policy_to_dict(POLICY)))
def test_node_policy_that_lacks_a_field_is_rejected(name: str) -> None:
    """A node policy is whole or it is none."""
    value = node_policy_to_dict(POLICY)
    with pytest.raises(PolicyInvalid):
        node_policy_from_dict({k: v for k, v in value.items() if k != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("maximum_epsilon", value) for value in (0.0, -2.0, NAN, INFINITE, 1e6)),
        *(("maximum_delta", value) for value in (0.0, -1e-6, NAN, 0.5)),
        *(("minimum_noise_multiplier", value) for value in (0.0, -1.0, NAN, INFINITE)),
        *(("minimum_people", value) for value in (0, 2.5)),
        *(("period_s", value) for value in (0, -1, NAN)),
    ],
)
def test_node_policy_out_of_range_is_rejected(name: str, value: Any) -> None:
    """A limit that limits nothing (NaN, infinite, absurd) is no limit, and is named."""
    with pytest.raises(PolicyInvalid, match=name):
        node_policy_from_dict(node_policy_to_dict(POLICY) | {name: value})
