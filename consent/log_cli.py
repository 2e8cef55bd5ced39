"""`undertone-trust verify`, `export`, `audit` and `checkpoint`: the log, offline and on line."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from audit.archive import Archive
from audit.auditor import Auditor
from audit.export import ExportFormat, export_log
from audit.receipt import checkpoint_in
from audit.signing import SigningKey, VerifyKey
from audit.terminal import Bookmark, CommandLine, Known, Sealed, emit, progress_bar, put
from audit.verify import verify_log
from audit.witnessing import write_cosignatures
from consent.errors import SettingsInvalid
from consent.options_cli import LOCAL, AsJson, Ca, Url, misuse_is_told
from consent.remote import call
from consent.retention_cli import verified_archive

checkpoint_app = typer.Typer(help="The log's checkpoints.", no_args_is_help=True)


def add_commands(app: CommandLine) -> None:
    """Add the commands of this module."""
    for command in (verify, export, audit):
        app.command()(command)
    app.add_typer(checkpoint_app, name="checkpoint")


def verify(
    *,
    log: Annotated[Path | None, typer.Option("--log", help="The log's database file.")] = None,
    key: Annotated[str, typer.Option("--key", help="The log's verify key.")],
    archive: Sealed = None,
    known: Known = None,
    bookmark: Bookmark = None,
    as_json: AsJson = False,
) -> None:
    """Verify a log offline, with its archive or that alone: every leaf, node and checkpoint."""
    with misuse_is_told():
        if log is None and archive is not None:
            emit(verified_archive(archive, VerifyKey.parse(key), known), as_json=as_json)
            return
        if log is None or not log.is_file():
            raise SettingsInvalid(f"--log {log} is not a file: give a log, or --archive")
        kept = None if known is None else checkpoint_in(known)
        with progress_bar("entries") as progress:
            verified = verify_log(
                log,
                VerifyKey.parse(key),
                progress=progress,
                known_checkpoint=kept,
                bookmark=bookmark,
                workers=os.cpu_count() or 1,
                archive=None if archive is None else Archive(archive, VerifyKey.parse(key)),
            )
        emit(
            {"verified": True, "size": verified.size, "root": verified.root.hex()}
            | ({"clock_back_at": list(verified.clock_back)} if verified.clock_back else {}),
            as_json=as_json,
        )


def export(
    *,
    log: Annotated[Path, typer.Option("--log", help="The log's database file, or a copy.")],
    key: Annotated[str, typer.Option("--key", help="The log's verify key.")],
    how: Annotated[ExportFormat, typer.Option("--format", help="What each line is.")],
    archive: Sealed = None,
) -> None:
    """Verify a log, then print its entries, a line each, for another system."""
    with misuse_is_told():
        if not log.is_file():
            raise SettingsInvalid(f"--log {log} is not a file")
        with progress_bar("entries") as progress:
            sealed = None if archive is None else Archive(archive, VerifyKey.parse(key))
            lines = export_log(log, VerifyKey.parse(key), how, progress=progress, archive=sealed)
        for line in lines:
            put(line)


def audit(
    *,
    log: Annotated[Path, typer.Option("--log", help="A copy of the log's database file.")],
    key: Annotated[str, typer.Option("--key", help="The log's verify key.")],
    own_key: Annotated[Path, typer.Option("--own-key", help="The auditor's signing key file.")],
    memory: Annotated[Path, typer.Option("--memory", help="What was cosigned before.")],
    archive: Sealed = None,
    as_json: AsJson = False,
) -> None:
    """Verify a copy, also against the last one, and cosign its newest checkpoint."""
    with misuse_is_told():
        if not log.is_file():
            raise SettingsInvalid(f"--log {log} is not a file")
        auditor = Auditor(memory, SigningKey.load(own_key), clock=time.time)
        with closing(auditor), progress_bar("entries") as progress:
            known = VerifyKey.parse(key)
            sealed = None if archive is None else Archive(archive, known)
            found = auditor.audit(log, known, progress=progress, archive=sealed)
        brought = write_cosignatures(found.size, [found.cosignature]).decode()
        emit(
            {"size": found.size, "checkpoint": found.note, "cosignatures": brought}
            if as_json
            else found.note + found.cosignature,
            as_json=as_json,
        )


@checkpoint_app.command("show")
def checkpoint_show(*, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the newest signed checkpoint."""
    with misuse_is_told():
        note = call(url, "/v1/checkpoint", ca=ca)
        emit({"checkpoint": note} if as_json else note, as_json=as_json)
