"""What people ask about themselves: which uses, which releases, "I was not in that round"."""

from __future__ import annotations

import base64
import json
import queue
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.batch import Membership
from audit.errors import ProofInvalid, SignatureInvalid
from audit.events import Event, EventKind
from audit.leaf import decode_leaf
from audit.receipt import verify_receipt
from audit.serve import Listener, serve_all
from audit.signing import SigningKey, seal, unseal
from audit.staff import Staff, StaffRole
from audit.statement import KIND, make_statement, verify_statement
from client_node.api import create_app
from client_node.service import NodeService
from models.accounting import NOTHING_SPENT, epsilon
from models.release import release_to_dict
from policies.canonical import digest
from policies.vocabulary import RunId
from tests.client_node.conftest import API_KEY, Api
from tests.promises.headquarters import Headquarters
from tests.promises.town import Branch, Fleet, Town, consents, round_of, says, wants_training

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from client_node.cli import app as node_app
    from consent.cli import app as trust_app


@dataclass
class Told:
    """A branch after two runs: anna and ben in the first, and only ben in the second."""

    branch: Branch
    node: NodeService
    api: Api
    centre: Headquarters

    def statement(self, customer: str, run: str) -> bytes:
        """Ask for the signed file as the integration does."""
        asked = {"customer": customer, "run": run, "round": 1}
        answer = self.api.post("/v1/own/statements", json=asked)
        assert answer.status_code == 200, answer.text
        return answer.content

    def ask(self, question: str, customer: str = "anna") -> dict[str, Any]:
        """Ask one of the questions without a file."""
        answer = self.api.post(f"/v1/own/{question}", json={"customer": customer})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def load_release(self, number: int, run: str | None) -> None:
        """Publish a release in the coordinator's name and load it."""
        value = release_to_dict(self.branch.release(number))
        fields = {
            "release": f"release-{number}",
            "digest": digest(value),
            "run": run,
            "approved_by": "ada",
        }
        event = Event(kind=EventKind.RELEASE_PUBLISHED, at=self.branch.now, fields=fields)
        index = self.centre.log.append(event)
        leaf = base64.b64encode(self.centre.log.entry(index).leaf).decode()
        body = {"release": value, "leaf": leaf, "proof": self.centre.log.receipt(index)}
        self.node.releases.load(seal("release", body, self.branch.coordinator))


@pytest.fixture
def told(town: Town) -> Iterator[Told]:
    """Return the branch after both runs."""
    branch = town.branch(plan_changes={"rounds": 1})
    node = branch.open()
    api = branch.api(node)
    token = wants_training(api, node, "anna", "ben")["anna"]["manage_token"]
    centre = Headquarters(town.folder / "centre", town.coordinator, town.clock.now)
    fleet = Fleet({node.node: round_of(branch, node)})
    made = Told(branch, node, api, centre)
    made.load_release(0, None)
    centre.hold(branch, fleet, run="run-1")
    made.load_release(1, "run-1")
    town.by_code(token, "training")
    node.keeper.poll()
    centre.hold(branch, fleet, run="run-2")
    made.load_release(2, "run-2")
    yield made
    centre.close()


def test_a_person_sees_every_use_of_theirs_and_nobody_elses(told: Told) -> None:
    """Each decision about anna is there with a receipt that holds; none of ben's is."""
    answer = told.ask("uses")
    key = told.branch.node_key.verify_key
    for use in answer["uses"]:
        leaf = base64.b64decode(use["leaf"])
        assert verify_receipt(use["receipt"], leaf, key) == use["log_index"]
    rounds = [use["round"] for use in answer["uses"] if use["round"]]
    assert rounds == [{"run": "run-1", "round": 0}, {"run": "run-1", "round": 1}]
    mine = {use["log_index"] for use in answer["uses"] if not use["round"]}
    everybody = {e.index for e in told.node.log.find(EventKind.DECISION, told.node.log.size)}
    theirs = {u["log_index"] for u in told.ask("uses", "ben")["uses"] if not u["round"]}
    assert mine
    assert mine | theirs == everybody
    assert not mine & theirs
    assert told.branch.subject("ben") not in json.dumps(answer)


