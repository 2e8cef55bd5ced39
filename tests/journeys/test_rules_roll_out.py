"""An organisation's rule from its file to every node and back, and the gate follows it.

published → shadow, which counts and changes nothing → one node → all → rollback; by command,
through the real trust service, to two real nodes.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import consent.remote
from audit.events import EventKind
from audit.log import EvidenceLog
from audit.signing import SigningKey, seal
from audit.trace import LinkKind, Proofs, trace
from client_node.errors import StandingRejected
from client_node.service import NodeService
from policies.canonical import digest_bytes
from policies.decision import request_to_dict
from policies.engine import PolicyEngine
from policies.rollout import Published
from policies.standing import governance_to_dict, standing_to_dict
from policies.vocabulary import Action, Purpose
from tests.policies.cases import GOVERNANCE, INFER, NOW, STANDING
from tests.promises.town import Branch, Town, consents, events, says

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from consent.cli import app  # Typer itself imports names that newer Clicks call deprecated

RULE = "x-acme-no-reading"
FORBID = """
@id("x-acme-no-reading")
forbid (principal, action == Action::"infer", resource)
when { principal.purpose == "service" };
"""
WORDS = {
    reader: {"en": "We read no feelings this month.", "de": "Nein.", "fr": "Non."}
    for reader in ("officer", "customer")
}


def situation(*, refused: bool, **changes: Any) -> dict[str, Any]:
    """Return a test of the bundle: what is asked, and whether its rule refuses."""
    return {
        "rule": RULE,
        "refused": refused,
        "request": request_to_dict(INFER) | changes,
        "standing": standing_to_dict(STANDING),
        "governance": governance_to_dict(GOVERNANCE),
        "now": NOW,
    }


BUNDLE: dict[str, Any] = {
    "name": "acme",
    "version": 1,
    "rules": FORBID,
    "words": {RULE: WORDS},
    "tests": [
        situation(refused=True),
        situation(refused=True, modality="voice"),
        situation(refused=False, purpose=Purpose.TRAINING.value),
        situation(refused=False, action=Action.STORE.value),
    ],
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """Return a town whose trust service has every decision opened again."""
    return make_town(settings_changes={"challenge_size": 100})


@pytest.fixture
def officer(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return `undertone-trust bundles ...` with the officer's key, at the town's service."""
    key = tmp_path / "officer.key"
    town.trust.officer.save(key)
    carried = functools.partial(consent.remote.call, transport=town.carrier)
    monkeypatch.setattr("consent.bundle_cli.call", carried)
    monkeypatch.setattr("consent.bundle_cli.time", SimpleNamespace(time=town.clock))

    def run(*arguments: str, own: Path = key) -> tuple[int, str, str]:
        town.pass_time(1)
        sent = () if arguments[0] in {"lint", "test"} else ("--key", str(own))
        signed = () if arguments[0] in {"lint", "test", "status"} else ("--by", "A. Officer")
        with pytest.raises(SystemExit) as ended:
            app(["bundles", *arguments, *sent, *signed, "--json"])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the bundle's file."""
    path = tmp_path / "acme.json"
    path.write_text(json.dumps(BUNDLE), encoding="utf-8")
    return path


def two_nodes(town: Town) -> list[tuple[Branch, NodeService]]:
    """Open two branches that know the officer's key, each with one customer who agreed."""
    found = []
    for name in ("branch-1", "branch-2"):
        branch = town.branch(name)
        branch.settings_values["officer_key"] = str(town.trust.officer.verify_key)
        node = branch.open()
        consents(branch.api(node), f"anna-{name}")
        node.keeper.poll()
        found.append((branch, node))
    return found


def answers(nodes: list[tuple[Branch, NodeService]]) -> list[bool]:
    """Return at which nodes a customer's words are read, after each heard the news."""
    found = []
    for branch, node in nodes:
        node.keeper.poll()
        said = says(branch.api(node), f"anna-{branch.name}")
        assert ("reading" in said) is (RULE not in said["rules"]), said
        found.append("reading" in said)
    return found


