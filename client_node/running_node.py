"""Asking the running node on its Unix socket, which only the user it runs as may open."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx

from client_node.errors import NodeUnreachable
from client_node.settings import NodeSettings

LONGEST_S = 600.0


def ask_node(
    method: str, path: str, settings: Path, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what the running node answers.

    Raises:
        NodeUnreachable: It does not run, or said no; its own line says why.
    """
    where = NodeSettings.load(settings).socket_path
    try:
        with socket.socket(socket.AF_UNIX) as probe:  # httpx leaves open what does not connect
            probe.connect(str(where))
        transport = httpx.HTTPTransport(uds=str(where))
        with httpx.Client(transport=transport, timeout=LONGEST_S, trust_env=False) as client:
            answer = client.request(method, f"http://node/internal/{path}", json=body)
    except (httpx.HTTPError, OSError) as error:
        raise NodeUnreachable(
            f"no node answers at {where.name} ({type(error).__name__}): "
            "start it, and ask as the user it runs as"
        ) from error
    try:
        value: dict[str, Any] = json.loads(answer.content)
    except ValueError:
        value = {}
    if answer.is_error:
        detail = value.get("detail", "no reason was given")
        raise NodeUnreachable(f"the node refused ({answer.status_code}): {detail}")
    return value
