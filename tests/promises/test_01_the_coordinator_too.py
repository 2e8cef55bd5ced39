"""Promise 1 at the coordinator: the same gate, before anything is published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import coordinator.service
from audit.events import EventKind
from audit.gate import Gate
from audit.log import EvidenceLog
from audit.signing import SigningKey
from coordinator.permission import Permission
from coordinator.registry import Registry
from coordinator.release import ReleaseBook, first_release
from coordinator.tables import open_store
from policies.engine import PolicyEngine
from policies.errors import PermitInvalid, Refused
from policies.standing import Governance
from policies.vocabulary import NodeId, Purpose, ReleaseId
from tests.coordinator.fleet import make_plan
from tests.promises.town import events

pytestmark = pytest.mark.promise(1)

NOW = 1_800_000_000.0
APPROVED = Governance(
    as_of=int(NOW),
    stopped=False,
    dpia_purposes=frozenset({Purpose.TRAINING}),
    minimum_notice=1,
    standing_max_age_s=60,
)


@dataclass
class Office:
    """What publishing takes; the governance is what the trust service last said."""

    log: EvidenceLog
    releases: ReleaseBook
    permission: Permission
    governance: Governance | None = None


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Return an office that has not heard of the trust service yet."""
    key = SigningKey.generate("coordinator")
    rules = PolicyEngine.load()

    def clock() -> float:
        return NOW

    with closing(EvidenceLog(tmp_path / "log.db", key, origin=key.name, clock=clock)) as log:
        registry = Registry(open_store(tmp_path / "coordinator.db"), clock=clock)
        gate = Gate(engine=rules, log=log, clock=clock, batch_key=bytes(32))
        made = Office(
            log=log,
            releases=ReleaseBook(registry, log=log, key=key, clock=clock),
            permission=Permission(
                name=NodeId("coordinator"),
                engine=rules,
                gate=gate,
                governance=lambda: made.governance,
                clock=clock,
            ),
        )
        yield made


def publish(office: Office, asked_for: str = "release-0") -> None:
    """Ask the gate for a release, and publish the next one with that permit."""
    permit = office.permission.to_release(ReleaseId(asked_for), approved_by="ada", protected=True)
    office.releases.publish(first_release(make_plan()), permit, approved_by="ada")


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(lambda _: None, id="not heard"),
        pytest.param(lambda g: replace(g, stopped=True), id="stopped"),
        pytest.param(lambda g: replace(g, dpia_purposes=frozenset()), id="no DPIA"),
        pytest.param(lambda g: replace(g, as_of=g.as_of - 61), id="stale"),
    ],
)
def test_nothing_is_published_without_leave(
    office: Office, said: Callable[[Governance], Governance | None]
) -> None:
    """Where the organisation stopped, did not approve or was not heard of, the answer is no."""
    office.governance = said(APPROVED)
    with pytest.raises(Refused):
        publish(office)
    assert office.releases.all() == ()
    (decided,) = events(office.log, EventKind.DECISION)
    assert decided.fields["allowed"] is False


def test_leave_is_in_the_log_before_the_release_and_for_that_one_only(office: Office) -> None:
    """A permitted release follows its decision in the log; the permit publishes no other."""
    office.governance = APPROVED
    publish(office)
    kinds = [e.kind for e in events(office.log, EventKind.DECISION, EventKind.RELEASE_PUBLISHED)]
    assert kinds == [EventKind.DECISION, EventKind.RELEASE_PUBLISHED]
    with pytest.raises(PermitInvalid):
        publish(office, "release-9")
    assert len(office.releases.all()) == 1


def test_service_is_put_together_with_this_gate() -> None:
    """The coordinator's composition uses the gate of `audit`, and no other."""
    assert vars(coordinator.service)["Gate"] is Gate