def test_nobody_elses_payload_is_opened_for_it(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """To answer anna, the log opens no sealed payload but hers."""
    opened: list[int] = []
    read = told.node.log.payload

    def watched(index: int) -> dict[str, Any] | None:
        opened.append(index)
        return read(index)

    monkeypatch.setattr(told.node.log, "payload", watched)
    told.ask("uses")
    kinds = {told.node.log.entry(index).event.kind for index in opened}
    assert kinds <= {EventKind.BATCH_DECISION}  # leaves of batches are nobody's


def test_releases_that_learned_from_who_withdrew_come_with_their_bound(told: Told) -> None:
    """Run-1 learned from anna, run-2 builds on it; the bound is the ledger's for her rounds."""
    answer = told.ask("releases")
    assert [(r["release"], r["learned"]) for r in answer["releases"]] == [
        ("release-1", "from a round"),
        ("release-2", "by building on an earlier one"),
    ]
    for release in answer["releases"]:
        leaf = base64.b64decode(release["leaf"])
        verify_receipt(release["receipt"], leaf, told.branch.coordinator.verify_key)
    mine = [entry for entry in told.node.ledger.entries() if entry.run == "run-1"]
    composed = sum(map(told.node.ledger.curve_of, mine), start=NOTHING_SPENT)
    assert answer["epsilon"] == epsilon(composed, delta=answer["delta"])
    assert 0 < answer["epsilon"] < told.node.ledger.epsilon_spent()
    assert [(run["run"], run["rounds"]) for run in answer["runs"]] == [("run-1", [0, 1])]
    assert "times in 100" in answer["words"][1]


def test_who_was_in_nothing_is_told_so(told: Told) -> None:
    """A customer who never allowed training has taught no release."""
    consents(told.api, "carl", purposes=["service"])
    told.node.keeper.poll()
    says(told.api, "carl")
    answer = told.ask("releases", "carl")
    assert (answer["releases"], answer["epsilon"]) == ([], 0.0)
    assert answer["words"] == ["Nothing was computed with this person's messages."]


def test_a_stranger_verifies_that_somebody_was_not_in_the_round(
    told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the file and the node's public key, `verify-statement` says absent, and of what."""
    file = tmp_path / "statement.json"
    file.write_bytes(told.statement("anna", "run-2"))
    key = str(told.branch.node_key.verify_key)
    log = told.node.settings.folder / "log.db"
    arguments = ["verify-statement", str(file), "--key", key, "--log", str(log), "--json"]
    with pytest.raises(SystemExit) as ended:
        trust_app(arguments)
    said = json.loads(capsys.readouterr().out)
    assert not ended.value.code
    assert (said["answer"], said["run"], said["round"]) == ("absent", "run-2", 1)
    assert said["subject"] == told.branch.subject("anna")
    file.write_bytes(file.read_bytes().replace(b'"absent"', b'"present"'))
    with pytest.raises(SystemExit) as ended:
        trust_app(arguments)
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_statement_says_who_was_in(told: Told) -> None:
    """The same question of run-1 is answered present, by the same file."""
    found = verify_statement(told.statement("anna", "run-1"), told.branch.node_key.verify_key)
    assert found.answer is Membership.PRESENT


def body_of(told: Told, customer: str, run: str) -> dict[str, Any]:
    """Return what the node signed."""
    key = told.branch.node_key.verify_key
    return unseal(KIND, told.statement(customer, run), key)


def test_a_forged_statement_is_refused(told: Told) -> None:
    """Signed by somebody else, or with a path changed by one hash, it counts for nothing."""
    body, key = body_of(told, "anna", "run-2"), told.branch.node_key
    with pytest.raises(SignatureInvalid):
        verify_statement(seal(KIND, body, SigningKey.generate(key.name)), key.verify_key)
    body["batches"][0]["proof"]["leaves"][0]["path"][0] = "00" * 32
    with pytest.raises(ProofInvalid):
        verify_statement(seal(KIND, body, key), key.verify_key)


def test_a_swapped_batch_is_refused_though_the_node_signs_it(told: Told) -> None:
    """A node that shows the batch of run-2 for run-1 is found out by the entry itself."""
    key = told.branch.node_key
    absent = body_of(told, "anna", "run-2")
    with pytest.raises(ProofInvalid, match="no batch of round 1 of run-1"):
        verify_statement(seal(KIND, absent | {"run": "run-1"}, key), key.verify_key)
    present = body_of(told, "anna", "run-1")
    mixed = present["batches"][0] | {
        name: absent["batches"][0][name] for name in ("proof", "blinded")
    }
    with pytest.raises(ProofInvalid):
        verify_statement(seal(KIND, present | {"batches": [mixed]}, key), key.verify_key)


def test_another_persons_leaf_is_found_out_by_who_has_the_batch_key(told: Told) -> None:
    """A node that passes a stranger's place for anna's lies under its own signature."""
    key, anna = told.branch.node_key, told.branch.subject("anna")
    other = told.node.training.prove(RunId("run-1"), 1, told.branch.subject("nobody"))
    lie = make_statement(anna, RunId("run-1"), 1, other, key)
    leaf = decode_leaf(base64.b64decode(other[0]["leaf"]))[0]
    asked = f"/v1/batch-keys/{leaf.fields['decision_id']}"
    assert told.api.get(asked).status_code == 401
    told.api.app.state.admit = lambda _: Staff(name="eve", roles=frozenset({StaffRole.AUDITOR}))
    opened = bytes.fromhex(told.api.get(asked).json()["key"])
    with pytest.raises(ProofInvalid, match="somebody else's"):
        verify_statement(lie, key.verify_key, batch_keys=[opened])
    honest = told.statement("anna", "run-1")
    assert verify_statement(honest, key.verify_key, batch_keys=[opened]).bound
    with pytest.raises(ProofInvalid, match="no key given"):
        verify_statement(honest, key.verify_key, batch_keys=[bytes(32)])


def test_a_batch_left_out_is_found_in_a_copy_of_the_log(told: Told) -> None:
    """A round that was opened twice and shown once is not proven to who has the log."""
    key = told.branch.node_key
    again = [(entry.index, entry.leaf) for entry in told.node.log.entries(0, told.node.log.size)]
    statement = told.statement("anna", "run-2")
    assert verify_statement(statement, key.verify_key, leaves=again).answer is Membership.ABSENT
    twice = next(leaf for _, leaf in again if b"round=1" in leaf and b"run=run-2" in leaf)
    with pytest.raises(ProofInvalid, match="2 batches of that round, the statement shows 1"):
        verify_statement(statement, key.verify_key, leaves=[*again, (len(again), twice)])


@pytest.fixture
def address(told: Told) -> Iterator[str]:
    """Serve the node on loopback; return where."""
    found, stop = queue.Queue[str](), threading.Event()
    serving = threading.Thread(
        target=serve_all,
        args=([Listener(app=create_app(told.node))],),
        kwargs={"on_ready": lambda addresses: found.put(addresses[0]), "stop": stop},
    )
    serving.start()
    yield found.get(timeout=60)
    stop.set()
    serving.join()


def test_the_commands_ask_a_running_node(
    told: Told, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`undertone-node own` shows uses and releases, and prints a statement that verifies."""
    (tmp_path / "customer").write_text("anna\n", encoding="utf-8")
    (tmp_path / "key").write_text(API_KEY, encoding="utf-8")
    (tmp_path / "wrong").write_text("b" * 43, encoding="utf-8")

    def own(*arguments: str, key: str = "key") -> tuple[int, str, str]:
        given = ["--url", address, "--api-key-file", str(tmp_path / key)]
        with pytest.raises(SystemExit) as ended:
            node_app(["own", *arguments, "--customer-file", str(tmp_path / "customer"), *given])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    code, out, _ = own("uses", "--json")
    assert (code, json.loads(out)["subject"]) == (0, told.branch.subject("anna"))
    assert "release-1" in own("releases")[1]
    statement = own("statement", "--run", "run-2", "--round", "1")[1].encode()
    assert verify_statement(statement, told.branch.node_key.verify_key).answer is Membership.ABSENT
    code, out, err = own("releases", key="wrong")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "401" in err
    code, out, err = own("statement", "--run", "run-9", "--round", "1")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no batch was opened" in err
