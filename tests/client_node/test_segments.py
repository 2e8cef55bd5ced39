"""Use 9: a cohort without emotion, a private count, one wording for all, help and no sale."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from audit.events import EventKind
from client_node.cli import app
from client_node.client import NodeClient
from client_node.cohort import Attribute, Criterion, check_definition
from client_node.errors import CohortRefused, VaultError
from client_node.uses.segments import Campaign, Campaigns, Member
from client_node.wording import (
    Because,
    Choice,
    Counted,
    Tally,
    Tone,
    Wording,
    choose,
    tally,
    tone_of,
)
from models.accounting import epsilon
from models.noise import SYSTEM_NOISE
from policies.errors import MessageBlocked, PermitInvalid
from policies.vocabulary import Action, AgeBand, Emotion, Purpose, Vulnerability
from tests.client_node.conftest import RUN
from tests.client_node.test_alerts import angry_node, load, say

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


@pytest.fixture
def little_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let eight people suffice; how much noise there is otherwise has tests of its own."""
    monkeypatch.setattr("client_node.uses.segments.LEAST_NOISE", 1.0)


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
    plain = Campaign(criteria=(FIBRE,), members=members, texts=texts, approved_by="ada")
    return replace(plain, **changed)


def crowd(world: Any, number: int = PEOPLE, **changed: Any) -> Any:
    """Open a node at which so many people said something that reads as anger."""
    for name in names(number):
        world.trust.put(world.standing(name, *CONSENTS, **changed))
    node = world.open()
    load(world, node, world.angry_weights())
    for name in names(number):
        say(world, node, customer=name)
    return node


@pytest.fixture(scope="module")
def happy_tally() -> Tally:
    """Return fifty people of whom forty are lively."""
    return Tally(people=50, tones=(0, 0, 10, 40), vulnerable=0, std=5.0)


def test_cohort_has_no_attribute_for_a_feeling() -> None:
    """The closed list names no emotion, no vulnerability, and nothing that a node reads."""
    closed = {*Emotion, *Vulnerability, "emotion", "valence", "trend", "risk", "satisfaction"}
    assert not {attribute.value for attribute in Attribute} & closed
    with pytest.raises(ValueError, match="anger"):
        Attribute("anger")


@pytest.mark.parametrize(
    "word",
    ["angry", "frustrated-2", "upset", "mood.low", "exhausted", "traurig"],
)
def test_cohort_is_not_cut_by_a_word_for_a_feeling(word: str) -> None:
    """A product or region that names a feeling is refused by rule 16, and not repeated."""
    with pytest.raises(CohortRefused, match="rule 16") as refused:
        check_definition([replace(FIBRE, is_one_of=frozenset({word}))])
    assert word not in str(refused.value)


@pytest.mark.parametrize("word", ["debt-help", "disabled", "widow", "crisis"])
def test_cohort_is_not_cut_by_a_vulnerability(word: str) -> None:
    """Nor one that names a situation that may not be exploited, by rule 8."""
    with pytest.raises(CohortRefused, match="rule 8"):
        check_definition([replace(FIBRE, is_one_of=frozenset({word}))])


@pytest.mark.parametrize(
    "criteria",
    [
        [],
        [FIBRE] * 9,
        [Criterion(attribute=Attribute.PRODUCT, at_least=1)],
        [Criterion(attribute=Attribute.PRODUCT)],
        [Criterion(attribute=Attribute.ORDERS_LAST_YEAR, is_one_of=frozenset({"a"}))],
        [Criterion(attribute=Attribute.ORDERS_LAST_YEAR)],
        [replace(FIBRE, is_one_of=frozenset({"with space"}))],
    ],
)
def test_cohort_needs_a_whole_definition(criteria: list[Criterion]) -> None:
    """Too few or many criteria, or a value of the other kind, are refused."""
    with pytest.raises(CohortRefused):
        check_definition(criteria)


