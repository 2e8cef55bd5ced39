"""Nothing is published or trained without leave of the gate, under governance that is fresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from audit.errors import EvidenceUnavailable
from audit.events import EventKind
from coordinator.api import create_app
from coordinator.errors import ServiceUnavailable
from coordinator.journal import RunState
from coordinator.permission import is_protected
from coordinator.release import first_release
from coordinator.rounds import Centre as RunCentre
from coordinator.rounds import hold_run
from models.release import Release
from policies.errors import PermitInvalid, Refused
from policies.vocabulary import Purpose, ReleaseId, RunId
from tests.coordinator.fleet import Play, make_plan
from tests.coordinator.test_service import TOKEN, Centre, draft, open_centre

pytestmark = pytest.mark.promise(1)


@dataclass
class Time:
    """A clock that is set by hand."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


@pytest.fixture
def time() -> Time:
    """Return the coordinator's time."""
    return Time()


@pytest.fixture
def centre(tmp_path: Path, time: Time) -> Iterator[Centre]:
    """Return a governed coordinator with an accepted plan and nodes."""
    made = open_centre(tmp_path, clock=time)
    made.client.plan(draft())
    made.enrol_all()
    yield made
    made.service.close()


def plan_digest(centre: Centre) -> str:
    """Return the accepted plan's digest."""
    return str(centre.client.plan(draft())["digest"])


def kinds(centre: Centre) -> list[EventKind]:
    """Return what the log holds, in order."""
    log = centre.service.log
    return [log.entry(index).event.kind for index in range(log.size)]


def expect_closed(centre: Centre, rule: str) -> None:
    """Check that neither a release nor a run begins, by that rule, and that both are logged."""
    plan = plan_digest(centre)
    before = len(kinds(centre))
    with pytest.raises(ServiceUnavailable, match=rule):
        centre.client.publish_release(plan_digest=plan, approved_by="jo")
    with pytest.raises(ServiceUnavailable, match=rule):
        centre.client.start_run(plan, approved_by="jo")
    assert kinds(centre)[before:] == [EventKind.STAFF_ACTED, EventKind.DECISION] * 2
    assert (centre.client.releases(), centre.client.runs()) == ([], [])


def test_release_is_decided_before_it_is_logged(centre: Centre) -> None:
    """The decision stands in the log before the release; it names approver to the auditor."""
    centre.client.publish_release(plan_digest=plan_digest(centre), approved_by="jo")
    assert kinds(centre)[-2:] == [EventKind.DECISION, EventKind.RELEASE_PUBLISHED]
    log = centre.service.log
    decision = log.entry(log.size - 2).event.fields
    assert (decision["action"], decision["rules"]) == ("release", ["p09-release"])
    kept = log.payload(log.size - 2)
    assert kept is not None
    assert kept["request"]["subject"] == "release-0"
    assert kept["request"]["facts"]["approved_by"] == "jo"


def test_nothing_begins_without_a_trust_service(tmp_path: Path) -> None:
    """A coordinator whose settings name none says so, and refuses runs and releases."""
    made = open_centre(tmp_path, governed=False)
    assert not made.client.governed()
    expect_closed(made, "r27-no-governance")
    made.service.close()


def test_nothing_begins_before_governance_is_heard(tmp_path: Path) -> None:
    """The coordinator starts without its trust service, refuses, and opens once it is heard."""
    made = open_centre(tmp_path, heard=False)
    assert not made.client.governed()
    expect_closed(made, "r27-no-governance")
    made.trust.down = False
    made.hear()
    assert made.client.governed()
    made.client.publish_release(plan_digest=plan_digest(made), approved_by="jo")
    made.service.close()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"stopped": True}, "r27-stopped"),
        ({"dpia_purposes": frozenset({Purpose.SERVICE})}, "r27-no-dpia"),
    ],
)
def test_nothing_begins_against_governance(
    centre: Centre, change: dict[str, Any], rule: str
) -> None:
    """A stop, or a DPIA that does not cover training, refuses runs and releases."""
    centre.trust.decree(**change)
    centre.hear()
    expect_closed(centre, rule)


def test_nothing_begins_under_stale_governance(centre: Centre, time: Time) -> None:
    """Where the trust service is not heard any more, what it said last opens nothing."""
    centre.trust.down = True
    time.now += 61
    expect_closed(centre, "r27-governance-stale")


