"""One legal basis a purpose, and receipts that name their company or say that they do not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from consent.basis import CONSENT, EXPLICIT, basis_of
from consent.live_system import live_of
from consent.ropa import ropa, ropa_gaps
from consent.settings import Party
from consent.taken import NAMELESS, verify_taken
from policies.vocabulary import Purpose
from tests.consent.conftest import World, a_grant


def test_receipt_and_record_of_processing_name_the_same_basis(world: World) -> None:
    """For every purpose, recording too: the receipt's term is that of the record's articles."""
    said = {p["purpose"]: p["legal_basis"] for p in ropa(live_of(world.service))["purposes"]}
    for purpose in Purpose:
        given = world.grant(f"alice-{purpose}", purposes=[purpose.value]).json()
        term = given["receipt"]["dpv:hasLegalBasis"]
        basis = EXPLICIT if term == "eu-gdpr:A9-2-a" else CONSENT
        assert term == basis.term
        assert said[purpose] == basis.sentence() == basis_of(purpose).sentence()
    assert "9(2)(a)" not in said[Purpose.RECORDING]
    assert "9(2)(a)" in said[Purpose.SERVICE]


@pytest.mark.parametrize("named", [False, True])
def test_receipt_says_where_it_names_no_company(
    make_world: Callable[..., World], *, named: bool
) -> None:
    """Without the setting it says so in words, and so does the service's list; with it, neither."""
    party = Party(name="Acme Ltd", address="1 Main Street", contact="privacy@acme.example")
    world = make_world(parties={"acme": party} if named else {})
    world.publish()
    world.enrol("north", "acme")
    answer = world.as_node("north", "POST", "/v1/grants", a_grant("alice"))
    holds = verify_taken(json.dumps(answer.json()).encode(), world.service.key.verify_key)
    assert (NAMELESS not in holds.sentences()) is named
    assert (ropa_gaps(live_of(world.service)) == []) is named
