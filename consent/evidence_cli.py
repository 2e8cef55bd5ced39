"""`undertone-trust trace` and `verify-statement`: what anybody checks offline with public keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from audit.archive import Archive
from audit.copied_log import copied_log
from audit.errors import KeyInvalid
from audit.key_cli import History, keys_app, keys_from
from audit.keys import VerifyKey
from audit.statement import verify_statement
from audit.terminal import MISUSE, CommandLine, Sealed, complain, emit
from audit.trace_cli import print_trace
from audit.verify import verify_log
from consent.remote import call
from consent.settings import TrustSettings

Log = Annotated[Path, typer.Option("--log", help="The log's database file, or a copy.")]
Key = Annotated[str, typer.Option("--key", help="The log's verify key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with leaves and receipts.")]


def add_commands(app: CommandLine) -> None:
    """Add the commands of this module."""
    app.add_typer(keys_app(_send), name="keys")
    app.command("trace")(trace)
    app.command("verify-statement")(verify_statement_file)


def trace(
    decision: str, *, log: Log, key: Key, archive: Sealed = None, as_json: AsJson = False
) -> None:
    """Verify a log, and trace a decision in it to all it rests on; any of the three logs."""
    _check_file("--log", log)
    print_trace(log, _key(key), decision, archive=archive, as_json=as_json)


def verify_statement_file(
    statement: Annotated[Path, typer.Argument(help="What the node gave to the person.")],
    *,
    key: Key,
    log: Annotated[
        Path | None, typer.Option("--log", help="A copy of the node's log: was all shown?")
    ] = None,
    history: History = None,
    batch_key: Annotated[
        list[str] | None, typer.Option("--batch-key", help="Opened to an auditor; hexadecimal.")
    ] = None,
    archive: Sealed = None,
    as_json: AsJson = False,
) -> None:
    """Verify offline whether somebody was in a round, with the node's public key alone."""
    _check_file("STATEMENT", statement)
    known, opened = _key(key), [_hex(text) for text in batch_key or ()]
    if log is None:
        log_keys = keys_from(known, history)
        found = verify_statement(
            statement.read_bytes(), known, batch_keys=opened, log_keys=log_keys
        )
    else:
        _check_file("--log", log)
        sealed = None if archive is None else Archive(archive, known)
        verified = verify_log(log, known, archive=sealed).keys
        with copied_log(log, verified, archive=sealed) as copy:
            found = verify_statement(
                statement.read_bytes(),
                known,
                leaves=copy.leaves(),
                batch_keys=opened,
                log_keys=verified,
            )
    emit(
        {
            "answer": found.answer.value,
            "subject": found.subject,
            "run": found.run,
            "round": found.round_number,
            "log": found.origin,
            "entries": list(found.entries),
            "all_batches_of_the_round": log is not None,
            "leaf_opened_by_key": found.bound,
        },
        as_json=as_json,
    )


def _send(settings: Path, ca: Path | None, path: str, body: bytes | None) -> Any:
    loaded = TrustSettings.load(settings)
    headers = {
        "Authorization": f"Bearer {loaded.admin_token()}",
        "Content-Type": "application/json",
    }
    host = "127.0.0.1" if loaded.host == "0.0.0.0" else loaded.host  # noqa: S104 (read, not bound)
    return call(f"https://{host}:{loaded.port}", path, ca=ca, body=body, headers=headers)


def _check_file(name: str, path: Path) -> None:
    if not path.is_file():
        complain(f"{name} {path} is not a file")
        raise typer.Exit(MISUSE)


def _key(text: str) -> VerifyKey:
    try:
        return VerifyKey.parse(text)
    except KeyInvalid as error:
        complain(f"--key: {error}")
        raise typer.Exit(MISUSE) from error


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        complain("--batch-key: expected hexadecimal digits")
        raise typer.Exit(MISUSE) from error
