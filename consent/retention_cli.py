"""`undertone-trust retention`, `archive` and `hold`: what is kept, sealed, and held back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.archive import Archive, verify_archive
from audit.errors import KeyInvalid, RetentionInvalid
from audit.events import EventKind
from audit.hold import HoldReason
from audit.keys import VerifyKey
from audit.receipt import checkpoint_in
from audit.retention_policy import load_retention, policy_to_dict
from audit.terminal import FAILED, MISUSE, Known, complain, emit, progress_bar
from consent.errors import SettingsInvalid
from consent.options_cli import LOCAL, AsJson, Ca, Token, Url
from consent.staff_call import staff_call

retention_app = typer.Typer(help="How long what lies beside the log is kept.")
archive_app = typer.Typer(help="Old entries, sealed in a folder of their own.")
hold_app = typer.Typer(help="Legal holds: placed by two, lifted by two.")
lift_app = typer.Typer(help="Lift a hold: one proposes, another confirms.")
hold_app.add_typer(lift_app, name="lift")

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Folder = Annotated[Path, typer.Option("--archive", help="The archive's folder, or a copy.")]
Key = Annotated[str, typer.Option("--key", help="The log's verify key.")]
Review = Annotated[str, typer.Option("--review", help="The day it is looked at again, UTC.")]


_SHOWN = ("hold", "reason", "in_force", "proposed_by", "confirmed_by", "review_overdue")


def _ask(path: str, token: Path, url: str, ca: Path | None, said: Any = None) -> Any:
    try:
        return staff_call(f"/v1/desk/{path}", token_file=token, url=url, ca=ca, said=said)
    except SettingsInvalid as error:
        _misuse(str(error), error)


def _misuse(words: str, error: Exception | None = None) -> Any:
    complain(words)
    raise typer.Exit(MISUSE) from error


def _second(day: str) -> float:
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        return float(_misuse("expected a day or time in UTC, like 2027-01-31", error))


def _key(text: str) -> VerifyKey:
    try:
        return VerifyKey.parse(text)
    except KeyInvalid as error:
        complain(f"--key: {error}")
        raise typer.Exit(MISUSE) from error


# -- retention ----------------------------------------------------------------------------


@retention_app.command("show")
def show(*, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the policy in force, the last run, and what is due; exit 1 where the last failed."""
    found = _ask("retention", token_file, url, ca)
    if as_json:
        emit(found, as_json=True)
    else:
        periods = found["policy"]["periods"]
        emit([{k: p[k] for k in ("name", "days", "purpose")} for p in periods], as_json=False)
        emit({k: v for k, v in found.items() if k != "policy"}, as_json=False)
    if found["failure"]:
        raise typer.Exit(FAILED)


