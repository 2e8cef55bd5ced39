"""Standing, governance and request are the same after canonical JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given

from policies.canonical import canonical, digest, digest_bytes
from policies.decision import UseRequest, request_from_dict, request_to_dict
from policies.standing import (
    Governance,
    Standing,
    erased,
    governance_from_dict,
    governance_to_dict,
    standing_from_dict,
    standing_to_dict,
    without,
)
from policies.vocabulary import Purpose, SubjectId
from tests.policies.strategies import governances, plain_requests, standings


@given(request_=plain_requests, standing=standings, governance=governances)
def test_values_survive_the_wire(
    request_: UseRequest, standing: Standing, governance: Governance
) -> None:
    """Nothing that the rules weigh is lost or changed on the way."""
    asked = json.loads(canonical(request_to_dict(request_)))
    person = json.loads(canonical(standing_to_dict(standing)))
    organisation = json.loads(canonical(governance_to_dict(governance)))
    assert request_from_dict(asked) == request_
    assert standing_from_dict(person) == standing
    assert governance_from_dict(organisation) == governance


@given(standing=standings)
def test_what_is_remembered_with_a_standing_is_never_anothers(standing: Standing) -> None:
    """Vouched for anew it is the same but for the second; changed in anything it is another."""
    vouched = standing.vouched(7)
    assert vouched == replace(standing, as_of=7)
    assert vouched.encoded == replace(standing, as_of=7).encoded
    assert vouched.timeless == standing.timeless == replace(standing, as_of=0)
    for changed in (
        replace(vouched, restricted=not standing.restricted),
        replace(vouched, subject=SubjectId("somebody-else")),
        without(vouched, frozenset(Purpose)),
        erased(standing.subject, 7),
    ):
        fresh = standing_from_dict(standing_to_dict(changed))
        assert changed.timeless == fresh.timeless
        assert changed.encoded == fresh.encoded


def test_digest_does_not_depend_on_order() -> None:
    """Equal values in another order have the same bytes and the same digest."""
    assert canonical({"b": 1, "a": [True, None]}) == b'{"a":[true,null],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) == digest_bytes(b'{"a":2,"b":1}')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1, 2}])
def test_what_is_not_json_has_no_bytes(value: object) -> None:
    """A value that others could read differently is refused."""
    with pytest.raises(ValueError, match=r".+"):
        canonical(value)