def rules_behind_the_last(log: EvidenceLog) -> str:
    """Return what a trace of the newest decision says of its rules, shown by an entry."""
    decision = str(events(log, EventKind.DECISION)[-1].fields["decision_id"])
    leaves = ((entry.index, entry.leaf) for entry in log.entries(0, log.size))
    links = trace(leaves, decision, Proofs(origin=log.origin, receipt=log.receipt))
    (rules,) = [link for link in links if link.what is LinkKind.POLICY]
    assert rules.not_kept is None
    assert rules.index is not None
    return rules.name


def test_rule_goes_shadow_one_node_all_and_back(town: Town, officer: Run, file: Path) -> None:
    """At each stage the gates answer as that stage says, and the challenge agrees with them."""
    nodes = two_nodes(town)
    assert officer("lint", str(file))[0] == officer("test", str(file))[0] == 0
    assert officer("publish", str(file))[0] == 0
    assert answers(nodes) == [True, True]

    status, out, err = officer("rollout", "acme", "--version", "1", "--all")
    assert (status, out) == (1, "")
    assert "shadow mode" in err

    assert officer("shadow", "acme", "--version", "1")[0] == 0
    assert answers(nodes) == [True, True]
    for _, node in nodes:
        node.keeper._tidy()
    shown = json.loads(officer("status")[1])["nodes"]
    for name in ("branch-1", "branch-2"):
        (change,) = shown[name]["shadow"]["changes"]
        assert change == {
            "action": "infer",
            "purpose": "service",
            "opens": False,
            "before": ["p01-infer"],
            "after": [RULE],
            "count": 1,
        }
        assert str(town.branches[0].subject(f"anna-{name}")) not in json.dumps(shown)

    assert officer("rollout", "acme", "--version", "1", "--node", "branch-2")[0] == 0
    assert answers(nodes) == [True, False]
    assert officer("rollout", "acme", "--version", "1", "--all")[0] == 0
    assert answers(nodes) == [False, False]
    status = json.loads(officer("status")[1])
    assert status["bundles"]["acme"]["in_force"] == 1
    for _, node in nodes:
        digest = events(node.log, EventKind.RULES_ADOPTED)[-1].fields["policy_digest"]
        assert digest == status["nodes"][node.node]["policy_digest"]
        assert digest != PolicyEngine.load().policy_digest
        assert rules_behind_the_last(node.log).startswith(
            "rules adopted while the service ran: acme:1"
        )

    assert officer("rollback", "acme")[0] == 0
    assert answers(nodes) == [True, True]

    for _ in range(3):  # the trust service opens decisions of each stage and decides them again
        town.pass_time(61)
        for _, node in nodes:
            node.keeper.poll()
    judged = events(town.trust.service.log, EventKind.CHALLENGE_ANSWERED)
    assert judged
    assert all(event.fields["agrees"] for event in judged)
    staged = events(town.trust.service.log, EventKind.BUNDLE_STAGED)
    assert {event.fields["stage"] for event in staged} == {"shadow", "some", "all", "rollback"}


def enforced_at_two(officer: Run, file: Path) -> None:
    """Bring the bundle to branch-2."""
    assert officer("publish", str(file))[0] == 0
    assert officer("shadow", "acme", "--version", "1")[0] == 0
    assert officer("rollout", "acme", "--version", "1", "--node", "branch-2")[0] == 0


def test_rules_survive_restarts_of_service_and_node(town: Town, officer: Run, file: Path) -> None:
    """After both start again the same bundle decides, from the node's own disk if need be."""
    nodes = two_nodes(town)
    enforced_at_two(officer, file)
    assert answers(nodes) == [True, False]
    town.trust.reopen()
    assert town.trust.service.bundles.status()["nodes"]["branch-2"]["enforced"] == {"acme": 1}
    branch, node = nodes[1]
    node.close()
    branch.carrier.away = True  # type: ignore[union-attr]
    again = branch.open()
    refused = says(branch.api(again), "anna-branch-2")
    assert RULE in refused["rules"]
    assert "reading" not in refused


