"""Retention: a policy as data with the law's floor, and expiry that is never early."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import RetentionInvalid
from audit.events import Event, EventKind
from audit.hold import HoldReason, Scope
from audit.hold_book import HoldBook
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.retention import LEAP_S, Retention
from audit.retention_policy import (
    DAY_S,
    NO_AI_ACT_LOG,
    SHIPPED,
    RetentionPolicy,
    load_retention,
    parse_retention,
)
from audit.signing import SigningKey
from audit.verify import verify_log
from policies.law import LAW
from policies.vocabulary import SubjectId
from tests.audit.conftest import NOW, SetClock

ANN = SubjectId("1f" * 32)
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> str:
    """Return the shipped file with something changed."""
    said = tomllib.loads(SHIPPED.read_text("utf-8"))
    change(said)
    return tomli_w.dumps(said)


def days(said: dict[str, Any], name: str, count: Any) -> None:
    """Set a period's days."""
    next(row for row in said["period"] if row["name"] == name)["days"] = count


def kept(log: EvidenceLog) -> list[int]:
    """Return the entries whose payload is there."""
    return [entry.index for entry in log.entries(0, log.size) if log.payload(entry.index)]


def decided(at: float) -> Event:
    """Return an AI Act log's entry."""
    return Event(kind=EventKind.TURN_SEALED, at=at, fields={"turn": "t", "decision_id": "d"})


@pytest.fixture
def policy() -> RetentionPolicy:
    """Return the policy that ships."""
    return load_retention()


@pytest.fixture
def book(log: EvidenceLog, clock: SetClock, keystore: Keystore) -> HoldBook:
    """Return an empty book of holds over the log."""
    return HoldBook(log, clock=clock, keystore=keystore)


@pytest.fixture
def retention(
    log: EvidenceLog, policy: RetentionPolicy, clock: SetClock, keystore: Keystore, book: HoldBook
) -> Retention:
    """Return retention over the log, in small parts."""
    return Retention(log=log, policy=policy, holds=book, clock=clock, keystore=keystore, _part=3)


def test_shipped_policy_keeps_every_ai_act_log_for_six_months(policy: RetentionPolicy) -> None:
    """Every kind has a period with purpose and grounds; the law's floor is any six months."""
    assert LAW.clocks.high_risk_log_days == 184  # 1 March to 1 September
    for kind in EventKind:
        period = policy.period_of(kind)
        assert period.purpose
        assert period.grounds
        assert kind in NO_AI_ACT_LOG or period.days >= 184
    for kind in (EventKind.DECISION, EventKind.BATCH_DECISION, EventKind.STAFF_ACTED):
        assert kind not in NO_AI_ACT_LOG


@pytest.mark.promise(8)
@pytest.mark.parametrize("name", ["use", "learning"])
def test_policy_shorter_than_six_months_is_refused(name: str) -> None:
    """One line: which period, what it says, the article, and the least that is accepted."""
    with pytest.raises(RetentionInvalid) as caught:
        parse_retention(changed(lambda said: days(said, name, 183)))
    told = str(caught.value)
    assert all(words in told for words in (name, "183 days", "26(6)", "184 days or more"))
    assert "\n" not in told
    assert parse_retention(changed(lambda said: days(said, name, 184))).digest


def test_policy_may_keep_what_is_no_ai_act_log_shorter() -> None:
    """The floor is the AI Act's: consents and accounts follow their own grounds."""
    assert parse_retention(changed(lambda said: days(said, "consent", 30)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said["period"][0]["kinds"].append("decision"), "twice"),
        (lambda said: said["period"][1]["kinds"].append("decision"), "two periods"),
        (lambda said: said["period"][0]["kinds"].remove("decision"), "in no period: decision"),
        (lambda said: said["period"][0]["kinds"].append("dreams"), "dreams"),
        (lambda said: said["period"][0].pop("purpose"), "purpose"),
        (lambda said: said["period"][0].update(grounds=[]), "ground"),
        (lambda said: said["period"][0].update(forever=1), "no more"),
        (lambda said: days(said, "use", 0), "from 1"),
        (lambda said: days(said, "use", "400"), "whole numbers"),
        (lambda said: days(said, "use", 400.5), "whole numbers"),
        (lambda said: said["archive"].update(after_days=-1), "from 1"),
        (lambda said: said.pop("archive"), "archive"),
        (lambda said: said.update(note="x"), "no more"),
    ],
)
def test_policy_with_a_fault_is_refused_in_one_line(change: Change, words: str) -> None:
    """What is wrong is named; nothing is kept by a policy that was half understood."""
    with pytest.raises(RetentionInvalid, match=words) as caught:
        parse_retention(changed(change))
    assert "\n" not in str(caught.value)


