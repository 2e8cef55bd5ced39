"""Standing is computed from the records: properties of the fold."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from consent.records import (
    DAY_S,
    Act,
    Erased,
    Granted,
    Objected,
    Record,
    Restricted,
    Withdrawn,
    act_from_dict,
    act_to_dict,
    standing_of,
)
from policies.standing import standing_from_dict, standing_to_dict
from policies.vocabulary import AgeBand, Modality, Purpose, Role, SubjectId, Vulnerability

ALICE, BOB = SubjectId("alice"), SubjectId("bob")
Member = TypeVar("Member", bound=StrEnum)
AS_OF = 2_000_000_000


def sets_of(closed: type[Member]) -> st.SearchStrategy[frozenset[Member]]:
    """Draw non-empty subsets of a closed set."""
    return st.frozensets(st.sampled_from(closed), min_size=1)


GRANTS = st.builds(
    Granted,
    purposes=sets_of(Purpose),
    modalities=sets_of(Modality),
    notice_version=st.integers(1, 5),
    act=st.sampled_from(["ticked_box", "spoken_yes"]),
    role=st.sampled_from(Role),
    age=st.sampled_from(AgeBand),
    vulnerabilities=st.frozensets(st.sampled_from(Vulnerability)),
    informed=st.booleans(),
    valid_days=st.integers(1, 730),
    jurisdiction=st.just("IE"),
)
PROTECTIONS = st.one_of(
    st.builds(Withdrawn, purpose=st.sampled_from(Purpose)),
    st.builds(Objected, purposes=sets_of(Purpose)),
    st.builds(Restricted, restricted=st.booleans()),
)
ACTS = st.one_of(GRANTS, PROTECTIONS, st.builds(Erased))


def history(acts: list[Act], subject: SubjectId = ALICE) -> list[Record]:
    """Return the acts as records, one second apart."""
    return [
        Record(
            sequence=number,
            record_id=f"r{number}",
            company="acme",
            subject=subject,
            node=None,
            at=1_800_000_000.5 + number,
            act=act,
        )
        for number, act in enumerate(acts, start=1)
    ]


@given(st.lists(ACTS, max_size=8), st.randoms(use_true_random=False))
def test_standing_does_not_depend_on_the_order_of_reading(acts: list[Act], random: object) -> None:
    """Records read in any order, and among others' records, give the same standing."""
    records = history(acts)
    shuffled = [*records, *history(acts, BOB)]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = standing_of(records, subject=ALICE, as_of=AS_OF)
    assert standing_of(shuffled, subject=ALICE, as_of=AS_OF) == expected


@given(st.lists(ACTS, max_size=6), st.sampled_from(Purpose))
def test_standing_after_a_withdrawal_has_no_grant_of_the_purpose(
    acts: list[Act], purpose: Purpose
) -> None:
    """Whatever came before, a withdrawal leaves no grant of its purpose and is remembered."""
    standing = standing_of(history([*acts, Withdrawn(purpose=purpose)]), subject=ALICE, as_of=AS_OF)
    assert all(standing.grant_for(purpose, modality) is None for modality in Modality)
    assert purpose in standing.withdrawn


@given(st.lists(st.one_of(GRANTS, PROTECTIONS), max_size=6), GRANTS)
def test_standing_is_restored_by_a_grant_after_a_withdrawal(
    acts: list[Act], granted: Granted
) -> None:
    """A new grant is in force for each of its purposes, also those that were withdrawn."""
    withdrawals: list[Act] = [Withdrawn(purpose=purpose) for purpose in sorted(granted.purposes)]
    records = history([*acts, *withdrawals, granted])
    standing = standing_of(records, subject=ALICE, as_of=AS_OF)
    assert not granted.purposes & standing.withdrawn
    for purpose in granted.purposes:
        for modality in granted.modalities:
            found = standing.grant_for(purpose, modality)
            assert found is not None
            assert found.granted_at == int(records[-1].at)
            assert found.expires_at == int(records[-1].at) + granted.valid_days * DAY_S


