"""`staff` and `sign-on`: the operator's commands about accounts, against a running service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.staff import StaffRole
from audit.terminal import emit

Call = Callable[..., Any]
"""Sends a body (or None: GET) to a path with headers, url and ca; returns the answer's JSON."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Url = Annotated[str, typer.Option("--url", help="The service's address.")]
Ca = Annotated[Path | None, typer.Option("--ca", help="Authority of its certificate.")]
TokenFile = Annotated[
    Path, typer.Option("--admin-token-file", help="The admin token, or an operator's own.")
]
Role = Annotated[list[StaffRole], typer.Option("--role", help="May be repeated.")]


def staff_app(call: Call, *, url: str) -> typer.Typer:
    """Return the commands over a client and the service's usual address."""
    app, send = typer.Typer(help="Who may sign in, and as what.", no_args_is_help=True), _by(call)

    @app.command("add")
    def add(
        *,
        name: str,
        role: Role,
        admin_token_file: TokenFile,
        url: Url = url,
        ca: Ca = None,
        as_json: AsJson = False,
    ) -> None:
        """Make an account; prints the one-time token with which its owner begins."""
        made = {"name": name, "roles": sorted(role)}
        emit(send("/v1/staff", made, admin_token_file, url, ca), as_json=as_json)

    @app.command("list")
    def accounts(
        *, admin_token_file: TokenFile, url: Url = url, ca: Ca = None, as_json: AsJson = False
    ) -> None:
        """List the accounts, their roles and how they stand."""
        emit(send("/v1/staff", None, admin_token_file, url, ca), as_json=as_json)

    def change(verb: str, help: str) -> None:  # noqa: A002 (Typer's own word)
        @app.command(verb, help=help)
        def command(
            *,
            name: str,
            admin_token_file: TokenFile,
            yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
            url: Url = url,
            ca: Ca = None,
            as_json: AsJson = False,
        ) -> None:
            if not yes:
                typer.confirm(f"{verb.capitalize()} {name}?", abort=True, err=True)
            path = f"/v1/staff/{name}/{verb}"
            emit(send(path, {}, admin_token_file, url, ca), as_json=as_json)

    change("disable", "Close an account; its sessions and tokens end at once.")
    change("enable", "Open a closed account again.")
    change("reset", "Let the owner begin anew with a new one-time token.")
    change("confirm", "Give the roles that wait, as the second person: an officer or dpo.")
    change("sign-out", "End every session of an account.")
    return app


def sign_on_app(call: Call, *, url: str) -> typer.Typer:
    """Return the commands about the key that signs staff in at the other site."""
    app, send = (
        typer.Typer(help="Single sign-on at the other site.", no_args_is_help=True),
        _by(call),
    )

    @app.callback()
    def verbs() -> None:
        """Keep the verb in the command while there is but one."""

    @app.command("rotate-key")
    def rotate_key(
        *, admin_token_file: TokenFile, url: Url = url, ca: Ca = None, as_json: AsJson = False
    ) -> None:
        """Sign by a new key; the old one is destroyed, and who is just signing in begins again."""
        emit(send("/v1/sign-on-key/rotate", {}, admin_token_file, url, ca), as_json=as_json)

    return app


def _by(call: Call) -> Call:
    """Return how to send a value (or None: GET) to a path, with the token of a file."""

    def send(path: str, value: Any, file: Path, at: str, ca: Path | None) -> Any:
        headers = {"Authorization": f"Bearer {_token(file)}"}
        body = None if value is None else json.dumps(value).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        return call(at, path, ca=ca, body=body, headers=headers)

    return send


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: put a token there") from error
