"""Hypothesis strategies for people, requests and organisations near the edge of the rules."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from policies.decision import Facts, UseRequest
from policies.standing import Governance, Grant, Standing
from policies.vocabulary import (
    Action,
    AgeBand,
    Channel,
    Emotion,
    Modality,
    Objective,
    Purpose,
    Role,
    Setting,
    Use,
    Vulnerability,
)
from tests.policies.cases import DAY_S, NODE, NOW, PERSON

T = TypeVar("T")


def mostly(usual: T, others: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Draw the usual value most of the time, so that allowed cases are common."""
    return st.one_of(st.just(usual), st.just(usual), st.just(usual), others)


moments = st.sampled_from(
    [0, NOW - DAY_S, NOW - 61, NOW - 60, NOW - 1, NOW, NOW + 1, NOW + 5, NOW + 6, NOW + DAY_S]
)
few_purposes = st.frozensets(st.sampled_from(Purpose), max_size=2)
grants = st.builds(
    Grant,
    purpose=st.sampled_from(Purpose),
    modalities=st.frozensets(st.sampled_from(Modality), min_size=1),
    notice_version=st.integers(2, 4),
    explicit=mostly(usual=True, others=st.booleans()),
    granted_at=mostly(NOW - DAY_S, moments),
    expires_at=mostly(NOW + DAY_S, moments),
)
standings = st.builds(
    Standing,
    subject=st.just(PERSON),
    as_of=mostly(NOW - 1, moments),
    role=mostly(Role.CUSTOMER, st.sampled_from(Role)),
    age=mostly(AgeBand.ADULT, st.sampled_from(AgeBand)),
    vulnerabilities=mostly(frozenset(), st.frozensets(st.sampled_from(Vulnerability))),
    grants=st.lists(grants, min_size=4, max_size=12).map(tuple),
    informed_at=mostly(NOW - DAY_S, st.one_of(st.none(), moments)),
    withdrawn=mostly(frozenset(), few_purposes),
    objected=mostly(frozenset(), few_purposes),
    restricted=mostly(usual=False, others=st.booleans()),
    erased=mostly(usual=False, others=st.booleans()),
    refused=st.lists(st.tuples(st.sampled_from(Purpose), moments), max_size=2).map(tuple),
)
governances = st.builds(
    Governance,
    as_of=mostly(NOW - 1, moments),
    stopped=mostly(usual=False, others=st.booleans()),
    dpia_purposes=mostly(frozenset(Purpose), st.frozensets(st.sampled_from(Purpose))),
    minimum_notice=mostly(3, st.integers(1, 5)),
    standing_max_age_s=mostly(60, st.integers(0, 100)),
)
facts = st.builds(
    Facts,
    emotion=st.one_of(st.none(), st.sampled_from(Emotion)),
    delayed_calls=mostly(0, st.one_of(st.none(), st.integers(-1, 2))),
    safety_dpia=st.sampled_from([None, "", "dpia-7"]),
    leaves_node=st.booleans(),
    protected=mostly(usual=True, others=st.booleans()),
    budget_left=mostly(usual=True, others=st.booleans()),
    approved_by=st.sampled_from([None, "", "jo"]),
    read_at=mostly(NOW - 1, st.one_of(st.none(), moments)),
    certain=mostly(usual=True, others=st.booleans()),
    offer_value=mostly(500, st.one_of(st.none(), st.integers(-1, 501))),
    baseline_value=mostly(500, st.one_of(st.none(), st.integers(-1, 501))),
    due_anyway=mostly(usual=True, others=st.booleans()),
    calm_passed_at=mostly(NOW - 1, st.one_of(st.none(), moments)),
    objective=mostly(Objective.HELP, st.one_of(st.none(), st.sampled_from(Objective))),
    cancelling=mostly(usual=False, others=st.booleans()),
)
plain_requests = st.builds(
    UseRequest,
    node=st.just(NODE),
    action=st.sampled_from(Action),
    purpose=st.sampled_from(Purpose),
    subject=st.just(PERSON),
    modality=mostly(Modality.TEXT, st.sampled_from(Modality)),
    setting=mostly(Setting.CUSTOMER_SERVICE, st.sampled_from(Setting)),
    role=mostly(Role.CUSTOMER, st.sampled_from(Role)),
    channel=mostly(Channel.CUSTOMER, st.sampled_from(Channel)),
    use=st.one_of(st.none(), st.sampled_from(Use)),
    facts=facts,
)
