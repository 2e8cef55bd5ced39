"""`undertone-trust breach`, `oversight` and `stop lift`: the registers at the command line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from audit.terminal import FAILED, emit
from consent.options_cli import LOCAL, AsJson, Ca, Token, Url, ask, digest_of, second_of
from consent.register import Part, Risk, Told
from policies.vocabulary import Purpose

breach_app = typer.Typer(help="The breach register, with its clock.")
oversight_app = typer.Typer(help="Who oversees which use.")
lift_app = typer.Typer(help="Lift the stop switch: one proposes, another confirms.")

Document = Annotated[Path, typer.Option("--document", help="Its digest alone is registered.")]
Reason = Annotated[str | None, typer.Option("--reason", help="A word, like no-keys-exposed.")]


@breach_app.command("list")
def breaches(
    *, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Print all breaches with their clocks; exit 1 where one is overdue."""
    found = ask("breaches", token_file, url, ca)
    emit(found, as_json=as_json)
    if any(breach["overdue"] for breach in found):
        raise typer.Exit(FAILED)


@breach_app.command("register")
def register(
    *,
    document: Document,
    part: Annotated[Part, typer.Option("--part")],
    risk: Annotated[Risk, typer.Option("--risk")],
    known_at: Annotated[str | None, typer.Option("--known-at", help="UTC; now if absent.")] = None,
    reason: Reason = None,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Register a breach, notified or not; the clock runs from when it was known."""
    at = time.time() if known_at is None else second_of(known_at)
    said = {"known_at": at, "part": part, "risk": risk, "reason": reason}
    found = ask("breaches", token_file, url, ca, said | {"digest": digest_of(document)})
    emit(found, as_json=as_json)


@breach_app.command("told")
def told(
    *,
    breach: str,
    who: Told,
    document: Document,
    reason: Reason = None,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Record who was told; with a reason where it was late."""
    said = {"who": who, "digest": digest_of(document), "reason": reason}
    emit(ask(f"breaches/{breach}/told", token_file, url, ca, said), as_json=as_json)


@breach_app.command("assess")
def assess(
    *,
    breach: str,
    risk: Annotated[Risk, typer.Option("--risk")],
    reason: Reason = None,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Record the risk as it is seen now."""
    said = {"risk": risk, "reason": reason}
    emit(ask(f"breaches/{breach}/assessment", token_file, url, ca, said), as_json=as_json)


@breach_app.command("close")
def close(
    *, breach: str, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Close a breach; refused while somebody must still be told."""
    emit(ask(f"breaches/{breach}/closing", token_file, url, ca, {}), as_json=as_json)


@lift_app.command("propose")
def propose(*, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Propose to lift the stop; another must confirm within the hour."""
    emit(ask("stop/lift/proposal", token_file, url, ca, {}), as_json=as_json)


@lift_app.command("confirm")
def confirm(*, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Confirm what another proposed; `stop clear` then counts."""
    emit(ask("stop/lift/confirmation", token_file, url, ca, {}), as_json=as_json)


@oversight_app.command("list")
def oversight(
    *, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Print all appointments."""
    emit(ask("oversight", token_file, url, ca), as_json=as_json)


@oversight_app.command("appoint")
def appoint(
    *,
    person: str,
    purpose: Annotated[Purpose, typer.Option("--purpose")],
    since: Annotated[str, typer.Option("--from")],
    until: Annotated[str, typer.Option("--until")],
    document: Document,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Appoint a named person; the document states their competence."""
    said = {
        "person": person,
        "purpose": purpose,
        "since": second_of(since),
        "until": second_of(until),
        "competence": digest_of(document),
    }
    emit(ask("oversight", token_file, url, ca, said), as_json=as_json)


@oversight_app.command("end")
def end(
    *, appointment: str, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """End an appointment now."""
    emit(ask(f"oversight/{appointment}/end", token_file, url, ca, {}), as_json=as_json)


def reminders(
    *,
    within: Annotated[int, typer.Option("--within", help="Days ahead.", min=0, max=366)] = 7,
    record: Annotated[bool, typer.Option("--record", help="Log that you saw it.")] = False,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print what is due soon or overdue at the desk; exit 1 where anything is, for cron."""
    said = {"within_days": within} if record else None
    path = "reminders" if record else f"reminders?within_days={within}"
    found = ask(path, token_file, url, ca, said)
    emit(found, as_json=as_json)
    if found:
        raise typer.Exit(FAILED)
