"""The gate: standing, policy, durable evidence, permit; in that order, or nothing."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.batch import Membership, verify_batch_proof
from audit.drafts import Pending
from audit.errors import EntryMissing, EnvelopeInvalid, EvidenceUnavailable, SignatureInvalid
from audit.events import EventKind
from audit.gate import BATCH_SUBJECT, Gate, admit_permit
from audit.keystore import Keystore
from audit.log import Draft, EvidenceLog
from audit.once import Work
from audit.signing import SigningKey, seal
from audit.trace_context import current_trace
from policies.decision import Decision, UseRequest, request_from_dict
from policies.engine import PolicyEngine
from policies.errors import PermitInvalid, PolicyUnavailable, Refused, UndertoneError
from policies.permit import Permit
from policies.standing import (
    Governance,
    Grant,
    Standing,
    governance_from_dict,
    standing_from_dict,
)
from policies.vocabulary import (
    Action,
    AgeBand,
    Emotion,
    Modality,
    NodeId,
    Purpose,
    SubjectId,
)
from tests.audit.conftest import NOW, SetClock, sqlite_of

pytestmark = pytest.mark.promise(1)

ENGINE = PolicyEngine.load()
ANN = SubjectId("1f" * 32)
KEY = bytes(range(32))
REQUEST = UseRequest(
    node=NodeId("node-1"), action=Action.INFER, purpose=Purpose.SERVICE, subject=ANN
)
TRAIN = replace(REQUEST, action=Action.TRAIN, purpose=Purpose.TRAINING, subject=BATCH_SUBJECT)
GOVERNANCE = Governance(
    as_of=int(NOW),
    stopped=False,
    dpia_purposes=frozenset(Purpose),
    minimum_notice=1,
    standing_max_age_s=3600,
)


def _standing(subject: SubjectId = ANN, *purposes: Purpose) -> Standing:
    grants = tuple(
        Grant(
            purpose=purpose,
            modalities=frozenset({Modality.TEXT}),
            notice_version=1,
            explicit=True,
            granted_at=int(NOW) - 100,
            expires_at=int(NOW) + 10_000,
        )
        for purpose in purposes or tuple(Purpose)
    )
    return Standing(
        subject=subject,
        as_of=int(NOW),
        age=AgeBand.ADULT,
        grants=grants,
        informed_at=int(NOW) - 100,
    )


@pytest.fixture
def gate(log: EvidenceLog, clock: SetClock) -> Gate:
    """Return a gate over the shipped rules."""
    return Gate(engine=ENGINE, log=log, clock=clock, batch_key=KEY)


def test_gate_permits_exactly_the_use_and_logs_it_first(gate: Gate, log: EvidenceLog) -> None:
    """A permit names the entry of its decision, and covers that use for its seconds only."""
    permit = gate.open(REQUEST, _standing(), GOVERNANCE)
    fields = log.entry(permit.log_index).event.fields
    assert (fields["decision_id"], fields["allowed"]) == (permit.decision_id, True)
    covered = {"action": Action.INFER, "purpose": Purpose.SERVICE, "subject": ANN}
    permit.cover(**covered, now=NOW + 29)  # type: ignore[arg-type]
    for wrong in ({"now": NOW + 30}, {"now": NOW - 1}, {"action": Action.USE}, {"subject": "x"}):
        with pytest.raises(PermitInvalid):
            permit.cover(**(covered | {"now": NOW} | wrong))  # type: ignore[arg-type]


def test_gate_logs_refusals_and_raises_them(gate: Gate, log: EvidenceLog) -> None:
    """A no is evidence too: by whom, what for, which rules."""
    for standing in (None, replace(_standing(), grants=()), _standing(SubjectId("other"))):
        size = log.size
        with pytest.raises(Refused) as caught:
            gate.open(REQUEST, standing, GOVERNANCE)
        fields = log.entry(size).event.fields
        assert fields["allowed"] is False
        assert fields["rules"] == list(caught.value.decision.rules) != []
    with pytest.raises(Refused):
        gate.open(REQUEST, _standing(), None)


def test_gate_decides_many_uses_each_for_itself_and_records_them_in_one_step(
    gate: Gate, log: EvidenceLog
) -> None:
    """A yes beside a no: each has its own entry, and no permit comes before all are durable."""
    store = replace(REQUEST, action=Action.STORE, purpose=Purpose.TRAINING)
    standing, checkpoints = _standing(ANN, Purpose.SERVICE), _checkpoints(log)
    outcomes = gate.open_many([REQUEST, store, REQUEST], standing, GOVERNANCE)
    assert [outcome.decision.allowed for outcome in outcomes] == [True, False, True]
    assert [o.permit and o.permit.log_index for o in outcomes] == [0, None, 2]
    assert _checkpoints(log) == checkpoints + 1
    for entry, outcome in zip(log.entries(0, 3), outcomes, strict=True):
        assert entry.event.fields["decision_id"] == outcome.decision.decision_id
        assert entry.event.fields["allowed"] is outcome.decision.allowed
        assert log.payload(entry.index) is not None
    assert outcomes[0].permit is not None
    with pytest.raises(PermitInvalid):
        outcomes[0].permit.cover(
            action=Action.STORE, purpose=Purpose.TRAINING, subject=ANN, now=NOW
        )


def _checkpoints(log: EvidenceLog) -> int:
    rows = sqlite_of(log)._rows("SELECT COUNT(*) FROM checkpoint")
    return int(rows[0][0])


class _Forgetful:
    """A log that records fewer decisions than it was given."""

    def prepare(self, drafts: list[Draft]) -> Work:
        return Work([Pending(b"", None, None) for _ in drafts])

    def append_works(self, works: list[Work]) -> list[range]:
        return [range(len(work.pending) - 1) for work in works]


def test_gate_with_a_log_that_loses_one_of_many_permits_none_of_them(clock: SetClock) -> None:
    """As many entries as decisions, or nothing is permitted."""
    lossy: Any = _Forgetful()
    gate = Gate(engine=ENGINE, log=lossy, clock=clock, batch_key=KEY)
    with pytest.raises(EvidenceUnavailable, match="another number"):
        gate.open_many([REQUEST, REQUEST], _standing(), GOVERNANCE)


class _Gathering(PolicyEngine):
    """An engine that answers the first only once all others wait, and breaks over some."""

    def __init__(self, gate: Callable[[], Gate], others: int) -> None:
        self.policy_digest = ENGINE.policy_digest
        self._gate, self._others, self._first = gate, others, True

    def decide(self, request: UseRequest, *args: Any, **kwargs: Any) -> Decision:
        if self._first:
            self._first = False
            while len(self._gate()._together._waiting) < self._others:
                threading.Event().wait(0.001)
        if request.subject.startswith("broken"):
            raise ValueError("Ann said")
        return ENGINE.decide(request, *args, **kwargs)


def _together(gate: Gate, names: Sequence[str]) -> dict[str, Permit | UndertoneError]:
    """Ask for all of them at once; return what each got."""

    def ask(name: str) -> Permit | UndertoneError:
        subject = SubjectId(name)
        standing = _standing(subject, Purpose.TRAINING if "refused" in name else Purpose.SERVICE)
        request = replace(REQUEST, subject=subject)
        try:
            return gate.open(request, standing, GOVERNANCE)
        except UndertoneError as error:
            return error

    with ThreadPoolExecutor(len(names)) as callers:
        return dict(zip(names, callers.map(ask, names), strict=True))


def test_gate_serves_callers_together_and_each_gets_its_own_answer(
    log: EvidenceLog, clock: SetClock
) -> None:
    """Of those who come at once each gets its permit, refusal or error; one commit for all."""
    names = [f"{kind}-{n}" for n in range(6) for kind in ("fine", "refused", "broken")]
    gates = list[Gate]()
    engine = _Gathering(lambda: gates[0], len(names) - 1)
    gates.append(Gate(engine=engine, log=log, clock=clock, batch_key=KEY))
    before = _checkpoints(log)
    for name, got in _together(gates[0], names).items():
        kind = name.split("-")[0]
        expected = {"fine": Permit, "refused": Refused, "broken": PolicyUnavailable}[kind]
        assert type(got) is expected
        if isinstance(got, Permit):
            assert got.subjects == {name}
            assert log.entry(got.log_index).event.fields["decision_id"] == got.decision_id
    assert log.size == 12
    assert _checkpoints(log) <= before + 2


def test_gate_whose_log_closes_permits_nobody_of_those_who_came_together(
    log: EvidenceLog, clock: SetClock
) -> None:
    """Where the record of a group fails, every caller of the group is refused evidence."""
    gates = list[Gate]()
    names = [f"fine-{n}" for n in range(8)]
    engine = _Gathering(lambda: gates[0], len(names) - 1)
    gates.append(Gate(engine=engine, log=log, clock=clock, batch_key=KEY))
    log.close()
    got = _together(gates[0], names)
    assert {type(answer) for answer in got.values()} == {EvidenceUnavailable}


def test_gate_ties_each_record_to_its_own_callers_trace(log: EvidenceLog, clock: SetClock) -> None:
    """Whoever serves the group, an entry names the trace that its caller was in."""
    gates = list[Gate]()
    engine = _Gathering(lambda: gates[0], 3)
    gates.append(Gate(engine=engine, log=log, clock=clock, batch_key=KEY))

    def ask(number: int) -> tuple[str, int]:
        trace = f"{number + 1:032x}"
        token = current_trace.set(trace)
        try:
            return trace, gates[0].open(REQUEST, _standing(), GOVERNANCE).log_index
        finally:
            current_trace.reset(token)

    with ThreadPoolExecutor(4) as callers:
        for trace, index in callers.map(ask, range(4)):
            assert log.entry(index).event.fields["trace_id"] == trace


def test_gate_keeps_what_it_considered_sealed_and_it_can_be_decided_again(
    gate: Gate, log: EvidenceLog, keystore: Keystore
) -> None:
    """Request, standing and governance come back from the log, give the same decision, erase."""
    request = replace(REQUEST, facts=replace(REQUEST.facts, emotion=Emotion.ANGER))
    permit = gate.open(request, _standing(), GOVERNANCE)
    kept = log.payload(permit.log_index)
    assert kept is not None
    again = ENGINE.decide(
        request_from_dict(kept["request"]),
        standing_from_dict(kept["standing"]),
        governance_from_dict(kept["governance"]),
        now=kept["now"],
    )
    assert (again.allowed, list(again.rules)) == (kept["allowed"], kept["rules"])
    leaf = log.entry(permit.log_index).leaf
    assert ANN.encode() not in leaf
    assert b"anger" not in leaf
    keystore.destroy(ANN)
    assert log.payload(permit.log_index) is None


def test_gate_without_evidence_permits_nothing(gate: Gate, log: EvidenceLog) -> None:
    """Disk full, log closed: no permit, for one person or for a batch."""
    sqlite_of(log)._writer.execute("PRAGMA max_page_count = 1")
    _expect_no_evidence(gate)
    sqlite_of(log)._writer.execute("PRAGMA max_page_count = 100000")
    gate.open(REQUEST, _standing(), GOVERNANCE)
    log.close()
    _expect_no_evidence(gate)


def _expect_no_evidence(gate: Gate) -> None:
    for _ in range(2):
        with pytest.raises(EvidenceUnavailable):
            _many(lambda: gate.open_batch(TRAIN, [_standing()], GOVERNANCE, context={}))
        with pytest.raises(EvidenceUnavailable):
            _many(lambda: gate.open(REQUEST, _standing(), GOVERNANCE))


def _many(ask: Callable[[], Permit]) -> None:
    """Ask until the pages that the file already has are used up."""
    for _ in range(200):
        ask()


class _Broken(PolicyEngine):
    """An engine whose answers break, or come wrong."""

    def __init__(self, answer: object) -> None:
        self.policy_digest = ENGINE.policy_digest
        self._answer_with = answer

    def decide(self, *args: object, **kwargs: object) -> Decision:
        if isinstance(self._answer_with, Exception):
            raise self._answer_with
        decision = ENGINE.decide(*args, **kwargs)  # type: ignore[arg-type]
        return replace(decision, allowed=True)

    def decide_batch(self, *_: object, **__: object) -> tuple[frozenset[SubjectId], tuple[()]]:
        if isinstance(self._answer_with, Exception):
            raise self._answer_with
        return frozenset({SubjectId("nobody asked about me")}), ()


@pytest.mark.parametrize("answer", [ValueError("Ann said"), PolicyUnavailable("x"), "wrong"])
def test_gate_with_a_broken_engine_permits_nothing(
    log: EvidenceLog, clock: SetClock, answer: object
) -> None:
    """An engine that breaks, or allows somebody without standing, opens nothing."""
    gate = Gate(engine=_Broken(answer), log=log, clock=clock, batch_key=KEY)
    with pytest.raises(PolicyUnavailable) as caught:
        gate.open(REQUEST, None, GOVERNANCE)
    assert "Ann" not in str(caught.value)
    with pytest.raises(PolicyUnavailable):
        gate.open_batch(TRAIN, [_standing()], GOVERNANCE, context={})
    with pytest.raises(PolicyUnavailable):
        gate.open_batch(TRAIN, [], replace(GOVERNANCE, stopped=True), context={})
    assert log.size == 0


def test_gate_batch_lets_in_whom_the_rules_let_in_by_one_entry(
    gate: Gate, log: EvidenceLog
) -> None:
    """One entry for everybody; each can be shown in or not in it, nobody is named or counted."""
    yes = [SubjectId(f"yes-{i}") for i in range(300)]
    no = [SubjectId(f"no-{i}") for i in range(50)]
    standings = [_standing(s) for s in yes] + [_standing(s, Purpose.SERVICE) for s in no]
    permit = gate.open_batch(TRAIN, standings, GOVERNANCE, context={"run": "r1", "round": "9"})
    assert permit.subjects == frozenset(yes)
    assert log.size == 1
    entry = log.entry(permit.log_index)
    assert entry.event.kind is EventKind.BATCH_DECISION
    assert entry.event.fields["context"] == ["round=9", "run=r1"]
    kept = json.dumps(log.payload(permit.log_index))
    assert "yes-" not in entry.leaf.decode() + kept
    batch = gate.batches.restore(permit.log_index)
    root = str(entry.event.fields["batch_root"])
    for who, expected in ((yes[7], Membership.PRESENT), (no[7], Membership.ABSENT)):
        proof = json.loads(json.dumps(batch.prove(who)))
        assert verify_batch_proof(root, proof, batch.blinded(who)) is expected
    other = gate.open_batch(TRAIN, standings, GOVERNANCE, context={"run": "r1", "round": "10"})
    assert log.entry(other.log_index).event.fields["batch_root"] != root


def test_gate_batch_of_nobody_is_a_permit_for_nobody(gate: Gate) -> None:
    """Neither no people nor no consent shows outside: the computation goes on with noise."""
    for standings in ([], [_standing(ANN, Purpose.SERVICE)]):
        permit = gate.open_batch(TRAIN, standings, GOVERNANCE, context={})
        assert permit.subjects == frozenset()
        with pytest.raises(EntryMissing):
            gate.batches.restore(permit.log_index + 1)


@pytest.mark.parametrize(
    "governance",
    [
        None,
        replace(GOVERNANCE, stopped=True),
        replace(GOVERNANCE, dpia_purposes=frozenset({Purpose.SERVICE})),
    ],
)
def test_gate_batch_is_refused_when_the_organisation_stopped_or_did_not_approve(
    gate: Gate, log: EvidenceLog, governance: Governance | None
) -> None:
    """Stop, a missing DPIA and missing governance refuse the whole batch, on record."""
    with pytest.raises(Refused):
        gate.open_batch(TRAIN, [_standing()], governance, context={})
    assert log.entry(0).event.fields["allowed"] is False


def test_gate_hands_a_permit_to_its_executor_signed(
    gate: Gate, log: EvidenceLog, key: SigningKey
) -> None:
    """The permit arrives equal; not from another key, not with another action, not as terms."""
    for permit in (
        gate.open(REQUEST, _standing(), GOVERNANCE),
        gate.open_batch(TRAIN, [_standing()], GOVERNANCE, context={}),
    ):
        data = gate.export_permit(permit)
        assert admit_permit(data, key.verify_key) == permit
        with pytest.raises(SignatureInvalid):
            admit_permit(data, SigningKey.generate(key.name).verify_key)
        with pytest.raises(SignatureInvalid):
            admit_permit(data.replace(b'"purpose":"', b'"purpose":"x'), key.verify_key)
    with pytest.raises(EnvelopeInvalid):
        admit_permit(seal("permit", {"decision_id": "x"}, log.key), key.verify_key)
    with pytest.raises(EnvelopeInvalid):
        admit_permit(seal("terms", {"decision_id": "x"}, log.key), key.verify_key)


def test_gate_alone_builds_permits() -> None:
    """No other module of the product calls `Permit(`."""
    root = Path(__file__).parents[2]
    packages = ("policies", "audit", "consent", "models", "client_node", "coordinator", "deploy")
    builders = {
        str(file.relative_to(root))
        for package in packages
        for file in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", None)) == Permit.__name__
    }
    assert builders == {"audit/gate.py"}
