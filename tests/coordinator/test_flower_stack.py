"""The real Flower stack on loopback: SuperLink, gateway, SuperNodes, warm executors, a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from audit.pki import create_authority, issue_server, issue_supernode_key
from audit.signing import SigningKey, seal
from coordinator.client import CoordinatorClient
from coordinator.federation import fab_digest
from models.private_evaluation import GROUPS
from policies.node_policy import NodePolicy, node_policy_to_dict
from policies.terms import Evaluation, Grouping, plan_to_dict
from policies.vocabulary import Digest, NodeId
from tests.coordinator.fleet import LABELS, make_plan
from tests.coordinator.stub_node import create_stub, make_gate
from tests.coordinator.trust import MemoryTrust

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "an-admin-token"  # noqa: S105 (a test's)
PEOPLE = 50
DEADLINE_S = float(os.environ.get("UNDERTONE_TEST_DEADLINE_S", "3"))
"""Generous: this test shares its machine; whoever measures sets the demo's 1 s."""


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def toml(**values: Any) -> str:
    """Return a flat TOML file."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@dataclass(slots=True)
class Stack:
    """A coordinator and its nodes as processes, with the stubs in threads here."""

    folder: Path
    key: SigningKey
    gateway_port: int
    client: CoordinatorClient
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def spawn(self, name: str, *command: str) -> None:
        """Start one of our programs."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        with (self.folder / f"{name}.out").open("wb") as out:
            self.processes[name] = subprocess.Popen(  # noqa: S603 (our own programs)
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wait(self, what: str, done: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Wait for something, with a bound and the processes' last words."""
        ends_at = time.monotonic() + timeout_s
        while not done():
            words = {n: self.said(n)[-300:] for n, p in self.processes.items() if p.poll()}
            assert not words, f"ended before {what}: {words}"
            assert time.monotonic() < ends_at, f"no {what} in {timeout_s} s"
            time.sleep(0.1)

    def said(self, name: str) -> str:
        """Return what a process printed."""
        return (self.folder / f"{name}.out").read_text()

    def add_node(self, name: str) -> None:
        """Start a stub service, a SuperNode and an executor, and register the node."""
        folder = self.folder / name
        folder.mkdir()
        key = SigningKey.generate(name)
        key.save(folder / "node.key")
        issue_supernode_key(self.folder, f"{name}-flower")
        self._write_settings(folder, name)
        self._serve_stub(folder, key)
        public = (self.folder / f"{name}-flower.pub").read_text()
        self.client.register_node(name, vkey=str(key.verify_key), supernode_public_key=public)
        settings = str(folder / "supernode.toml")
        self.spawn(f"{name}-supernode", "client_node.supernode", "--settings", settings)
        self.spawn(f"{name}-executor", "client_node.executor", "--settings", settings)

    def _write_settings(self, folder: Path, name: str) -> None:
        operator = SigningKey.generate("operator")
        policy = NodePolicy(
            node=NodeId(name),
            version=1,
            minimum_noise_multiplier=0.1,
            maximum_epsilon=8.0,
            maximum_delta=1e-3,
            minimum_people=1,
            allowed_plans=frozenset({Digest("0" * 64)}),
            allowed_fabs=frozenset({fab_digest()}),
            labels=LABELS,
            period_s=86400,
            connections=frozenset({f"127.0.0.1:{self.gateway_port}"}),
        )
        (folder / "policy.json").write_bytes(
            seal("node-policy", node_policy_to_dict(policy), operator)
        )
        node = {
            "node": name,
            "company": "acme",
            "folder": str(folder),
            "api_keys_file": str(folder / "keys"),
            "signing_key": str(folder / "node.key"),
            "pseudonym_key_file": str(folder / "pseudonym"),
            "trust_url": "https://localhost:1",
            "trust_key": "unused",
            "coordinator_key": str(self.key.verify_key),
            "operator_key": str(operator.verify_key),
            "policy_file": str(folder / "policy.json"),
            "socket_path": str(folder / "node.sock"),
        }
        (folder / "node.toml").write_text(toml(**node))
        supernode = {
            "node_settings": "node.toml",
            "gateway": f"127.0.0.1:{self.gateway_port}",
            "authority": "../authority.crt",
            "key": f"../{name}-flower",
            "port": free_port(),
            "folder": "supernode",
        }
        (folder / "supernode.toml").write_text(toml(**supernode))

    def _serve_stub(self, folder: Path, key: SigningKey) -> None:
        app = create_stub(make_gate(folder, key), key, self.key.verify_key, PEOPLE)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(folder / "node.sock"))
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(10)

        self.closing.callback(stop)

    def stop(self) -> dict[str, int]:
        """Ask everything to stop, the newest first; return the exit codes."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        codes = {name: p.wait(60) for name, p in self.processes.items()}
        self.closing.close()
        self.client.close()
        return codes


def serve_trust(trust: MemoryTrust, folder: Path, port: int) -> Callable[[], None]:
    """Serve what the organisation approved, over TLS; return what ends it."""
    app = FastAPI()

    async def standing(request: Request) -> Response:
        await asyncio.sleep(0.2)
        after = int(request.query_params.get("after", 0))
        return Response(trust.envelope(after=after), media_type="application/json")

    app.add_route("/{path:path}", standing)
    issue_server(folder, "trust")
    config = uvicorn.Config(
        app,
        port=port,
        log_level="error",
        lifespan="off",
        ws="none",
        ssl_certfile=folder / "trust.crt",
        ssl_keyfile=str(folder / "trust.key"),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(10)

    return stop


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Return a coordinator that is up, with no nodes yet."""
    folder = tmp_path
    create_authority(folder)
    issue_server(folder, "gateway")
    key = SigningKey.generate("coordinator")
    key.save(folder / "coordinator.key")
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(TOKEN)
    port, gateway_port = free_port(), free_port()
    settings = {
        "folder": "state",
        "signing_key": "coordinator.key",
        "admin_token_file": "token",
        "certificate": "gateway.crt",
        "private_key": "gateway.key",
        "authority": "authority.crt",
        "port": port,
        "gateway_port": gateway_port,
        "superlink_port": free_port(),
        "socket": "courier.sock",
    }
    trusted, trust_port = MemoryTrust(clock=time.time), free_port()
    settings |= {
        "trust_url": f"https://localhost:{trust_port}",
        "trust_ca": "authority.crt",
        "trust_key": str(trusted.key.verify_key),
    }
    (folder / "coordinator.toml").write_text(toml(**settings))
    client = CoordinatorClient(f"http://127.0.0.1:{port}", token=TOKEN)
    made = Stack(folder, key, gateway_port, client)
    made.closing.callback(serve_trust(trusted, folder, trust_port))
    made.spawn(
        "coordinator", "coordinator.cli", "serve", "--settings", str(folder / "coordinator.toml")
    )
    try:
        made.wait("coordinator", client.healthy)
        yield made
    finally:
        for process in made.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in made.processes.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        made.closing.close()
        client.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_run_over_flower_completes_and_ends_clean(stack: Stack) -> None:
    """Two nodes train and measure over real Flower, and everything stops on SIGTERM."""
    evaluation = Evaluation(noise=10.0, every=3, patience=0, groups=Grouping.TURNS)
    wanted = make_plan(rounds=3, epsilon=5.0, deadline_s=DEADLINE_S, evaluation=evaluation)
    plan = stack.client.plan(plan_to_dict(wanted))
    names = [NodeId("north"), NodeId("south")]
    for name in names:
        stack.add_node(name)
    stack.wait("nodes", lambda: all(n["online"] for n in stack.client.nodes()))
    for name in names:
        stack.wait("executor", lambda name=name: "ready" in stack.said(f"{name}-executor"))  # type: ignore[misc]
    *_, seen = stack.client.watch(stack.client.start_run(plan["digest"], approved_by="jo")["run"])
    report(stack, seen)
    assert seen["state"] == "completed", seen
    assert [r["replies"] for r in seen["rounds"]] == [2, 2, 2]
    assert [(e["after_round"], e["replies"]) for e in seen["evaluations"]] == [(0, 2), (3, 2)]
    assert all(
        set(e["figures"]["groups"]) == set(GROUPS[Grouping.TURNS]) for e in seen["evaluations"]
    )
    assert stack.client.releases()[0]["loaded_by"] == names
    assert seen["traffic"]["bytes_in"] > 0
    denied = httpx.post(
        f"https://127.0.0.1:{stack.gateway_port}/v1/control/start-run",
        verify=ssl.create_default_context(cafile=stack.folder / "authority.crt"),
    )
    assert denied.status_code == 403
    state = stack.folder / "state" / "flower" / "superlink.db"
    assert state.stat().st_mode & 0o077 == 0
    codes = stack.stop()
    assert set(codes.values()) == {0}, codes


def report(stack: Stack, seen: dict[str, Any]) -> None:
    """Print seconds a round and PSS of each process, for whoever runs this with -s."""
    sys.stdout.write(f"\nseconds {[r['seconds'] for r in seen['rounds']]} {seen['traffic']}\n")
    pids = {n: p.pid for n, p in stack.processes.items()} | stack.client.processes()
    for name, pid in pids.items():
        smaps = Path(f"/proc/{pid}/smaps_rollup")
        if smaps.exists():
            pss = next(line for line in smaps.read_text().splitlines() if line.startswith("Pss:"))
            sys.stdout.write(f"{name} {int(pss.split()[1]) // 1024} MB\n")
