"""The throw-away identities of a one-machine federation: who signs what, and where it lies.

The operator signs node policies; the compliance officer signs notices and DPIAs; the trust
service enrols; the coordinator signs terms and releases. Here one person plays all four.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audit.pki import create_authority, issue_server, issue_supernode_key
from audit.private_files import create_private
from audit.signing import SigningKey, seal
from coordinator.federation import fab_digest
from policies.node_policy import NodePolicy, node_policy_to_dict
from policies.terms import Plan
from policies.vocabulary import Digest, NodeId

MINIMUM_NOISE = 0.3
PERIOD_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One branch's node: its names, keys and ports."""

    branch: str
    node: NodeId
    folder: Path
    key: SigningKey
    api_key: str
    api_port: int
    supernode_port: int

    @property
    def socket(self) -> Path:
        """Return the path of the node service's internal socket."""
        return self.folder / "node.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Everyone in the federation, on this machine, for this time only."""

    folder: Path
    operator: SigningKey
    officer: SigningKey
    trust: SigningKey
    coordinator: SigningKey
    admin_token: str
    trust_port: int
    coordinator_port: int
    gateway_port: int
    superlink_port: int
    nodes: tuple[Identity, ...]

    @property
    def pki(self) -> Path:
        """Return the folder of certificates."""
        return self.folder / "pki"

    @property
    def authority(self) -> Path:
        """Return the certificate that vouches for the services."""
        return self.pki / "authority.crt"


def create_identities(folder: Path, branches: Iterable[str]) -> Identities:
    """Make all keys, certificates and secrets of a federation in a new folder."""
    pki = folder / "pki"
    create_authority(pki)
    for name in ("trust", "coordinator"):
        issue_server(pki, name)
    keys = {}
    for role in ("operator", "officer", "trust", "coordinator"):
        keys[role] = SigningKey.generate(role)
        keys[role].save(folder / f"{role}.key")
    token = secrets.token_urlsafe(32)
    create_private(folder / "admin.token", token.encode())
    names = _node_names(branches)
    ports = iter(_free_ports(4 + 2 * len(names)))
    return Identities(
        folder=folder,
        **keys,
        admin_token=token,
        trust_port=next(ports),
        coordinator_port=next(ports),
        gateway_port=next(ports),
        superlink_port=next(ports),
        nodes=tuple(
            _create_node(folder / node, branch, node, next(ports), next(ports))
            for branch, node in names.items()
        ),
    )


def seal_node_policies(identities: Identities, plan: Plan, plan_digest: Digest) -> None:
    """Write each node's own policy, signed by its operator: this plan, this code, no more."""
    for node in identities.nodes:
        policy = NodePolicy(
            node=node.node,
            version=1,
            minimum_noise_multiplier=MINIMUM_NOISE,
            maximum_epsilon=plan.epsilon,
            maximum_delta=plan.delta,
            minimum_people=plan.minimum_people,
            allowed_plans=frozenset({plan_digest}),
            allowed_fabs=frozenset({fab_digest()}),
            labels=plan.labels,
            period_s=PERIOD_S,
            connections=frozenset(
                {f"localhost:{identities.trust_port}", f"localhost:{identities.gateway_port}"}
            ),
        )
        envelope = seal("node-policy", node_policy_to_dict(policy), identities.operator)
        (node.folder / "policy.json").write_bytes(envelope)


def _create_node(folder: Path, branch: str, node: NodeId, api: int, supernode: int) -> Identity:
    folder.mkdir(mode=0o700)
    key = SigningKey.generate(node)
    key.save(folder / "node.key")
    issue_supernode_key(folder, "supernode")
    create_private(folder / "pseudonym.key", secrets.token_hex(32).encode())
    api_key = secrets.token_urlsafe(32)
    create_private(folder / "api.keys", f"demo:{api_key}".encode())
    return Identity(
        branch=branch,
        node=node,
        folder=folder,
        key=key,
        api_key=api_key,
        api_port=api,
        supernode_port=supernode,
    )


def _node_names(branches: Iterable[str]) -> dict[str, NodeId]:
    """Return a name that the rules for node ids allow, for each branch, all different."""
    names: dict[str, NodeId] = {}
    for number, branch in enumerate(sorted(branches), start=1):
        plain = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:24] or "branch"
        names[branch] = NodeId(plain if plain not in names.values() else f"{plain}-{number}")
    return names


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
