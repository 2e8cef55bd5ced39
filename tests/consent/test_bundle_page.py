"""The page of a bundle's version: what it changes against another, and its course."""

from __future__ import annotations

import pytest

from audit.signing import seal
from audit.staff import StaffRole
from deploy.portal_rules import NAME, roll_out, shadow_report
from policies.vocabulary import NodeId
from tests.consent.conftest import World
from tests.consent.test_portal_pages import Portal

PAGE = f"/rulebook/bundles/{NAME}"


@pytest.fixture
def portal(world: World) -> Portal:
    """Return an officer's browser where one version is in force and the next is a shadow."""
    assert world.enrol("harbour", "acme").status_code == 201

    def hand_in(kind: str, **body: object) -> None:
        world.clock.now += 1
        sealed = seal(kind, body | {"issued_at": world.clock.now}, world.officer)
        world.service.bundles.take(kind, sealed)

    roll_out(hand_in)
    return Portal(world)


def test_a_version_is_held_against_the_one_in_force(portal: Portal) -> None:
    """The rule that changed, in words and text before and after; the one that came, as new."""
    shown = portal.get(f"{PAGE}/2")
    assert "Nobody is read so that something can be offered" in shown
    assert "Nobody is read for offers or for research" in shown
    assert ">changed<" in shown
    assert ">added<" in shown
    assert "<ins>+" in shown
    assert "<del>-" in shown


def test_another_version_to_hold_against_is_in_the_address(portal: Portal) -> None:
    """Against the shipped rules all is new; against what is not there, a clear 404."""
    shown = portal.get(f"{PAGE}/2?against=0")
    assert ">changed<" not in shown
    assert shown.count(">added<") == 2
    for path in (f"{PAGE}/9", f"{PAGE}/2?against=7", "/rulebook/bundles/none/1"):
        assert portal.http.get(path).status_code == 404


def test_the_course_is_told_and_saved(portal: Portal) -> None:
    """Each act with its stage, where, and by whom; as CSV too."""
    saved = portal.http.get(f"{PAGE}/1?format=csv&table=course").text.splitlines()
    stages = [line.split(",")[2] for line in saved[1:]]
    assert stages == ["published", "shadow", "some", "all", "published", "shadow"]
    assert "harbour" in saved[3]


def test_shadows_are_a_table_in_numbers(portal: Portal) -> None:
    """How much was decided beside, how much otherwise, and by which rules."""
    node = NodeId("harbour")
    rules = portal.world.service.bundles.rules_of(node)
    report = shadow_report(rules.policy_digest, decided=300, otherwise=14)
    portal.world.service.bundles.report(node, report)
    shown = portal.get("/rulebook")
    assert "would close" in shown
    assert '<td class="number">300</td>' in shown
    assert f'href="{PAGE}/2"' in shown


def test_who_has_nothing_to_do_with_rules_does_not_see_them(portal: Portal) -> None:
    """A data scientist is refused."""
    other = Portal(portal.world, "sam", StaffRole.DATA_SCIENTIST)
    assert other.http.get(f"{PAGE}/2").status_code == 403
