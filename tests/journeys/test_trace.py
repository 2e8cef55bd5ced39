"""From a decision back to everything it rests on, at real services, by people of the right role."""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any

import pytest

from audit.events import EventKind
from audit.leaf import decode_leaf
from audit.receipt import open_receipt
from audit.signing import VerifyKey
from audit.staff import Staff, StaffRole
from client_node.service import NodeService
from tests.client_node.conftest import Api
from tests.promises.headquarters import Headquarters
from tests.promises.town import (
    Branch,
    Fleet,
    Town,
    consents,
    round_of,
    says,
    wants_training,
)

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from consent.cli import app as trust_app

Links = list[dict[str, Any]]


def admit(api: Api, *roles: StaffRole) -> None:
    """Let every request be one of staff in these roles."""
    api.app.state.admit = lambda _: Staff(name="ada", roles=frozenset(roles))


def traced(api: Api, decision: str) -> Links:
    """Trace as an auditor."""
    admit(api, StaffRole.AUDITOR)
    answer = api.get(f"/v1/trace/{decision}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["links"])


def the(links: Links, what: str, name: str = "") -> dict[str, Any]:
    """Return the one link of a kind whose name begins so."""
    (found,) = [link for link in links if link["what"] == what and link["name"].startswith(name)]
    return found


def assert_shown(link: dict[str, Any], key: VerifyKey) -> Any:
    """Assert that the receipt shows the link's entry in that key's log; return its event."""
    leaf = base64.b64decode(link["leaf"])
    index, checkpoint = open_receipt(link["receipt"], leaf, key)
    assert (index, checkpoint.origin) == (link["index"], link["log"])
    return decode_leaf(leaf)[0]


def opened(town: Town) -> tuple[Branch, NodeService, Api]:
    """Open a branch with a release in force and one customer, anna."""
    branch = town.branch(plan_changes={"rounds": 1})
    node = branch.open()
    node.releases.load(branch.publish(branch.coordinator_log(), branch.release()))
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    return branch, node, api


def decision_of(node: NodeService, action: str) -> str:
    """Return the id of the newest decision on an action."""
    found = node.log.find(EventKind.DECISION, node.log.size)
    return str(
        next(e.event.fields for e in found if e.event.fields["action"] == action)["decision_id"]
    )


def test_reading_is_traced_to_rules_notice_release_and_people(town: Town) -> None:
    """A turn's decision leads to standing, rules, notice, assessment and release, each proven."""
    branch, node, api = opened(town)
    says(api, "anna")
    decision = decision_of(node, "infer")
    links = traced(api, decision)
    own = branch.node_key.verify_key
    said = assert_shown(the(links, "decision"), own).fields
    assert the(links, "standing")["digest"] == said["standing_digest"]
    assert the(links, "policy")["digest"] == said["policy_digest"]
    assert_shown(the(links, "policy"), own)
    assert assert_shown(the(links, "standing"), own).kind is EventKind.STANDING_APPLIED
    release = the(links, "release")
    published = assert_shown(release, town.coordinator.verify_key)
    assert published.kind is EventKind.RELEASE_PUBLISHED
    assert (release["digest"], release["by"]) == (published.fields["digest"], "ada")
    trust = {e.event.kind: e.event.fields for e in town.trust.service.log.entries(0, 99)}
    notice, dpia = the(links, "notice", "notice 1"), the(links, "approval", "dpia")
    assert notice["digest"] == trust[EventKind.NOTICE_PUBLISHED]["digest"]
    assert dpia["digest"] == trust[EventKind.DPIA_APPROVED]["digest"]
    assert dpia["by"] == "A.-Officer"
    assert branch.subject("anna") not in json.dumps(links)


def test_round_is_traced_to_its_terms_and_what_it_spent(town: Town) -> None:
    """The batch of a round leads to the signed terms' digest and to the spending."""
    branch = town.branch(plan_changes={"rounds": 1})
    node = branch.open()
    api = branch.api(node)
    wants_training(api, node, "anna")
    centre = Headquarters(town.folder / "centre", town.coordinator, town.clock.now)
    try:
        centre.hold(branch, Fleet({node.node: round_of(branch, node)}))
        (announced,) = centre.log.find(EventKind.TERMS_PUBLISHED)
    finally:
        centre.close()
    batch = node.log.find(EventKind.BATCH_DECISION)[0].event.fields
    links = traced(api, str(batch["decision_id"]))
    terms = the(links, "terms", "round 1 of run-1")
    assert terms["digest"] == announced.event.fields["terms_digest"]
    spent = assert_shown(the(links, "consequence", "budget-spent"), branch.node_key.verify_key)
    assert spent.fields["terms_digest"] == terms["digest"]
    assert "not_kept" in the(links, "terms", "plan of run-1")


@pytest.mark.parametrize("role", StaffRole)
def test_only_officer_dpo_and_auditor_trace(town: Town, role: StaffRole) -> None:
    """At node and trust service a trace opens to three roles, and to nobody who is not known."""
    _, node, api = opened(town)
    says(api, "anna")
    decision = decision_of(node, "infer")
    assert api.get(f"/v1/trace/{decision}").status_code == 401
    admit(api, role)
    allowed = role in {StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR}
    assert api.get(f"/v1/trace/{decision}").status_code == (200 if allowed else 403)


def test_unknown_decision_is_a_clear_no(town: Town) -> None:
    """A decision of another log, or of none, is not found: one line, no guess."""
    _, _, api = opened(town)
    admit(api, StaffRole.AUDITOR)
    answer = api.get(f"/v1/trace/{'0' * 32}")
    assert answer.status_code == 404
    assert "no such decision" in answer.json()["detail"]


def test_trace_command_reads_a_copy_with_the_public_key_alone(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """`undertone-trust trace` gives the same chain from the file, and exits 1 on a changed one."""
    branch, node, api = opened(town)
    says(api, "anna")
    decision = decision_of(node, "infer")
    arguments = ["trace", decision, "--log", str(node.settings.folder / "log.db")]
    key = ["--key", str(branch.node_key.verify_key)]
    with pytest.raises(SystemExit) as ended:
        trust_app([*arguments, *key, "--json"])
    assert not ended.value.code
    links = json.loads(capsys.readouterr().out)
    assert the(links, "decision")["digest"] == the(traced(api, decision), "decision")["digest"]
    with pytest.raises(SystemExit) as ended:
        trust_app([*arguments, "--key", str(town.coordinator.verify_key)])
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
