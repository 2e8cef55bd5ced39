"""Use 9: a cohort without emotion, a private count, one wording for all, help and no sale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audit.events import EventKind
from client_node.cohort import Attribute, Criterion
from client_node.errors import VaultError
from client_node.uses.segments import Campaign, Campaigns, Member
from client_node.wording import (
    Because,
    Wording,
)
from models.accounting import epsilon
from policies.errors import MessageBlocked, PermitInvalid
from policies.vocabulary import Action, AgeBand, Purpose, Vulnerability
from tests.client_node.conftest import RUN
from tests.client_node.test_alerts import load, say

CONSENTS = (Purpose.SERVICE, Purpose.AGGREGATE_REPORTING, Purpose.OFFERS)
TEXTS = {
    "plain": "Our new plan is on our web site.",
    "calming": "In your own time: our new plan is on our web site.",
    "lively": "Our new plan is here! It is on our web site.",
}
FIBRE = Criterion(attribute=Attribute.PRODUCT, is_one_of=frozenset({"fibre"}))
PEOPLE = 8


class NoNoise:
    """No noise at all, to see what is counted; the product never has it."""

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> Any:  # noqa: ARG002
        """Return zeros."""
        return np.zeros(shape)

    def poisson_sample(self, count: int, *, rate: float) -> Any:  # pragma: no cover
        """Sample nobody."""
        raise NotImplementedError


def names(number: int = PEOPLE) -> list[str]:
    """Return customers' ids."""
    return [f"customer-{index}" for index in range(number)]


def campaigns(node: Any, **changed: Any) -> Campaigns:
    """Return the node's own, that does not wait and adds no noise."""
    plain = {"pause": lambda _: None, "monotonic": lambda: 0.0, "noise": NoNoise()}
    found: Campaigns = replace(node.room.campaigns, **(plain | changed))
    return found


def asked(world: Any, customers: list[str], **changed: Any) -> Campaign:
    """Return a campaign for people with fibre."""
    members = tuple(
        Member(customer=c, subject=world.subject(c), attributes={Attribute.PRODUCT: "fibre"})
        for c in customers
    )
    texts = {which: TEXTS[which.value] for which in Wording}
    plain = Campaign(criteria=(FIBRE,), members=members, texts=texts)
    return replace(plain, **changed)


def approve(node: Any, campaign: str, by: str = "ada") -> None:
    """Look at what waits as this person, for three seconds, and say yes."""
    proposals, clock = node.room.proposals, node.log.clock
    proposals.show(campaign, by)
    later = replace(proposals, desk=replace(proposals.desk, clock=lambda: clock() + 3))
    later.approve(campaign, by)


def crowd(world: Any, number: int = PEOPLE, **changed: Any) -> Any:
    """Open a node at which so many people said something that reads as anger."""
    for name in names(number):
        world.trust.put(world.standing(name, *CONSENTS, **changed))
    node = world.open()
    load(world, node, world.angry_weights())
    for name in names(number):
        say(world, node, customer=name)
    return node


@pytest.mark.usefixtures("little_noise")
def test_strained_cohort_gets_one_calming_wording(world: Any) -> None:
    """Counts of the day choose for everybody; the answer names no feeling of anybody."""
    node = crowd(world)
    said = campaigns(node).word(asked(world, names()))
    assert (said["answer"], said["wording"]) == ("waits", "calming")
    waits = {"approval", "waits_until"}
    assert set(said) == {*("campaign", "answer", "wording", "because", "counts"), *waits}
    assert said["counts"]["strained"] == PEOPLE
    approve(node, said["campaign"])
    found = campaigns(node).audience(said["campaign"], asked(world, names()))
    assert (found["answer"], found["text"]) == ("done", TEXTS["calming"])
    assert (found["audience"], found["approved_by"], found["hasty"]) == (names(), "ada", False)


