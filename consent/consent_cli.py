"""`undertone-trust consent`: ask, confirm, object, restrict, and see how many run out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from audit.terminal import emit
from consent.options_cli import LOCAL, AsJson, Ca, Url, misuse_is_told, read_text
from consent.person_cli import invite, object_to, restrict
from consent.remote import call
from consent.staff_call import staff_call

consent_app = typer.Typer(help="People's consents.", no_args_is_help=True)
consent_app.command("invite")(invite)
consent_app.command("object")(object_to)
consent_app.command("restrict")(restrict)


@consent_app.command("confirm")
def confirm(
    *,
    token_file: Annotated[Path, typer.Option("--token-file", help="The confirmation token.")],
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Confirm a yes by the token that was sent elsewhere; print the receipt."""
    with misuse_is_told():
        token = read_text(token_file).strip()
        body = json.dumps({"confirmation_token": token}).encode()
        taken = call(url, "/v1/confirmations", ca=ca, body=body)
        emit(taken if as_json else {"confirmed": taken["record"]}, as_json=as_json)


@consent_app.command("expiring")
def expiring(
    *,
    token_file: Annotated[Path, typer.Option("--token-file", help="Your own staff token.")],
    within_days: Annotated[int, typer.Option("--within-days", min=1, max=365)] = 30,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print how many consents run out soon, by company and purpose; of nobody in person."""
    with misuse_is_told():
        path = f"/v1/desk/expiring-consents?within_days={within_days}"
        found = staff_call(path, token_file=token_file, url=url, ca=ca)
        emit(found if as_json else found or "no consent runs out", as_json=as_json)
