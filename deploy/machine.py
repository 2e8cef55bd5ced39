"""A whole federation on one machine: real services, real Flower, one folder.

Each part is started by the command that an operator would use, from a settings file that an
operator could have written. Stopping is in the reverse order: nodes before the centre.
"""

from __future__ import annotations

import ssl
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import httpx
import tomli_w

from audit.signing import seal
from coordinator.client import CoordinatorClient
from deploy.branch import BranchClient
from deploy.errors import PartFailed
from deploy.identities import Identities, Identity
from deploy.processes import Processes
from policies.vocabulary import Purpose

STANDING_MAX_AGE_S = 10
POLL_S = 1.0
START_S = 120.0
APPROVED = (Purpose.SERVICE, Purpose.TRAINING, Purpose.HANDOVER, Purpose.AGENT_HELP)
"""Not reporting: training is planned to spend the whole budget, so no campaign can be counted."""
NOTICE = (
    "We analyse the emotions that your messages to our service desk express, on a computer at "
    "this branch, so that we notice frustration early and can hand you to a person. If you also "
    "agree to training, what we learn leaves the branch only as noisy numbers that say almost "
    "nothing of you. You can withdraw at any time, in one step, and nothing else changes."
)


class Machine:
    """The running parts, and a client for each."""

    def __init__(self, identities: Identities, processes: Processes, encoder: Path | None) -> None:
        self.identities = identities
        self.processes = processes
        self._encoder = encoder
        self._tls = ssl.create_default_context(cafile=str(identities.authority))
        self.trust = httpx.Client(
            base_url=f"https://localhost:{identities.trust_port}", verify=self._tls, timeout=30.0
        )
        self.coordinator = CoordinatorClient(
            f"http://127.0.0.1:{identities.coordinator_port}", token=identities.admin_token
        )
        self.branches = {node.branch: BranchClient(node) for node in identities.nodes}

    def start_trust(self) -> None:
        """Start the consent and audit service; publish the notice, approve the DPIA, enrol.

        Raises:
            PartFailed: It did not start, or refused one of these.
        """
        ids = self.identities
        settings = {
            "folder": "trust",
            "port": ids.trust_port,
            "certificate": "pki/trust.crt",
            "private_key": "pki/trust.key",
            "signing_key": "trust.key",
            "officer_key": str(ids.officer.verify_key),
            "admin_token_file": "admin.token",
            "standing_max_age_s": STANDING_MAX_AGE_S,
            "coordinator": "coordinator",
        }
        self._start("trust", "undertone-trust", self._write("trust", ids.folder, settings))
        self.processes.wait_until("the trust service", self._trust_answers, timeout_s=START_S)
        now = time.time()
        notice = {"version": 1, "texts": {"en": NOTICE}, "material": True, "issued_at": now}
        dpia = {
            "dpia": "demo-1",
            "purposes": sorted(APPROVED),
            "mitigations": ["redaction at the node", "private updates", "keys for each person"],
            "approved_by": "the demo",
            "issued_at": now,
        }
        self._post_to_trust("/v1/notices", seal("notice", notice, ids.officer))
        self._post_to_trust("/v1/dpias", seal("dpia", dpia, ids.officer))
        for node in ids.nodes:
            enrolment = {
                "node": node.node,
                "key": str(node.key.verify_key),
                "company": node.node,
            }
            self._post_to_trust("/v1/nodes", enrolment)
        self._post_to_trust("/v1/nodes", self._coordinator_enrolment())

    def start_coordinator(self) -> None:
        """Start the coordinator, which starts SuperLink, superexec and gateway.

        Raises:
            PartFailed: It did not start.
        """
        ids = self.identities
        settings = {
            "folder": "coordinator",
            "signing_key": "coordinator.key",
            "admin_token_file": "admin.token",
            "certificate": "pki/coordinator.crt",
            "private_key": "pki/coordinator.key",
            "authority": "pki/authority.crt",
            "port": ids.coordinator_port,
            "gateway_port": ids.gateway_port,
            "superlink_port": ids.superlink_port,
            "trust_url": f"https://localhost:{ids.trust_port}",
            "trust_ca": "pki/authority.crt",
            "trust_key": str(ids.trust.verify_key),
        }
        path = self._write("coordinator", ids.folder, settings)
        self._start("coordinator", "undertone-coordinator", path)

    def accept_plan(self, draft: dict[str, Any]) -> dict[str, Any]:
        """Give the coordinator the plan, which it checks, costs, hashes and logs.

        Raises:
            PartFailed: The coordinator did not start.
            ServiceUnavailable: It refused the plan.
        """
        self.processes.wait_until("the coordinator", self.coordinator.healthy, timeout_s=START_S)
        self.processes.wait_until(
            "what the trust service lets the coordinator do",
            self.coordinator.governed,
            timeout_s=START_S,
        )
        return self.coordinator.plan(draft)

    def start_nodes(self) -> None:
        """Start every branch's node service, SuperNode and executor, all side by side.

        Raises:
            PartFailed: A part did not start, or a node did not come online.
        """
        for node in self.identities.nodes:
            public = (node.folder / "supernode.pub").read_text(encoding="utf-8")
            self.coordinator.register_node(
                node.node, vkey=str(node.key.verify_key), supernode_public_key=public
            )
            path = self._write("node", node.folder, self._node_settings(node))
            self._start(f"{node.node}-service", "undertone-node", path)
            path = self._write("supernode", node.folder, self._supernode_settings(node))
            for part in ("supernode", "executor"):
                command = [sys.executable, "-m", f"client_node.{part}", "--settings", str(path)]
                self.processes.start(f"{node.node}-{part}", command)
        for client in self.branches.values():
            self.processes.wait_until(client.name, client.answers, timeout_s=START_S)
        self.processes.wait_until("the federation", self._all_online, timeout_s=START_S)

    def close(self) -> None:
        """Close the clients; `processes` stops the parts."""
        self.trust.close()
        self.coordinator.close()
        for client in self.branches.values():
            client.close()

    def _all_online(self) -> bool:
        nodes = self.coordinator.nodes()
        return len(nodes) == len(self.branches) and all(node["online"] for node in nodes)

    def _coordinator_enrolment(self) -> dict[str, Any]:
        """Return the coordinator as a node without people: it hears governance, and no more."""
        name = "coordinator"
        key = str(self.identities.coordinator.verify_key)
        return {"node": name, "key": key, "company": name}

    def _node_settings(self, node: Identity) -> dict[str, Any]:
        ids = self.identities
        settings = {
            "node": node.node,
            "company": node.node,
            "folder": str(node.folder / "state"),
            "port": node.api_port,
            "api_keys_file": str(node.folder / "api.keys"),
            "signing_key": str(node.folder / "node.key"),
            "pseudonym_key_file": str(node.folder / "pseudonym.key"),
            "trust_url": f"https://localhost:{ids.trust_port}",
            "trust_ca": str(ids.authority),
            "trust_key": str(ids.trust.verify_key),
            "coordinator_key": str(ids.coordinator.verify_key),
            "coordinator_url": f"https://localhost:{ids.gateway_port}",
            "coordinator_ca": str(ids.authority),
            "operator_key": str(ids.operator.verify_key),
            "policy_file": str(node.folder / "policy.json"),
            "socket_path": str(node.socket),
            "poll_s": POLL_S,
        }
        return settings | ({"encoder_path": str(self._encoder)} if self._encoder else {})

    def _supernode_settings(self, node: Identity) -> dict[str, Any]:
        ids = self.identities
        return {
            "node_settings": "node.toml",
            "gateway": f"localhost:{ids.gateway_port}",
            "authority": str(ids.authority),
            "key": "supernode",
            "port": node.supernode_port,
            "folder": "flower",
        }

    def _write(self, name: str, folder: Path, settings: dict[str, Any]) -> Path:
        path = folder / f"{name}.toml"
        path.write_text(tomli_w.dumps(settings), encoding="utf-8")
        return path

    def _start(self, name: str, program: str, settings: Path) -> None:
        path = Path(sysconfig.get_path("scripts")) / program
        self.processes.start(name, [str(path), "serve", "--settings", str(settings)])

    def _trust_answers(self) -> bool:
        try:
            return self.trust.get("/healthz").is_success
        except httpx.HTTPError:
            return False

    def _post_to_trust(self, path: str, body: bytes | dict[str, Any]) -> None:
        token = {"Authorization": f"Bearer {self.identities.admin_token}"}
        answer = (
            self.trust.post(path, content=body)
            if isinstance(body, bytes)
            else self.trust.post(path, json=body, headers=token)
        )
        if answer.is_error:
            raise PartFailed(f"the trust service refused {path}: {answer.text[:200]}")
