"""`undertone-trust receipt`: what somebody who holds a receipt can do with it, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.errors import KeyInvalid
from audit.key_cli import History, keys_from
from audit.signing import VerifyKey
from audit.terminal import MISUSE, complain, emit
from consent.taken import MOST_BYTES, verify_taken

receipt_app = typer.Typer(help="Receipts that people hold.", no_args_is_help=True)


@receipt_app.callback()
def _receipts() -> None:
    """Stand above the verbs."""


@receipt_app.command("verify")
def verify(
    *,
    file: Annotated[Path, typer.Argument(help="The receipt, as it was given.")],
    key: Annotated[str, typer.Option("--key", help="The trust service's verify key.")],
    keys: History = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Verify one receipt offline, and say in plain words what holds."""
    try:
        known = VerifyKey.parse(key)
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except (KeyInvalid, OSError) as error:
        what = f"{file} cannot be read" if isinstance(error, OSError) else f"--key: {error}"
        complain(what)
        raise typer.Exit(MISUSE) from error
    holds = verify_taken(data, keys_from(known, keys))
    found = {
        "verified": True,
        "record": holds.record,
        "log_index": holds.log_index,
        "receipt_digest": holds.receipt_digest,
        "holds": holds.sentences(),
    }
    emit(found if as_json else "\n".join(holds.sentences()), as_json=as_json)