def test_criterion_holds_for_what_is_known() -> None:
    """Words are met exactly, ranges with both ends, and what is not known meets nothing."""
    months = Criterion(attribute=Attribute.CONTRACT_MONTHS, at_least=3, at_most=6)
    held = [months.holds({Attribute.CONTRACT_MONTHS: n}) for n in (2, 3, 6, 7)]
    assert held == [False, True, True, False]
    assert not months.holds({})
    assert FIBRE.holds({Attribute.PRODUCT: "fibre"})
    assert not FIBRE.holds({Attribute.PRODUCT: "mobile"})


def test_tone_is_of_the_whole_day() -> None:
    """The mean of the turns tells, exhaustion needs two such turns, and unread turns tell none."""
    assert tone_of([(None, None)]) is None
    assert tone_of([(-0.5, Emotion.ANGER), (0.1, None)]) is Tone.STRAINED
    assert tone_of([(0.6, Emotion.JOY)]) is Tone.LIVELY
    assert tone_of([(0.0, Emotion.NEUTRAL)]) is Tone.EVEN
    assert tone_of([(-0.5, Emotion.SADNESS)]) is Tone.STRAINED
    assert tone_of([(-0.5, Emotion.SADNESS), (-0.4, Emotion.DISTRESS)]) is Tone.EXHAUSTED


@given(
    st.lists(st.tuples(st.sampled_from([*Tone, None]), st.booleans()), max_size=20),
    st.tuples(st.sampled_from([*Tone, None]), st.booleans()),
)
def test_one_person_moves_the_counts_by_at_most_the_sensitivity(
    others: list[tuple[Tone | None, bool]], one: tuple[Tone | None, bool]
) -> None:
    """With and without anybody, the table of counts differs by the square root of three at most."""
    rows = [Counted(tone=tone, vulnerable=flag) for tone, flag in others]
    more = [*rows, Counted(tone=one[0], vulnerable=one[1])]
    less, all_of = (tally(r, multiplier=1.0, noise=NoNoise()) for r in (rows, more))
    moved = np.array(
        [
            all_of.people - less.people,
            all_of.vulnerable - less.vulnerable,
            *np.subtract(all_of.tones, less.tones),
        ]
    )
    assert np.linalg.norm(moved) <= np.sqrt(3) + 1e-12


def test_counts_are_noisy_by_as_much_as_is_charged() -> None:
    """The spread of many counts is multiplier times sensitivity, and none is the true one."""
    rows = [Counted(tone=Tone.EVEN, vulnerable=False)] * 40
    found = [tally(rows, multiplier=3.0, noise=SYSTEM_NOISE).people for _ in range(400)]
    assert len(set(found)) == len(found)
    assert np.std(found) == pytest.approx(3 * np.sqrt(3), rel=0.2)
    assert np.mean(found) == pytest.approx(40, abs=1.5)


def test_floor_is_tested_beyond_the_noise(happy_tally: Tally) -> None:
    """Two standard deviations above the floor or nothing is said."""
    assert choose(happy_tally, floor=40).because is not Because.TOO_FEW
    assert choose(happy_tally, floor=41) == Choice(because=Because.TOO_FEW)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Choice(because=Because.BRIGHTER, wording=Wording.LIVELY)),
        ({"tones": (0, 40, 5, 5)}, Choice(because=Because.CALMER, wording=Wording.CALMING)),
        ({"tones": (0, 20, 10, 20)}, Choice(because=Because.NO_DIFFERENCE, wording=Wording.PLAIN)),
        ({"tones": (13, 0, 0, 37)}, Choice(because=Because.EXHAUSTED, refer=True)),
        ({"vulnerable": 13}, Choice(because=Because.VULNERABLE, refer=True)),
    ],
)
def test_wording_follows_the_noisy_counts(
    happy_tally: Tally, changed: dict[str, Any], expected: Choice
) -> None:
    """Clear differences choose, unclear ones are worded plainly, and help comes before any sale."""
    assert choose(replace(happy_tally, **changed), floor=10) == expected


