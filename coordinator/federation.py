"""Flower at the centre: the bundle, the courier, and what is asked of the SuperLink.

The only module of the coordinator that knows Flower's insides (flwr 1.41, pinned). Three
parts:

- *The bundle* (FAB): a few hundred bytes that name our installed code and hold none. Nodes
  compare its hash with their allow-list and never run anything from it.
- *The courier*: the ServerApp. It has no keys and no data. It asks the coordinator's Unix
  socket what to carry, pushes each opaque payload to its node, and brings replies back
  until the deadline. It never waits without a bound.
- *Control*: registering keys, listing nodes, starting the courier run.

It opens no payload, holds no secret and decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import secrets
import struct
import time
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from coordinator.errors import FlowerUnavailable, NodeKeyInvalid
from policies.vocabulary import Digest

RECORD = "undertone"
"""Name of the one record in a message."""
SOCKET_VARIABLE = "UNDERTONE_COURIER_SOCKET"
"""Where the courier finds the coordinator; inherited from the superexec's environment."""
MESSAGE_TYPE = "query"
"""One type for all payloads: the courier must not know what it carries."""
POLL_S = 0.15
"""How often the courier looks for replies; Flower's own 3 s would double a round."""
TTL_MARGIN_S = 5.0
_ZIP_TIME = (2024, 10, 1, 0, 0, 0)
_P384 = "ecdsa-sha2-nistp384"
_POINT_BYTES = 97
_SPKI_P384 = bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200")
_PYPROJECT = b"""\
[project]
name = "undertone"
version = "0.1.0"
description = "Carries opaque payloads; names installed code and holds none."
license = "Apache-2.0"

[tool.flwr.app]
publisher = "undertone"

[tool.flwr.app.components]
serverapp = "coordinator.federation:app"
clientapp = "client_node.federation:client_app"
"""


# --- the bundle -----------------------------------------------------------------------------


def build_fab() -> bytes:
    """Return the Flower App Bundle, the same bytes on every machine.

    Stored, not deflated: compressed bytes differ between builds of zlib, and this hash is on
    every node's allow-list. The manifest line is `path,sha256,size in bits` (flwr.cli.build).
    """
    manifest = f"pyproject.toml,{hashlib.sha256(_PYPROJECT).hexdigest()},{len(_PYPROJECT) * 8}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in (
            ("pyproject.toml", _PYPROJECT),
            (".info/CONTENT", manifest.encode("ascii")),
        ):
            entry = zipfile.ZipInfo(name, date_time=_ZIP_TIME)
            entry.create_system = 3  # the same header on every system
            entry.external_attr = 0o600 << 16
            bundle.writestr(entry, content)
    return buffer.getvalue()


def fab_digest() -> Digest:
    """Return the SHA-256 of the bundle: what a node's policy puts on its allow-list."""
    return Digest(hashlib.sha256(build_fab()).hexdigest())


# --- the courier (runs in its own process, started by flower-superexec) -----------------------