def test_release_without_an_approval_is_refused(centre: Centre) -> None:
    """Nobody approved, nobody publishes: 403 with the rule and its reason."""
    http = TestClient(create_app(centre.service, admin_token=TOKEN))
    answer = http.post(
        "/v1/releases",
        json={"approved_by": "", "plan_digest": plan_digest(centre)},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["rules"] == ["r23-release-unapproved"]
    assert answer.json()["reasons"] == [
        "No named person approved this model, so it is not published."
    ]


def test_permit_for_another_release_publishes_nothing(centre: Centre, time: Time) -> None:
    """A permit is for one release, by name, and for some seconds."""
    service, first = centre.service, first_release(make_plan())
    other = service.permission.to_release(ReleaseId("release-7"), approved_by="jo", protected=True)
    own = service.permission.to_release(
        service.releases.upcoming(), approved_by="jo", protected=True
    )
    with pytest.raises(PermitInvalid, match="does not name"):
        service.releases.publish(first, other, approved_by="jo")
    time.now += 31
    with pytest.raises(PermitInvalid, match="not valid at this time"):
        service.releases.publish(first, own, approved_by="jo")
    assert EventKind.RELEASE_PUBLISHED not in kinds(centre)


def test_unprotected_release_is_refused(centre: Centre) -> None:
    """A card beyond its plan opens nothing, whoever approves it."""
    with pytest.raises(Refused, match="r25-release-unprotected"):
        centre.service.permission.to_release(
            ReleaseId("release-0"), approved_by="jo", protected=False
        )


def test_nothing_is_published_when_the_log_is_down(centre: Centre) -> None:
    """Without durable evidence of the decision there is no permit, so no release."""
    plan = plan_digest(centre)
    centre.service.log.close()
    with pytest.raises(EvidenceUnavailable):
        centre.service.publisher.first(plan, approved_by="jo")  # type: ignore[arg-type]
    assert centre.service.releases.all() == ()


def test_stop_ends_a_run_while_nodes_answer(centre: Centre) -> None:
    """The stop switch ends the round at hand, and says by which rule; nothing more is asked."""
    centre.fleet.hold.clear()
    run = centre.client.start_run(plan_digest(centre), approved_by="jo")["run"]
    centre.trust.decree(stopped=True)
    seen = centre.wait(run)
    assert seen["state"] == "stopped"
    assert seen["detail"].startswith("r27-stopped: ")
    assert not centre.service.registry.holders(ReleaseId("release-0"))  # nobody had answered yet
    centre.fleet.hold.set()


def test_stopped_run_reserves_nothing(centre: Centre) -> None:
    """Where a release is out already, the run itself is refused, before its budget is reserved."""
    plan = plan_digest(centre)
    centre.client.publish_release(plan_digest=plan, approved_by="jo")
    centre.trust.decree(stopped=True)
    centre.hear()
    with pytest.raises(ServiceUnavailable, match="r27-stopped"):
        centre.client.start_run(plan, approved_by="jo")
    assert centre.client.runs() == []
    assert EventKind.BUDGET_RESERVED not in kinds(centre)


def test_silence_ends_a_run(centre: Centre, time: Time) -> None:
    """A run does not outlive the governance it started under."""
    centre.fleet.hold.clear()
    run = centre.client.start_run(plan_digest(centre), approved_by="jo")["run"]
    centre.trust.down = True
    time.now += 61
    seen = centre.wait(run)
    assert seen["state"] == "stopped"
    assert seen["detail"].startswith("r27-governance-stale: ")
    centre.fleet.hold.set()


def test_each_round_asks_again(centre: Centre) -> None:
    """What changes between two rounds ends the run before the next terms are signed."""
    play = Play()
    plan = play.begin()
    asked: list[int] = []

    def permitted() -> None:
        asked.append(play.courier.exchanges)
        if play.courier.exchanges == 3:
            centre.trust.decree(stopped=True)
            centre.hear()
        centre.service.permission.check_run(RunId("run-1"), approved_by="jo")

    run_centre: RunCentre = replace(play.centre(), permitted=permitted)
    assert hold_run(run_centre, plan, play.keys) is RunState.STOPPED
    assert asked == [0, 1, 2, 3]
    assert sum(e.kind is EventKind.TERMS_PUBLISHED for e in play.events) == 2
    assert play.journal.run(RunId("run-1")).detail.startswith("r27-stopped: ")


def _card(release: Release, **changes: Any) -> Release:
    return replace(release, card=replace(release.card, **changes))


def test_protection_is_read_from_the_card() -> None:
    """A card within its plan, or nobody's data; what states neither is not protected."""
    plan = make_plan(epsilon=2.0)
    first = first_release(plan)
    assert is_protected(first, plan)
    assert is_protected(_card(first, epsilon=2.0, delta=plan.delta), plan)
    for wrong in (
        _card(first, epsilon=2.01, delta=plan.delta),
        _card(first, epsilon=2.0, delta=2 * plan.delta),
        _card(first, epsilon=float("nan"), delta=plan.delta),
        _card(first, epsilon=-1.0, delta=plan.delta),
        _card(first, epsilon=1.0, delta=None),
        replace(first, run=RunId("run-1")),
    ):
        assert not is_protected(wrong, plan)
