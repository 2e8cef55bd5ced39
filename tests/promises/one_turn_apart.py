"""A node's start and one turn, in a process of its own where every connection is watched.

Run by test_10 as `python -m tests.promises.one_turn_apart FOLDER`; prints what was opened.
"""

from __future__ import annotations

import sys
from typing import Any

OPENED: list[str] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        OPENED.append(f"name {args[0]}")
    elif event in {"socket.connect", "socket.sendto"} and isinstance(args[1], tuple):
        OPENED.append(f"{args[1][0]}:{args[1][1]}")


sys.addaudithook(_watch)  # before anything of ours, or of anyone's, is imported

import json  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
import urllib.request  # noqa: E402
from contextlib import suppress  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402

from audit.serve import Listener, serve_all  # noqa: E402
from client_node.connections import (  # noqa: E402
    ConnectionGuard,
    ConnectionPolicy,
    install,
)
from client_node.errors import ConnectionForbidden  # noqa: E402
from client_node.parts import Parts  # noqa: E402
from client_node.service import open_node  # noqa: E402
from consent.api import create_app  # noqa: E402
from tests.promises.town import Branch, Town, consents, says  # noqa: E402

TEXT = "Write to zebulon@quackenbush.example.co.uk, see http://example.org/x: I am furious!"


class Connected(Branch):
    """A branch with the real encoder and redactor, that calls its trust service over TCP."""

    def parts(self) -> Parts:
        """Return what the product itself would take."""
        return replace(super().parts(), encoder=None, redactor=None, transport=None)


def main(folder: Path) -> None:
    """Play, and print what was opened."""
    town = Town(folder, redactor=None)
    ready, stop, addresses = threading.Event(), threading.Event(), list[str]()

    def on_ready(found: list[str]) -> None:
        addresses.extend(found)
        ready.set()

    trust = threading.Thread(
        target=serve_all,
        args=([Listener(app=create_app(town.trust.service), host="127.0.0.1", port=0)],),
        kwargs={"on_ready": on_ready, "stop": stop},
        daemon=True,  # a failure here ends the process
    )
    trust.start()
    ready.wait(30)
    address = addresses[0].removeprefix("http://")
    guard = ConnectionGuard(policy=ConnectionPolicy(allowed=frozenset({address})))
    install(guard)
    branch = town.branch(kind=Connected, policy_changes={"connections": frozenset({address})})
    settings = branch.settings(trust_url=f"http://{address}")
    node = open_node(settings, branch.parts())
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    answer = says(api, "anna", TEXT, explain=True)
    before = (sorted(set(OPENED)), guard.refused)
    with suppress(ConnectionForbidden):
        urllib.request.urlopen("https://huggingface.co/api/models", timeout=1)
    with socket.socket() as elsewhere, suppress(ConnectionForbidden):
        elsewhere.connect(("127.0.0.1", 9))
    node.close()
    stop.set()
    trust.join()
    town.close()
    said = {
        "trust": address,
        "answer": answer["answer"],
        "redacted": answer["redacted"],
        "opened": before[0],
        "refused": before[1],
        "refused_of_two_more": guard.refused - before[1],
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
