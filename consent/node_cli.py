"""`undertone-trust key` and `node`: signing keys, and who is enrolled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from audit.signing import SigningKey
from audit.terminal import emit
from consent.options_cli import LOCAL, AsJson, Ca, Url, misuse_is_told, read_text
from consent.remote import call

key_app = typer.Typer(help="Signing keys.", no_args_is_help=True)
node_app = typer.Typer(help="Branch and device nodes.", no_args_is_help=True)


@key_app.command("create")
def key_create(*, name: str, file: Path, as_json: AsJson = False) -> None:
    """Make a signing key in a new file of mode 0600 and print its verify key."""
    with misuse_is_told():
        key = SigningKey.generate(name)
        key.save(file)
        emit({"key": str(key.verify_key)}, as_json=as_json)


@node_app.command("enrol")
def node_enrol(
    *,
    node: str,
    company: Annotated[str, typer.Option("--company", help="Whose node it is.")],
    key: Annotated[str, typer.Option("--key", help="The node's verify key.")],
    admin_token_file: Annotated[Path, typer.Option("--admin-token-file")],
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Enrol a node, so that its signature counts."""
    with misuse_is_told():
        body = json.dumps({"node": node, "company": company, "key": key}).encode()
        headers = {"Authorization": f"Bearer {read_text(admin_token_file).strip()}"}
        emit(call(url, "/v1/nodes", ca=ca, body=body, headers=headers), as_json=as_json)