@given(sets_of(Purpose), st.lists(st.one_of(GRANTS, PROTECTIONS), max_size=6))
def test_standing_keeps_an_objection(purposes: frozenset[Purpose], later: list[Act]) -> None:
    """No later grant undoes an objection."""
    records = history([Objected(purposes=purposes), *later])
    assert purposes <= standing_of(records, subject=ALICE, as_of=AS_OF).objected


@given(st.lists(ACTS, max_size=5), st.lists(ACTS, max_size=5))
def test_standing_of_the_erased_says_nothing_else(before: list[Act], after: list[Act]) -> None:
    """After an erasure nothing of the person is left, and nothing later changes that."""
    standing = standing_of(history([*before, Erased(), *after]), subject=ALICE, as_of=AS_OF)
    assert standing.erased
    assert (standing.grants, standing.informed_at, standing.vulnerabilities) == (
        (),
        None,
        frozenset(),
    )
    assert standing.withdrawn == frozenset(Purpose)


@given(st.lists(ACTS, max_size=6))
def test_standing_never_grants_what_no_record_granted(acts: list[Act]) -> None:
    """Every grant in a standing was given by a record for that purpose and those modalities."""
    standing = standing_of(history(acts), subject=ALICE, as_of=AS_OF)
    given_by = [act for act in acts if isinstance(act, Granted)]
    for grant in standing.grants:
        assert any(
            grant.purpose in act.purposes and grant.modalities == act.modalities for act in given_by
        )


@given(ACTS)
def test_act_survives_its_dictionary(act: Act) -> None:
    """An act written down and read again is the same act."""
    assert act_from_dict(act_to_dict(act)) == act


@given(st.lists(ACTS, max_size=6))
def test_standing_survives_the_wire(acts: list[Act]) -> None:
    """A computed standing is one that a node can read back."""
    standing = standing_of(history(acts), subject=ALICE, as_of=AS_OF)
    assert standing_from_dict(standing_to_dict(standing)) == standing


def test_standing_without_records_grants_nothing() -> None:
    """Who never chose has no grant and was never informed."""
    standing = standing_of([], subject=ALICE, as_of=AS_OF)
    assert (standing.grants, standing.informed_at, standing.as_of) == ((), None, AS_OF)


def test_restriction_is_lifted_only_by_its_own_act() -> None:
    """A restriction holds over later grants until it is lifted."""
    granted = Granted(
        purposes=frozenset({Purpose.SERVICE}),
        modalities=frozenset({Modality.TEXT}),
        notice_version=1,
        act="ticked_box",
        role=Role.CUSTOMER,
        age=AgeBand.ADULT,
        vulnerabilities=frozenset(),
        informed=True,
        valid_days=1,
        jurisdiction="IE",
    )
    held: list[Act] = [Restricted(restricted=True), granted]
    assert standing_of(history(held), subject=ALICE, as_of=AS_OF).restricted
    lifted = [*held, Restricted(restricted=False)]
    assert not standing_of(history(lifted), subject=ALICE, as_of=AS_OF).restricted


@given(before=st.lists(ACTS, max_size=6), purpose=st.sampled_from(Purpose))
def test_standing_remembers_the_last_no(before: list[Act], purpose: Purpose) -> None:
    """A withdrawal is dated, so that nobody is asked again too soon; a later yes ends it."""
    lasting = [act for act in before if not isinstance(act, Erased)]
    records = history([*lasting, Withdrawn(purpose=purpose)])
    standing = standing_of(records, subject=ALICE, as_of=AS_OF)
    assert standing.refused_at(purpose) == int(records[-1].at)
    assert len(dict(standing.refused)) == len(standing.refused)
    for granted in (act for act in lasting if isinstance(act, Granted)):
        after = standing_of(history([*lasting, granted]), subject=ALICE, as_of=AS_OF)
        assert not {purpose for purpose, _ in after.refused} & granted.purposes
