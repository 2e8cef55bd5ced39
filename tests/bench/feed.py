"""How soon a withdrawal closes the gate at 100 nodes: `python -m tests.bench.feed [--json]`.

A trust service in a process of its own over TLS on loopback, and 100 nodes' own standing keepers
in two processes, each with its log, vault, cache and gate on disk. One withdrawal by manage token;
a node counts as closed when its own gate, asked after the poll that brought the news was also
obeyed, logged and acknowledged, refuses the person: so the figure is not below the truth. All
clocks are the machine's one monotonic clock; the time starts before the withdrawal is sent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from audit.gate import Gate
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.pki import create_authority, issue_server
from audit.signing import SigningKey, VerifyKey, seal, sign_request
from client_node.connections import ConnectionPolicy
from client_node.conversations import Conversations
from client_node.destroyed import Destroyed
from client_node.owed import Owed
from client_node.recalibration import Recalibration
from client_node.releases import Releases
from client_node.standing_cache import StandingCache
from client_node.standing_keeper import StandingKeeper
from client_node.trust_client import TrustClient
from client_node.vault import Vault
from consent.remote import call
from deploy.report import Row, at_least, at_most
from models.conversation import STANDARD
from policies.decision import UseRequest
from policies.engine import PolicyEngine
from policies.errors import Refused
from policies.vocabulary import Action, Digest, NodeId, Purpose, SubjectId
from tests.bench.printed import print_rows

NODES, PROCESSES, WITHDRAWALS = 100, 2, 6
PAUSE_S, POLL_S, LONGEST_S = 3.0, 2.0, 30.0
NOTICE = "We analyse expressed emotion."
ADMIN = "an-admin-token-for-a-benchmark"


class Branch:
    """One node's standing keeper and gate; tells on stdout when the gate closes on somebody."""

    def __init__(
        self, folder: Path, name: str, config: dict[str, Any], tell: Callable[..., None]
    ) -> None:
        self._node, self._tell, self._left = NodeId(name), tell, list(config["subjects"])
        self._ready = False
        allowed = frozenset({config["url"].removeprefix("https://")})
        key, clock = SigningKey.load(folder / f"{name}.key"), time.time
        home = folder / name
        home.mkdir()
        keystore = Keystore(home / "keystore", clock=clock)
        log = EvidenceLog(home / "log.db", key, origin=name, clock=clock, keystore=keystore)
        trust = VerifyKey.parse(config["trust"])
        self._cache = StandingCache(home / "standing.db", node=self._node, key=trust, clock=clock)
        vault = Vault(home / "records.db", keystore)
        self._gate = Gate(
            engine=PolicyEngine.load(), log=log, clock=clock, batch_key=key.derive("batch")
        )
        releases = Releases(
            home / "releases.db", coordinator_key=trust, log_key=trust,
            encoder_digest=Digest("0" * 64), key=key, log=log, clock=clock,
        )  # fmt: skip
        self.keeper = StandingKeeper(
            client=TrustClient(
                config["url"],
                key=key,
                clock=clock,
                authority=folder / "authority.crt",
                connections=ConnectionPolicy(allowed=allowed),
            ),
            cache=self._cache,
            vault=vault,
            conversations=Conversations(rule=STANDARD, pause_s=600),
            recalibration=Recalibration(
                node=self._node,
                gate=self._gate,
                cache=self._cache,
                vault=vault,
                releases=releases,
                clock=clock,
            ),
            owed=Owed(home / "owed.db"),
            destroyed=Destroyed(home / "destroyed.db"),
            log=log,
            clock=clock,
            poll_s=POLL_S,
            also=self._look,
        )  # fmt: skip

    def _look(self) -> None:
        """After each poll, ask the gate about the next person who will withdraw."""
        if not self._left:
            return
        subject = SubjectId(self._left[0])
        request = UseRequest(
            node=self._node, action=Action.INFER, purpose=Purpose.SERVICE, subject=subject
        )
        try:
            self._gate.open(request, self._cache.standing(subject), self._cache.governance)
        except Refused:
            if self._ready:
                self._tell(node=self._node, subject=self._left.pop(0), at=time.monotonic())
        else:
            if not self._ready:
                self._ready = True
                self._tell(node=self._node, open=True)