def test_count_is_charged_and_logged_before_anything_is_opened(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the vault is asked, ledger and log hold the spending; a crash there stays charged."""
    node = crowd(world, 2)
    seen: list[tuple[int, int]] = []

    def crash(*_: Any, **__: Any) -> Any:
        logged = node.log.find(EventKind.BUDGET_SPENT, limit=9)
        seen.append((len(node.ledger.entries()), len(logged)))
        raise VaultError("gone")

    monkeypatch.setattr(type(node.vault), "open_readings", crash)
    with pytest.raises(VaultError):
        campaigns(node).word(asked(world, names(2)))
    assert seen == [(1, 1)]
    (entry,) = node.ledger.entries()
    assert entry.purpose == Purpose.AGGREGATE_REPORTING
    cost = epsilon(node.ledger.curve_of(entry), delta=1e-5)
    assert 1.0 < cost < 2.0
    logged = node.log.find(EventKind.BUDGET_SPENT, limit=1)[0].event.fields
    assert logged["head"] == entry.head
    node.ledger.verify(str(logged["head"]))


def test_spent_budget_abstains_and_opens_nothing(
    make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below one more count's cost nothing is asked, opened or spent."""
    caps = ((Purpose.AGGREGATE_REPORTING, 1.0),)
    world = make_world(policy_changes={"purpose_caps": caps})
    node = crowd(world, 1)
    monkeypatch.setattr(type(node.vault), "open_readings", None)
    before = len(node.log.find(EventKind.BATCH_DECISION, limit=99))
    said = campaigns(node).word(asked(world, names(1)))
    assert (said["answer"], said["because"]) == ("abstained", Because.BUDGET.value)
    assert node.ledger.entries() == []
    assert len(node.log.find(EventKind.BATCH_DECISION, limit=99)) == before
    assert node.log.find(EventKind.BUDGET_REFUSED, limit=1)


def test_stale_standing_abstains_and_spends_nothing(world: Any) -> None:
    """Where the node cannot hear, nobody is counted and nothing is spent."""
    node = crowd(world, 1)
    world.now += 61
    said = campaigns(node).word(asked(world, names(1)))
    assert (said["answer"], said["because"]) == ("abstained", Because.STALE.value)
    assert node.ledger.entries() == []


@pytest.mark.usefixtures("little_noise")
def test_policys_floor_and_noise_bind(make_world: Any) -> None:
    """The operator's signed floor refuses a cohort, and their noise is not undercut."""
    world = make_world(policy_changes={"minimum_people": PEOPLE})
    found = campaigns(crowd(world))
    said = found.word(asked(world, names()))
    assert (said["answer"], said["because"]) == ("abstained", Because.TOO_FEW.value)
    assert "text" not in said
    assert "audience" not in said
    louder = replace(found, policy=replace(found.policy, minimum_noise_multiplier=5.0))
    assert louder.multiplier == 5.0


@pytest.mark.parametrize("missing", [Purpose.SERVICE, Purpose.AGGREGATE_REPORTING])
def test_count_needs_both_consents(world: Any, missing: Purpose) -> None:
    """Who did not allow both reading and counting is in no count."""
    node = crowd(world, 3)
    rest = [purpose for purpose in CONSENTS if purpose is not missing]
    world.trust.put(world.standing(names(3)[0], *rest))
    node.keeper.poll()
    said = campaigns(node).word(asked(world, names(3)))
    assert said["counts"]["people"] == 2


def test_who_is_not_in_the_cohort_is_not_counted(world: Any) -> None:
    """The definition decides, not the list: members without the attribute are left out."""
    node = crowd(world, 3)
    wanted = asked(world, names(3))
    other = replace(wanted.members[0], attributes={Attribute.PRODUCT: "mobile"})
    said = campaigns(node).word(replace(wanted, members=(other, *wanted.members[1:])))
    assert said["counts"]["people"] == 2


@pytest.mark.usefixtures("little_noise")
def test_vulnerable_and_those_without_consent_to_offers_are_sold_nothing(world: Any) -> None:
    """Vulnerable, objecting, minor, or without consent to offers: not in the audience."""
    node = crowd(world)
    first, second, third, fourth = names()[:4]
    debt = frozenset({Vulnerability.DEBT})
    no_offers = (Purpose.SERVICE, Purpose.AGGREGATE_REPORTING)
    world.trust.put(world.standing(first, *CONSENTS, vulnerabilities=debt))
    world.trust.put(world.standing(second, *CONSENTS, objected=frozenset({Purpose.OFFERS})))
    world.trust.put(world.standing(third, *no_offers))
    world.trust.put(world.standing(fourth, *CONSENTS, age=AgeBand.UNKNOWN))
    said = campaigns(node).word(asked(world, names()))
    approve(node, said["campaign"])
    node.keeper.poll()  # since somebody approved it, too
    found = campaigns(node).audience(said["campaign"], asked(world, names()))
    assert found["audience"] == names()[4:]


@pytest.mark.usefixtures("little_noise")
def test_vulnerable_cohort_is_helped_and_not_sold_to(world: Any) -> None:
    """Where many are in debt, nobody gets a wording: help is offered."""
    node = crowd(world, vulnerabilities=frozenset({Vulnerability.DEBT}))
    said = campaigns(node).word(asked(world, names()))
    assert (said["answer"], said["because"]) == ("refer", Because.VULNERABLE.value)
    assert "text" not in said
    assert "audience" not in said


def test_stopped_organisation_is_refused_with_its_rule(world: Any) -> None:
    """A stop refuses the batch by rule 27; nothing is spent."""
    node = crowd(world, 1)
    world.trust.stopped = True
    node.keeper.poll()
    said = campaigns(node).word(asked(world, names(1)))
    assert said["answer"] == "refused"
    assert "r27-stopped" in said["rules"]
    assert node.ledger.entries() == []


def test_readings_open_to_no_other_permit(world: Any) -> None:
    """The vault takes a permit to read and one to count; one for both, or exchanged, opens none."""
    node = crowd(world, 1)
    found = campaigns(node)
    standings = {world.subject(c): node.cache.standing(world.subject(c)) for c in names(1)}
    reading = found._permit(Action.INFER, Purpose.SERVICE, RUN, standings)
    counting = found._permit(Action.COUNT, Purpose.AGGREGATE_REPORTING, RUN, standings)
    opens = node.vault.open_readings
    assert len(opens(reading=reading, counting=counting, now=world.now)) == 1
    for one, other in ((reading, reading), (counting, counting), (counting, reading)):
        with pytest.raises(PermitInvalid):
            opens(reading=one, counting=other, now=world.now)
    with pytest.raises(PermitInvalid):
        opens(reading=reading, counting=counting, now=world.now + 31)


def test_answer_comes_at_its_time_whoever_was_counted(world: Any) -> None:
    """What is left of the time is waited out; later than it, nothing is said but that."""
    node = crowd(world, 1)
    waited: list[float] = []
    times = iter([0.0, 0.5])
    found = campaigns(node, monotonic=lambda: next(times), pause=waited.append, answer_s=2.0)
    found.word(asked(world, names(1)))
    assert waited == [pytest.approx(1.51)]
    late = iter([0.0, 3.01])
    found = campaigns(node, monotonic=lambda: next(late), pause=waited.append, answer_s=2.0)
    said = found.word(asked(world, names(1)))
    assert (said["answer"], said["because"]) == ("abstained", Because.LATE.value)
    assert waited[1] == pytest.approx(1.0)
    assert "counts" not in said


def test_wording_that_manipulates_is_blocked_before_anything_is_spent(world: Any) -> None:
    """All three texts pass the guard (rules 19 and 20), or nothing is asked."""
    node = crowd(world, 1)
    texts = {which: TEXTS[which.value] for which in Wording}
    texts[Wording.LIVELY] = "Only today: hurry, only two left!"
    with pytest.raises(MessageBlocked):
        campaigns(node).word(asked(world, names(1), texts=texts))
    assert node.ledger.entries() == []
