"""`undertone-trust requests`: the desk of people's requests, at the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from audit.terminal import FAILED, emit
from consent.options_cli import LOCAL, AsJson, Ca, Token, Url, ask, misuse_is_told, read_text
from consent.rights import Extension, Identity, Outcome, Refusal, Right, Way

requests_app = typer.Typer(help="People's requests: who is due, and what each lacks.")

ByWay = Annotated[Way, typer.Option("--way", help="By which way they were told or asked.")]
Id = Annotated[str, typer.Argument(help="The request's id.")]
_SHORT = ("request", "right", "due", "days_left", "paused", "missing")


def _ask(path: str, token: Path, url: str, ca: Path | None, said: Any = None) -> Any:
    return ask(f"requests{path}", token, url, ca, said)


@requests_app.command("due")
def due(*, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the open requests, the most urgent first; exit 1 where one is overdue."""
    found = _ask("", token_file, url, ca)
    emit(found if as_json else [{n: r[n] for n in _SHORT} for r in found], as_json=as_json)
    if any(request["overdue"] for request in found):
        raise typer.Exit(FAILED)


@requests_app.command("list")
def every(*, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print all requests, closed ones too."""
    emit(_ask("?all=true", token_file, url, ca), as_json=as_json)


@requests_app.command("show")
def show(
    *, request: Id, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Print one request: its clock, its evidence, what it lacks."""
    emit(_ask(f"/{request}", token_file, url, ca), as_json=as_json)


@requests_app.command("open")
def opened(
    *,
    right: Right,
    company: Annotated[str, typer.Option("--company")],
    subject: Annotated[str, typer.Option("--subject", help="The person's pseudonym.")],
    token_file: Token,
    jurisdiction: Annotated[str, typer.Option("--jurisdiction")] = "EU",
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Take in a request that came by letter or by word."""
    said = {"right": right, "company": company, "subject": subject, "jurisdiction": jurisdiction}
    emit(_ask("", token_file, url, ca, said), as_json=as_json)


@requests_app.command("ask-identity")
def ask_identity(
    *,
    request: Id,
    way: ByWay,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Ask who it is; the clock stands still until that is known."""
    emit(_ask(f"/{request}/identity-asked", token_file, url, ca, {"way": way}), as_json=as_json)


@requests_app.command("confirm-identity")
def confirm_identity(
    *,
    request: Id,
    method: Annotated[Identity, typer.Option("--method", help="How, never what was shown.")],
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Record how the person was known, and begin."""
    emit(_ask(f"/{request}/identity", token_file, url, ca, {"method": method}), as_json=as_json)


@requests_app.command("extend")
def extend(
    *,
    request: Id,
    reason: Annotated[Extension, typer.Option("--reason")],
    way: ByWay,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Take the two further months, for a reason that the person was told."""
    said = {"reason": reason, "way": way}
    emit(_ask(f"/{request}/extension", token_file, url, ca, said), as_json=as_json)


@requests_app.command("decide")
def decide(
    *,
    request: Id,
    outcome: Annotated[str, typer.Option("--outcome", help="upheld, changed or overturned")],
    reasons: Annotated[Path, typer.Option("--reasons", help="A file, in words for the person.")],
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Record your decision on review, with its reasons."""
    with misuse_is_told():
        said = {"outcome": outcome, "reasons": read_text(reasons).strip()}
    emit(_ask(f"/{request}/decision", token_file, url, ca, said), as_json=as_json)


@requests_app.command("facts")
def facts(
    *, request: Id, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Print the facts of a review, and the person's own view, before you decide."""
    emit(_ask(f"/{request}/facts", token_file, url, ca), as_json=as_json)


@requests_app.command("deliver")
def deliver(
    *,
    request: Id,
    way: ByWay,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Record that the person has the answer."""
    emit(_ask(f"/{request}/delivery", token_file, url, ca, {"way": way}), as_json=as_json)


@requests_app.command("close")
def close(
    *,
    request: Id,
    refused: Annotated[Refusal | None, typer.Option("--refused", help="Why, if refused.")] = None,
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Close a request; refused while its evidence is not there."""
    outcome = Outcome.DONE if refused is None else Outcome.REFUSED
    said = {"outcome": outcome, "reason": refused}
    emit(_ask(f"/{request}/closing", token_file, url, ca, said), as_json=as_json)


@requests_app.command("letter")
def letter(
    *,
    request: Id,
    name: Annotated[str, typer.Argument(help="received, identity, extended, erased, ...")],
    language: Annotated[str, typer.Option("--language")] = "en",
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print a letter to the person."""
    found = _ask(f"/{request}/letters/{name}?language={language}", token_file, url, ca)
    emit(found if as_json else found["letter"], as_json=as_json)
