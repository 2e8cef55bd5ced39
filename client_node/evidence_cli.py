"""`undertone-node trace` and `own`: what a decision rests on, and what a person may ask.

`trace` reads the node's files. `own` asks the running node, whose keystore has one owner, with an
integration's API key; the customer id comes from a file or stdin, so that no shell remembers it.
"""

from __future__ import annotations

import json
import ssl
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from audit.key_cli import keys_app
from audit.keys import LogKeys, VerifyKey
from audit.terminal import MISUSE, CommandLine, complain, emit, put, say
from audit.trace_cli import print_trace
from audit.witness_store import WitnessStore
from client_node.errors import NodeUnreachable
from client_node.releases import published_in
from client_node.settings import NodeSettings, load_signing_key, parse_key

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with leaves and receipts.")]


Url = Annotated[str, typer.Option("--url", help="The node's address.")]
ApiKey = Annotated[Path, typer.Option("--api-key-file", help="An integration's API key.")]
Customer = Annotated[Path, typer.Option("--customer-file", help="The customer's id; - is stdin.")]
Ca = Annotated[Path | None, typer.Option("--ca", help="Authority of its certificate.")]
TIMEOUT_S = 60.0

own_app = typer.Typer(no_args_is_help=True, help="What a person may ask about themselves.")


def add_commands(app: CommandLine) -> None:
    """Add the commands of this module."""
    app.command("trace")(trace)
    app.add_typer(keys_app(_send), name="keys")
    app.add_typer(own_app, name="own")


def trace(decision: str, *, settings: SettingsFile, as_json: AsJson = False) -> None:
    """Verify the node's log, and trace a decision in it, whether or not the node runs."""
    loaded = NodeSettings.load(settings)
    coordinator = parse_key("coordinator_key", loaded.coordinator_key)
    log_key = parse_key("coordinator_log_key", loaded.coordinator_log_key or loaded.coordinator_key)
    print_trace(
        loaded.folder / "log.db",
        load_signing_key(loaded.signing_key).verify_key,
        decision,
        published=published_in(
            loaded.folder / "releases.db", coordinator, _learned(loaded.folder, log_key)
        ),
        archive=loaded.archive,
        as_json=as_json,
    )


def _learned(folder: Path, first: VerifyKey) -> LogKeys:
    """Return the coordinator's log's keys as the node, its witness, learned them."""
    path = folder / "witness.db"
    if not path.is_file():
        return first
    with closing(WitnessStore(path)) as store:
        return store.keys_of(first)


@own_app.command("uses")
def own_uses(
    *,
    customer_file: Customer,
    url: Url,
    api_key_file: ApiKey,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Show every decision about a customer's data; with --json also leaves and receipts."""
    answer = _ask(url, "uses", _customer(customer_file), api_key_file, ca).json()
    shown = ("at", "action", "purpose", "use", "allowed", "round", "log_index", "decision_id")
    rows = [{name: use.get(name) for name in shown} for use in answer["uses"]]
    emit(answer if as_json else rows or "no decision about this customer is kept", as_json=as_json)


@own_app.command("releases")
def own_releases(
    *,
    customer_file: Customer,
    url: Url,
    api_key_file: ApiKey,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Say which releases learned from a customer, and what bound holds."""
    answer = _ask(url, "releases", _customer(customer_file), api_key_file, ca).json()
    if as_json:
        emit(answer, as_json=True)
    else:
        say(*answer["words"])


@own_app.command("statement")
def own_statement(
    *,
    customer_file: Customer,
    run: Annotated[str, typer.Option("--run", help="The run.")],
    round_number: Annotated[int, typer.Option("--round", min=1, help="The round.")],
    url: Url,
    api_key_file: ApiKey,
    ca: Ca = None,
) -> None:
    """Print the signed file that a customer was, or was not, in a round; strangers verify it."""
    said = _customer(customer_file) | {"run": run, "round": round_number}
    put(_ask(url, "statements", said, api_key_file, ca).text)


def _ask(
    url: str, question: str, said: dict[str, Any], api_key_file: Path, ca: Path | None
) -> httpx.Response:
    """Ask the node; the answer is one of success.

    Raises:
        NodeUnreachable: Nobody answers there, or the node said no; its own line says why.
    """
    headers = {"Authorization": f"Bearer {_read(api_key_file).strip()}"}
    try:
        context = ssl.create_default_context(cafile=ca)
        with httpx.Client(verify=context, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.post(f"{url}/v1/own/{question}", json=said, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NodeUnreachable(
            f"no node answers ({type(error).__name__}): check --url and --ca"
        ) from error
    if answer.is_error:
        try:
            detail = json.loads(answer.content)["detail"]
        except (ValueError, KeyError, TypeError):
            detail = "no reason was given"
        raise NodeUnreachable(f"the node refused ({answer.status_code}): {detail}")
    return answer


def _send(settings: Path, ca: Path | None, path: str, body: bytes | None) -> Any:
    """Ask the running node over its own socket, which only its operator can open."""
    del ca
    way = httpx.HTTPTransport(uds=str(NodeSettings.load(settings).socket_path))
    headers = {"Content-Type": "application/json"}
    try:
        with httpx.Client(transport=way, base_url="http://node", timeout=TIMEOUT_S) as client:
            method = "GET" if body is None else "POST"
            answer = client.request(method, path, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise NodeUnreachable("the node does not answer on its socket: start it first") from error
    if answer.is_error:
        try:
            detail = str(json.loads(answer.content)["detail"])
        except (ValueError, KeyError, TypeError):
            detail = "no reason was given"
        raise NodeUnreachable(f"the node refused ({answer.status_code}): {detail}")
    is_json = answer.headers["content-type"].startswith("application/json")
    return answer.json() if is_json else answer.text


def _customer(path: Path) -> dict[str, Any]:
    text = sys.stdin.read() if str(path) == "-" else _read(path)
    return {"customer": text.strip()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        complain(f"{path.name} cannot be read as text")
        raise typer.Exit(MISUSE) from error
