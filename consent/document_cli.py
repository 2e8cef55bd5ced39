"""`undertone-trust documents`: what an authority asks for, generated, approved, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.terminal import FAILED, emit, put
from consent.documents import Name
from consent.errors import SettingsInvalid
from consent.options_cli import LOCAL, AsJson, Ca, Token, Url, ask, misuse_is_told

documents_app = typer.Typer(help="Documents for an authority, generated from the live system.")

Which = Annotated[Name, typer.Argument(help="Which document.")]
_FORMS = {
    ".pdf": "pdf",
    ".html": "html",
    ".md": "markdown",
    ".json": "json",
    ".jsonld": "json-ld",
}


@documents_app.command("list")
def every(*, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print each document and how its approval stands; exit 1 where one is not approved."""
    found = ask("documents", token_file, url, ca)
    emit(found if as_json else [_row(one) for one in found], as_json=as_json)
    if not all(one["approval"]["approved"] for one in found):
        raise typer.Exit(FAILED)


@documents_app.command("show")
def show(
    *, name: Which, token_file: Token, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Print a document as the system is now, with what it lacks and who approved it."""
    path = f"documents/{name}" + ("" if as_json else "?format=markdown")
    found = ask(path, token_file, url, ca)
    if as_json:
        emit(found, as_json=True)
    else:
        put(str(found))


@documents_app.command("approve")
def approve(
    *,
    name: Which,
    digest: Annotated[str, typer.Option("--digest", help="Of the document as you read it.")],
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Approve a document as you read it, in the name that your token is of."""
    found = ask(f"documents/{name}/approval", token_file, url, ca, {"digest": digest})
    emit(found, as_json=as_json)


@documents_app.command("export")
def export(
    *,
    name: Which,
    to: Annotated[Path, typer.Argument(help=f"A new file: {', '.join(_FORMS)}.")],
    token_file: Token,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Write a document into a new file."""
    with misuse_is_told():
        form = _FORMS.get(to.suffix)
        if form is None:
            raise SettingsInvalid(f"{to.name}: name a file that ends in {', '.join(_FORMS)}")
        found = ask(f"documents/{name}?format={form}", token_file, url, ca)
        try:
            with to.open("xb") as file:
                file.write(_written(found))
        except OSError as error:
            raise SettingsInvalid(f"{to.name} cannot be written as a new file") from error
    emit({"written": str(to), "format": form}, as_json=as_json)


def _written(found: Any) -> bytes:
    if isinstance(found, bytes):
        return found
    text = found if isinstance(found, str) else json.dumps(found, indent=1) + "\n"
    return text.encode()


def _row(one: dict[str, Any]) -> dict[str, Any]:
    approval = one["approval"]
    return {
        "name": one["name"],
        "approved": approval["approved"],
        "waits_for": ", ".join(approval["waits_for"]) or "nobody",
        "changed": ", ".join(approval["changed"]) or "nothing",
        "missing": len(one["missing"]),
        "digest": one["digest"],
    }