@retention_app.command("check")
def check(
    file: Annotated[Path | None, typer.Argument(help="A policy; without one what ships.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say whether a policy would be accepted, offline."""
    try:
        emit(policy_to_dict(load_retention(file)), as_json=as_json)
    except RetentionInvalid as error:
        complain(f"RetentionInvalid: {error}")
        raise typer.Exit(FAILED) from error


@retention_app.command("run")
def run(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Yes = False,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Remove now what is due: payloads and salts, for good; the log's proofs stay."""
    if not dry_run and not yes:
        due = _ask("retention/run", token_file, url, ca, {"dry_run": True})
        typer.confirm(f"Remove the payloads of {due['entries']} entries?", abort=True, err=True)
    emit(_ask("retention/run", token_file, url, ca, {"dry_run": dry_run}), as_json=as_json)


# -- the archive --------------------------------------------------------------------------


@archive_app.command("make")
def make(
    *,
    drop: Annotated[
        bool, typer.Option("--drop", help="Then drop from the live store what is verified there.")
    ] = False,
    yes: Yes = False,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Seal what is old enough, segment by segment; stopped anywhere, do it again."""
    if drop and not yes:
        typer.confirm("Drop what the archive holds from the live store?", abort=True, err=True)
    segments = 0
    with progress_bar("entries") as progress:
        while True:
            step = _ask("archive/segments", token_file, url, ca, {})
            if step["sealed"] is None:
                break
            segments += 1
            progress(step["sealed_until"], max(step["due"], step["sealed_until"]))
    found = {"segments": segments, "sealed_until": step["sealed_until"]}
    if drop:
        found |= _ask("archive/drop", token_file, url, ca, {})
    emit(found, as_json=as_json)


@archive_app.command("list")
def listed(*, archive: Folder, key: Key, as_json: AsJson = False) -> None:
    """List the segments of an archive, signatures checked, offline."""
    rows = [
        {
            "start": segment.start,
            "end": segment.end,
            "root": segment.root.hex(),
            "manifest": segment.digest,
            "objects": len(segment.objects),
        }
        for segment in Archive(archive, _key(key)).segments()
    ]
    emit(rows if rows or as_json else "the archive holds nothing yet", as_json=as_json)


@archive_app.command("verify")
def verify(*, archive: Folder, key: Key, known: Known = None, as_json: AsJson = False) -> None:
    """Verify an archive alone, offline: every file, entry, tile, manifest and proof."""
    emit(verified_archive(archive, _key(key), known), as_json=as_json)


def verified_archive(folder: Path, key: VerifyKey, known: Path | None) -> dict[str, Any]:
    """Verify an archive alone, with a progress bar; return what is said of it.

    Raises:
        LogTampered, EvidenceUnavailable, EntryMissing: As in `audit.archive.verify_archive`.
    """
    kept = None if known is None else checkpoint_in(known)
    with progress_bar("entries") as progress:
        found = verify_archive(Archive(folder, key), key, progress=progress, known_checkpoint=kept)
    return {
        "verified": True,
        "size": found.size,
        "root": found.root.hex(),
        "segments": found.segments,
    }


# -- legal holds --------------------------------------------------------------------------


@hold_app.command("list")
def holds(*, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print all holds; exit 1 where one is overdue for review."""
    found = _ask("holds", token_file, url, ca)
    rows = [{name: hold[name] for name in _SHOWN} | _day_of_review(hold) for hold in found]
    shown = found if as_json else rows or "no hold was ever placed"
    emit(shown, as_json=as_json)
    if any(hold["review_overdue"] for hold in found):
        raise typer.Exit(FAILED)


@hold_app.command("place")
def place(
    *,
    reason: Annotated[HoldReason, typer.Option("--reason")],
    review: Review,
    since: Annotated[str | None, typer.Option("--from", help="Entries from then on; UTC.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Entries before; UTC.")] = None,
    kind: Annotated[list[EventKind] | None, typer.Option("--kind", help="May repeat.")] = None,
    subject_file: Annotated[
        Path | None, typer.Option("--subject-file", help="A file with one person's pseudonym.")
    ] = None,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Propose a hold; it holds at once, and lapses in a day unless another confirms it."""
    said = {
        "reason": reason,
        "review_at": _second(review),
        "since": None if since is None else _second(since),
        "until": None if until is None else _second(until),
        "kinds": list(kind or ()),
        "subject": None if subject_file is None else _subject(subject_file),
    }
    emit(_ask("holds", token_file, url, ca, said), as_json=as_json)


@hold_app.command("confirm")
def confirm(
    *, hold: str, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Confirm a hold that another proposed."""
    emit(_ask(f"holds/{hold}/confirmation", token_file, url, ca, {}), as_json=as_json)


@hold_app.command("review")
def reviewed(
    *,
    hold: str,
    review: Review,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Record that a hold is still needed, and when it is looked at again."""
    said = {"review_at": _second(review)}
    emit(_ask(f"holds/{hold}/review", token_file, url, ca, said), as_json=as_json)


@lift_app.command("propose")
def propose_lift(
    *, hold: str, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Propose to lift a hold; another must confirm within the hour."""
    emit(_ask(f"holds/{hold}/lift/proposal", token_file, url, ca, {}), as_json=as_json)


@lift_app.command("confirm")
def confirm_lift(
    *,
    hold: str,
    yes: Yes = False,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Lift a hold that another proposed to lift; erasures that it had stopped are done."""
    if not yes:
        typer.confirm(f"Lift hold {hold}?", abort=True, err=True)
    emit(_ask(f"holds/{hold}/lift/confirmation", token_file, url, ca, {}), as_json=as_json)


def _day_of_review(hold: dict[str, Any]) -> dict[str, str]:
    return {"review": datetime.fromtimestamp(hold["review_at"], UTC).date().isoformat()}


def _subject(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        return str(_misuse(f"--subject-file {path.name} cannot be read", error))