def test_policy_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """No file, or no TOML."""
    with pytest.raises(RetentionInvalid, match="cannot be read"):
        load_retention(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3", encoding="utf-8")
    with pytest.raises(RetentionInvalid, match=r"bad\.toml"):
        load_retention(tmp_path / "bad.toml")


@pytest.mark.promise(8)
def test_expiry_removes_payload_and_salt_after_the_period_and_no_proof(
    tmp_path: Path, log: EvidenceLog, retention: Retention, clock: SetClock, key: SigningKey
) -> None:
    """What is older goes, what is younger stays; roots verify, and an entry says what went."""
    period_s = retention.policy.kept_s(EventKind.TURN_SEALED)
    for number in range(8):
        private = {"secret": f"fact {number}"}
        log.append(decided(NOW + number), private=private, subject=ANN if number % 2 else None)
    receipts = [log.receipt(number) for number in range(8)]
    clock.now = NOW + period_s + 4.5
    assert retention.plan(clock_is_right=True).due == (0, 1, 2, 3, 4)
    assert kept(log) == list(range(8)), "a plan removes nothing"
    assert retention.run(clock_is_right=True).due == (0, 1, 2, 3, 4)
    assert kept(log) == [5, 6, 7]
    parts = [e.event.fields for e in reversed(log.find(EventKind.RETENTION_APPLIED))]
    assert [(p["first"], p["last"], p["count"]) for p in parts] == [(0, 2, 3), (3, 4, 2)]
    assert {p["policy_digest"] for p in parts} == {retention.policy.digest}
    assert [log.receipt(number)[:40] for number in range(8)] == [r[:40] for r in receipts]
    log.close()
    assert b"fact 0" not in (tmp_path / "log.db").read_bytes()
    assert verify_log(tmp_path / "log.db", key.verify_key).size == 10


@pytest.mark.promise(8)
def test_expiry_leaves_what_a_hold_covers_until_it_is_lifted(
    log: EvidenceLog, retention: Retention, clock: SetClock, book: HoldBook
) -> None:
    """By person, kind and range; the run says how many are held."""
    log.append(decided(NOW), private={"n": 0}, subject=ANN)
    log.append(decided(NOW), private={"n": 1}, subject=SubjectId("2e" * 32))
    clock.now = NOW + retention.policy.kept_s(EventKind.TURN_SEALED) + 1
    held = book.place(
        HoldReason.LEGAL_CLAIM, Scope(person=ANN), review_at=clock.now + 9, by="ada"
    ).hold
    book.confirm(held, by="ben")
    plan = retention.run(clock_is_right=True)
    assert (plan.due, dict(plan.held)) == ((1,), {"turn-sealed": 1})
    assert log.payload(0) == {"n": 0}
    book.propose_lift(held, by="ada")
    book.lift(held, by="ben")
    assert retention.run(clock_is_right=True).due == (0,)


def test_expiry_leaves_whom_a_hold_is_about_while_it_holds(
    log: EvidenceLog,
    retention: Retention,
    clock: SetClock,
    keystore: Keystore,
    book: HoldBook,
) -> None:
    """A hold older than its own entries' period still knows whose it is."""
    made = book.place(HoldReason.AUTHORITY, Scope(person=ANN), review_at=NOW + 9, by="ada")
    book.confirm(made.hold, by="ben")
    clock.now = NOW + retention.policy.kept_s(EventKind.HOLD_STEP) + 1
    assert retention.run(clock_is_right=True).due == ()
    (again,) = HoldBook(log, clock=clock, keystore=keystore).in_force()
    assert again.scope.person == ANN


@pytest.mark.promise(8)
def test_expiry_is_not_early_where_the_clock_went_back(
    log: EvidenceLog, retention: Retention, clock: SetClock
) -> None:
    """An entry that says an old second, after a newer one, is as young as the newer one."""
    period_s = retention.policy.kept_s(EventKind.TURN_SEALED)
    log.append(decided(NOW))
    log.append(decided(NOW - 100 * DAY_S), private={"n": 1})
    clock.now = NOW + period_s - DAY_S
    assert retention.run(clock_is_right=True).due == ()
    clock.now = NOW - 500 * DAY_S
    assert retention.run(clock_is_right=True).due == ()
    clock.now = NOW + period_s + 1
    assert retention.run(clock_is_right=True).due == (1,)


def test_expiry_on_its_own_believes_a_clock_that_leapt_only_the_second_time(
    log: EvidenceLog, retention: Retention, clock: SetClock
) -> None:
    """A glitch that is gone by the next run costs nothing; a clock that stays is believed."""
    log.append(decided(NOW), private={"n": 0})
    assert retention.run().due == (), "the first run notes the clock"
    clock.now = NOW + 9000 * DAY_S
    assert retention.run().due == ()
    clock.now = NOW + DAY_S
    assert retention.run().due == ()
    clock.now = NOW + 9000 * DAY_S
    assert retention.run().due == ()
    clock.now += DAY_S
    assert clock.now - NOW > LEAP_S
    assert retention.run().due == (0,)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    said=st.lists(st.tuples(st.integers(-400, 400), st.booleans()), min_size=1, max_size=12),
    now=st.integers(-400, 1200),
)
def test_expiry_agrees_with_a_slow_reading_of_the_rule(
    tmp_path_factory: pytest.TempPathFactory,
    policy: RetentionPolicy,
    key: SigningKey,
    said: list[tuple[int, bool]],
    now: int,
) -> None:
    """For any clock: due is exactly what the largest second so far plus the period lies behind."""
    clock = SetClock(NOW + 400 * DAY_S)  # the log takes no time that lies ahead of its clock
    path = tmp_path_factory.mktemp("any") / "log.db"
    log = EvidenceLog(path, key, origin="any", clock=clock)
    for day, kept_facts in said:
        log.append(decided(NOW + day * DAY_S), private={"day": day} if kept_facts else None)
    clock.now = NOW + now * DAY_S
    kept_days = policy.period_of(EventKind.TURN_SEALED).days
    newest = [max(day for day, _ in said[: i + 1]) for i in range(len(said))]
    slow = [i for i, (_, has) in enumerate(said) if has and newest[i] + kept_days <= now]
    found = Retention(log=log, policy=policy, holds=HoldBook(log, clock=clock), clock=clock)
    assert list(found.plan(clock_is_right=True).due) == slow
    log.close()


def test_expiry_follows_each_kinds_own_period(
    log: EvidenceLog, retention: Retention, clock: SetClock
) -> None:
    """A batch is kept for as long as a model may serve, a decision for a year."""
    fields = {"decision_id": "d", "node": "n", "action": "train", "purpose": "training"}
    rest = {"modality": "text", "policy_digest": "p", "batch_root": "r", "context": "c"}
    batch = Event(kind=EventKind.BATCH_DECISION, at=NOW, fields={**fields, **rest})
    log.append(batch, private={"leaves": ""})
    log.append(decided(NOW), private={"n": 1})
    clock.now = NOW + 400 * DAY_S
    assert retention.run(clock_is_right=True).due == (1,)
    longer = replace(retention, policy=load_retention())
    clock.now = NOW + 3654 * DAY_S
    assert longer.run(clock_is_right=True).due == (0,)