def work(folder: Path, first: int) -> None:
    """Keep the standing of one process' share of the nodes until stdin ends."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    lock = threading.Lock()

    def tell(**said: Any) -> None:
        with lock:
            print(json.dumps(said), flush=True)

    numbers = range(first, first + NODES // PROCESSES)
    branches = [Branch(folder, f"branch-{n}", config, tell) for n in numbers]
    for branch in branches:
        branch.keeper.start()
    sys.stdin.read()


class Heard:
    """What the nodes told so far."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.closed: dict[str, dict[str, float]] = {}
        self._changed = threading.Condition()

    def listen(self, lines: Any) -> None:
        """Take in one process' lines until it ends."""
        for line in lines:
            said = json.loads(line)
            with self._changed:
                if "open" in said:
                    self.open.add(said["node"])
                else:
                    self.closed.setdefault(said["subject"], {})[said["node"]] = said["at"]
                self._changed.notify_all()

    def all_closed(self, subject: str) -> bool:
        """Return whether every node's gate closed on somebody."""
        return len(self.closed.get(subject, {})) == NODES

    def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until it is so; say whether it came to be."""
        with self._changed:
            return self._changed.wait_for(done, timeout_s)


def measure() -> list[Row]:
    """Return the rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _prepare(folder)
        command = [sys.executable, "-m", "consent.cli", "serve", "--settings"]
        service = subprocess.Popen(  # noqa: S603 (our own interpreter)
            [*command, str(folder / "trust.toml")], stdout=subprocess.PIPE, text=True
        )
        workers: list[subprocess.Popen[str]] = []
        try:
            assert service.stdout is not None  # it is a pipe
            service.stdout.readline()
            tokens = _fill(folder, config)
            heard = Heard()
            for first in range(0, NODES, NODES // PROCESSES):
                workers.append(_worker(folder, first))
                lines = workers[-1].stdout
                threading.Thread(target=heard.listen, args=(lines,), daemon=True).start()
            if not heard.until(lambda: len(heard.open) == NODES, 120):
                raise SystemExit(f"only {len(heard.open)} of {NODES} nodes opened their gate")
            return _withdraw_all(folder, config["url"], tokens, heard)
        finally:
            for process in (*workers, service):
                process.terminate()
                process.wait(30)


def _withdraw_all(folder: Path, url: str, tokens: dict[str, str], heard: Heard) -> list[Row]:
    took: list[float] = []
    answered, rounds = [], []
    for subject, token in tokens.items():
        time.sleep(PAUSE_S)
        began = time.monotonic()
        body = json.dumps({"manage_token": token, "purpose": "service"}).encode()
        call(url, "/v1/withdrawals", ca=folder / "authority.crt", body=body)
        answered.append(time.monotonic() - began)
        heard.until(partial(heard.all_closed, subject), LONGEST_S)
        found = [at - began for at in heard.closed.get(subject, {}).values()]
        rounds.append(len(found))
        took += found
    answer_s, middle_s = statistics.median(answered), statistics.median(took)
    return [
        at_least("nodes whose gate closed, fewest", min(rounds), NODES),
        Row(name="withdrawals measured", value=len(rounds)),
        Row(name="withdrawal answered, median", value=_seconds(answer_s), unit="s"),
        Row(name="gate closed at a node, median", value=_seconds(middle_s), unit="s"),
        at_most("gate closed at the last node", _seconds(max(took)), 5, "s"),
    ]


def _seconds(value: float) -> float:
    return round(value, 3)


def _prepare(folder: Path) -> dict[str, Any]:
    """Write keys, certificates and settings; return what the nodes must know."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    trust, officer = SigningKey.generate("trust"), SigningKey.generate("officer")
    trust.save(folder / "trust.signing-key")
    officer.save(folder / "officer.signing-key")
    for number in range(NODES):
        SigningKey.generate(f"branch-{number}").save(folder / f"branch-{number}.key")
    create_authority(folder)
    issue_server(folder, "trust")
    (folder / "admin.token").write_text(ADMIN, encoding="utf-8")
    values = {
        "folder": "state", "port": port, "certificate": "trust.crt", "private_key": "trust.key",
        "signing_key": "trust.signing-key", "officer_key": str(officer.verify_key),
        "admin_token_file": "admin.token",
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]
    (folder / "trust.toml").write_text("".join(lines), encoding="utf-8")
    config = {
        "url": f"https://127.0.0.1:{port}",
        "trust": str(trust.verify_key),
        "subjects": [f"person-{number}" for number in range(WITHDRAWALS)],
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return config


def _fill(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """Publish, approve, enrol and grant; return each person's manage token."""
    send = partial(call, config["url"], ca=folder / "authority.crt")
    officer = SigningKey.load(folder / "officer.signing-key")
    notice = {"version": 1, "texts": {"en": NOTICE}, "material": False}
    dpia = {"dpia": "d1", "purposes": ["service"], "mitigations": ["redaction"]}
    dpia |= {"approved_by": "officer"}
    send("/v1/notices", body=seal("notice", notice | {"issued_at": time.time()}, officer))
    send("/v1/dpias", body=seal("dpia", dpia | {"issued_at": time.time()}, officer))
    for number in range(NODES):
        name = f"branch-{number}"
        key = str(SigningKey.load(folder / f"{name}.key").verify_key)
        body = json.dumps({"node": name, "company": "acme", "key": key}).encode()
        send("/v1/nodes", body=body, headers={"Authorization": f"Bearer {ADMIN}"})
    text_digest = hashlib.sha256(NOTICE.encode()).hexdigest()
    grants = [
        {
            "subject": subject, "purposes": ["service"], "modalities": ["text"],
            "notice_version": 1, "act": "ticked_box", "age": "adult", "informed": True,
            "valid_days": 30,
            "shown": {"language": "en", "text_digest": text_digest, "channel": "web"},
            "capture": {"evidence": hashlib.sha256(subject.encode()).hexdigest()},
        }
        for subject in config["subjects"]
    ]  # fmt: skip
    body = json.dumps({"grants": grants}).encode()
    key_0 = SigningKey.load(folder / "branch-0.key")
    headers = sign_request(key_0, method="POST", path="/v1/grants", body=body, now=time.time())
    receipts = send("/v1/grants", body=body, headers=headers)["receipts"]
    tokens = [receipt["manage_token"] for receipt in receipts]
    return dict(zip(config["subjects"], tokens, strict=True))


def _worker(folder: Path, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-m", "tests.bench.feed", "--worker", str(folder), str(first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.feed")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(Path(chosen.worker[0]), int(chosen.worker[1]))
        return
    rows = measure()
    print_rows(rows, as_json=chosen.json)


if __name__ == "__main__":
    main()