class _Carrier(Protocol):
    """What the courier needs of Flower's grid."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]: ...
    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]: ...


app = ServerApp()


@app.main()  # type: ignore[untyped-decorator]  # Flower's
def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 (Flower passes it)
    """Carry exchanges until the coordinator says that there will be no more."""
    socket = os.environ[SOCKET_VARIABLE]
    # The coordinator holds `next` for up to 20 s; it may restart, so failures back off.
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=socket), base_url="http://courier", timeout=30.0
    ) as coordinator:
        misses = 0
        while misses < 60:  # noqa: PLR2004 (a minute without a coordinator ends the run)
            try:
                answer = coordinator.post("/courier/next")
                answer.raise_for_status()
                misses = 0
                if answer.status_code == httpx.codes.OK:
                    _serve(grid, coordinator, answer.json())
            except httpx.HTTPError:
                misses += 1
                time.sleep(1.0)


def _serve(grid: _Carrier, coordinator: httpx.Client, job: Mapping[str, Any]) -> None:
    payloads = {int(node): base64.b64decode(data) for node, data in job["payloads"].items()}
    replies = carry(grid, payloads, wait_s=float(job["wait_s"]))
    coordinator.post(
        "/courier/replies",
        json={
            "exchange": job["exchange"],
            "replies": {str(n): base64.b64encode(data).decode() for n, data in replies.items()},
        },
    ).raise_for_status()


def carry(grid: _Carrier, payloads: Mapping[int, bytes], *, wait_s: float) -> dict[int, bytes]:
    """Push one payload to each node and return the replies that came within `wait_s`.

    A node whose message could not be pushed, that answered with a Flower error, or that was
    late is simply not in the result. Messages expire soon after, so that a node that wakes
    up later does not work on an old round. The nonce makes each message an object of its own:
    Flower stores objects by their hash and drops one while an equal one is still on its way.
    """
    ttl = wait_s + TTL_MARGIN_S
    messages = [
        Message(
            RecordDict({RECORD: _record(payload)}),
            dst_node_id=node,
            message_type=MESSAGE_TYPE,
            ttl=ttl,
        )
        for node, payload in payloads.items()
    ]
    ends_at = time.monotonic() + wait_s
    waiting = {message_id for message_id in grid.push_messages(messages) if message_id}
    replies: dict[int, bytes] = {}
    while waiting and time.monotonic() < ends_at:
        for message in grid.pull_messages(waiting):
            waiting.discard(message.metadata.reply_to_message_id)
            if message.has_content():
                replies[message.metadata.src_node_id] = payload_of(message)
        if waiting:
            time.sleep(POLL_S)
    return replies


def _record(payload: bytes) -> ConfigRecord:
    return ConfigRecord({"payload": payload, "nonce": secrets.token_bytes(16)})


def payload_of(message: Message) -> bytes:
    """Return the payload of a message of ours, or no bytes if it has another shape."""
    record = message.content.config_records.get(RECORD)
    payload = record.get("payload") if record is not None else None
    return payload if isinstance(payload, bytes) else b""


# --- control ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNode:
    """A node as the SuperLink sees it."""

    flower_id: int
    online: bool


class Control:
    """Ask the SuperLink's Control API, which listens on loopback only.

    Every method raises FlowerUnavailable when the SuperLink does not answer or refuses.
    """

    def __init__(self, address: str, authority: Path) -> None:
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=authority.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def register(self, public_key: str) -> int:
        """Register a SuperNode's public key (OpenSSH, NIST P-384) and return Flower's id."""
        request = RegisterNodeRequest(public_key=openssh_to_pem(public_key))
        return int(self._ask("RegisterNode", request).node_id)

    def nodes(self) -> tuple[FleetNode, ...]:
        """Return the registered nodes and whether the SuperLink has heard from each lately."""
        answer = self._ask("ListNodes", ListNodesRequest())
        return tuple(
            FleetNode(flower_id=int(node.node_id), online=node.status == "online")
            for node in answer.nodes_info
        )

    def start_courier(self) -> int:
        """Submit the courier run and return its id."""
        content = build_fab()
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        return int(self._ask("StartRun", StartRunRequest(fab=fab_to_proto(fab))).run_id)

    def courier_runs(self, run_id: int) -> bool:
        """Return whether that courier run has not ended."""
        runs = self._ask("ListRuns", ListRunsRequest(run_id=run_id)).run_dict
        return run_id in runs and runs[run_id].status.status != "finished"

    def stop_courier(self, run_id: int) -> None:
        """End a courier run."""
        self._ask("StopRun", StopRunRequest(run_id=run_id))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, method: str, request: Any) -> Any:
        try:
            return getattr(self._client, method)(request)
        except (httpx.HTTPError, ValueError, RuntimeError) as error:
            raise FlowerUnavailable(
                f"the SuperLink did not answer {method}: {type(error).__name__}"
            ) from error


def openssh_to_pem(public_key: str) -> bytes:
    """Return the PEM bytes that the Control API takes for an OpenSSH P-384 public key.

    The blob is `string type, string curve, string point` (RFC 5656, section 3.1); PEM wraps
    the point in a SubjectPublicKeyInfo, whose header is constant for a curve (RFC 5480).

    Raises:
        NodeKeyInvalid: Not an OpenSSH public key of P-384. The SuperLink itself checks that
            the point is on the curve.
    """
    try:
        name, blob = public_key.split()[:2]
        fields = _ssh_strings(base64.b64decode(blob, validate=True))
        kind, curve, point = fields
    except (ValueError, struct.error) as error:
        raise NodeKeyInvalid("the SuperNode's key is not an OpenSSH public key") from error
    if (name, kind, curve) != (_P384, _P384.encode(), b"nistp384") or len(point) != _POINT_BYTES:
        raise NodeKeyInvalid("the SuperNode's key is not ECDSA P-384; make it with that curve")
    body = base64.encodebytes(_SPKI_P384 + point).replace(b"\n", b"")
    lines = b"\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return b"-----BEGIN PUBLIC KEY-----\n" + lines + b"\n-----END PUBLIC KEY-----\n"


def _ssh_strings(blob: bytes) -> list[bytes]:
    fields: list[bytes] = []
    while blob:
        (size,) = struct.unpack(">I", blob[:4])
        if len(blob) < 4 + size:
            raise ValueError("truncated")
        fields.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return fields