def test_node_takes_no_bundle_but_the_officers(
    town: Town, officer: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bytes, or another's seal even where the feed vouches, leave the page unapplied."""
    nodes = two_nodes(town)
    enforced_at_two(officer, file)
    _, node = nodes[1]
    bundles = town.trust.service.bundles
    body = {"bundle": BUNDLE, "by": "Mallory", "issued_at": town.clock.now}
    forged = seal("bundle", body, SigningKey.generate("officer"))
    monkeypatch.setattr(bundles, "envelope", lambda *_: forged)
    with pytest.raises(StandingRejected, match="not what the feed signed"):
        node.keeper.poll()
    before = node.cache.age_s()
    town.pass_time(30)
    assert node.cache.age_s() == (before or 0) + 30
    act = next(act for _, act in bundles._acts if isinstance(act, Published))
    vouched = replace(act, digest=digest_bytes(forged))
    bundles._acts[:] = [(at, vouched if a is act else a) for at, a in bundles._acts]
    with pytest.raises(StandingRejected, match="not sealed by the officer"):
        node.keeper.poll()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rules": FORBID.replace("forbid", "permit")}, "may forbid, never permit"),
        ({"rules": FORBID.replace(";", " unless { true };", 1)}, "x-acme-no-reading"),
        (
            {
                "rules": FORBID.replace(
                    '== "service"', '== "service" && context.now * context.now * 9 > 0'
                )
            },
            "x-acme-no-reading",
        ),
        ({"rules": FORBID + "//" + "x" * 300_000}, "at most"),
        ({"rules": FORBID.replace(RULE, "r06-erased")}, "begins with x-acme-"),
        ({"name": "illinois", "rules": FORBID, "words": {}}, "profile"),
    ],
)
def test_hostile_bundle_is_refused_in_one_line(
    town: Town, changes: dict[str, Any], named: str
) -> None:
    """A permission, a rule with a hole, one that errs and one too large are not published."""
    body = {"bundle": BUNDLE | changes, "by": "A. Officer", "issued_at": town.clock.now}
    size = town.trust.service.log.size
    answer = town.trust.send("POST", "/v1/bundles", seal("bundle", body, town.trust.officer))
    assert answer.status_code == 422, answer.text
    assert named in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    log = town.trust.service.log
    recorded = [log.entry(index).event.kind for index in range(size, log.size)]
    assert recorded == [EventKind.INPUT_REFUSED]


def test_acts_on_rules_need_the_officers_seal(town: Town, officer: Run, file: Path) -> None:
    """Another's seal, an old envelope and one sent twice are refused; so is status for others."""
    service, clock = town.trust, town.clock
    body = {"bundle": BUNDLE, "by": "A. Officer", "issued_at": clock.now}
    for key in (SigningKey.generate("officer"), SigningKey.generate("mallory")):
        assert service.send("POST", "/v1/bundles", seal("bundle", body, key)).status_code == 401
    late = seal("bundle", body | {"issued_at": clock.now - 3600}, service.officer)
    assert service.send("POST", "/v1/bundles", late).status_code == 409
    good = seal("bundle", body, service.officer)
    assert service.send("POST", "/v1/bundles", good).status_code == 201
    assert service.send("POST", "/v1/bundles", good).status_code == 409
    assert service.send("GET", "/v1/bundles").status_code == 401
    assert service.send("GET", "/v1/officer/bundles").status_code == 401
    other = file.with_name("other.key")
    SigningKey.generate("officer").save(other)
    assert officer("status", own=other)[0] == 1
    assert officer("rollout", "acme", "--version", "1")[0] == 2


def test_jurisdiction_closes_what_its_law_forbids(town: Town, officer: Run) -> None:
    """A company placed in Illinois is told so by the feed, and its nodes decide by it."""
    nodes = two_nodes(town)
    _, node = nodes[0]
    assert officer("place", "--company", "acme", "--profile", "illinois")[0] == 0
    assert officer("place", "--node", "branch-2", "--profile", "california")[0] == 0
    assert officer("place", "--company", "acme", "--profile", "texas")[0] == 1
    assert answers(nodes) == [True, True]
    assert node.cache.rules.profiles == ("illinois",)
    assert nodes[1][1].cache.rules.profiles == ("california", "illinois")
    (adopted,) = events(node.log, EventKind.RULES_ADOPTED)
    assert adopted.fields["profiles"] == ["illinois"]