@pytest.mark.usefixtures("little_noise")
def test_strained_cohort_gets_one_calming_wording(world: Any) -> None:
    """Counts of the day choose for everybody; the answer names no feeling of anybody."""
    node = crowd(world)
    said = campaigns(node).word(asked(world, names()))
    assert (said["answer"], said["wording"]) == ("done", "calming")
    assert said["text"] == TEXTS["calming"]
    assert said["audience"] == names()
    assert set(said) == {
        *("campaign", "answer", "wording", "because", "counts", "text", "audience", "approved_by")
    }
    assert said["counts"]["strained"] == PEOPLE
    step = node.log.find(EventKind.APPROVAL_STEP, limit=1)[0].event.fields
    assert (step["approval"], step["by"]) == (said["campaign"], "ada")


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
    node.keeper.poll()
    said = campaigns(node).word(asked(world, names()))
    assert said["audience"] == names()[4:]


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


def body(**changed: Any) -> dict[str, Any]:
    """Return a campaign as it is sent."""
    members = [{"customer": c, "attributes": {"product": "fibre"}} for c in names(2)]
    criteria = [{"attribute": "product", "is_one_of": ["fibre"]}]
    plain = {"criteria": criteria, "members": members, "texts": TEXTS, "approved_by": "ada"}
    return plain | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"criteria": [{"attribute": "emotion", "is_one_of": ["anger"]}]},
        {"criteria": [{"attribute": "product", "is_one_of": ["angry"]}]},
        {"members": [{"customer": "c", "attributes": {"valence": 1}}]},
        {"members": [{"customer": "c", "attributes": {"product": 3}}]},
        {"members": [{"customer": "c", "attributes": {"product": "upset"}}]},
        {"members": [{"customer": "c", "attributes": {}}] * 2},
        {"approved_by": ""},
        {"texts": {"plain": "x"}},
    ],
)
def test_campaign_that_is_not_well_formed_is_one_line(world: Any, changed: Any) -> None:
    """Feelings, values of another kind, people twice, or no approver: 422 and nothing spent."""
    node = angry_node(world, *CONSENTS)
    answer = world.api(node).post("/v1/campaigns", json=body(**changed))
    assert answer.status_code == 422
    assert "\n" not in answer.json()["detail"]
    assert node.ledger.entries() == []


def test_campaign_is_worded_over_http(world: Any) -> None:
    """The branch asks and is answered; the use says of itself what it is for."""
    node = angry_node(world, *CONSENTS, campaign_s=0.5)
    answer = world.api(node).post("/v1/campaigns", json=body()).json()
    assert answer["answer"] in {"abstained", "refer"}  # two people, and noise
    assert len(node.ledger.entries()) == 1
    (told,) = [
        use
        for use in world.api(node).get("/v1/uses").json()["uses"]
        if use["purpose"] == "aggregate_reporting"
    ]
    assert told["serves"] == "relief"
    assert {8, 9, 16} <= set(told["rules"])
    assert NodeClient.campaign.__doc__


def test_command_prints_what_the_node_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words for the operator, JSON on demand, 1 where nothing is said, one line for a bad file."""
    path = tmp_path / "campaign.json"
    path.write_text(json.dumps(body()), encoding="utf-8")
    said = {
        "campaign": "campaign-1",
        "answer": "done",
        "wording": "calming",
        "because": "x",
        "text": "T",
        "audience": ["a"],
        "counts": {"people": 40},
    }
    monkeypatch.setattr("client_node.campaigns_cli.ask_node", lambda *_: said)
    line = ["campaigns", "word", str(path), "--settings", "n.toml"]
    shown = CliRunner().invoke(app, line)
    assert (shown.exit_code, "calming: T" in shown.stdout) == (0, True)
    assert json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout) == said
    said |= {"answer": "abstained"}
    assert CliRunner().invoke(app, line).exit_code == 1
    path.write_text("[", encoding="utf-8")
    assert isinstance(CliRunner().invoke(app, line).exception, (CohortRefused, SystemExit))
