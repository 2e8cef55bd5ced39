"""What a person does by their manage token, at the command line; and how a branch asks them.

`consent object`, `restrict` and `confirm` need nothing but the token that came with the receipt. An
invitation is the company's: it is signed with a node's key, like everything that names a pseudonym.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.signing import SigningKey, sign_request
from audit.terminal import emit
from consent.capture import Channel
from consent.errors import RequestInvalid
from consent.options_cli import LOCAL, AsJson, Ca, Url, misuse_is_told, read_text
from consent.remote import call
from policies.vocabulary import AgeBand, Modality, Purpose

TokenFile = Annotated[Path, typer.Option("--token-file", help="Your manage token.")]
Purposes = Annotated[list[Purpose], typer.Option("--purpose", help="May be given again.")]


def object_to(
    *,
    purpose: Purposes,
    token_file: TokenFile,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Object to purposes; nothing is asked, and it stays so."""
    said = {"purposes": sorted(set(purpose))}
    taken = _as_person("/v1/objections", said, token_file, url, ca)
    emit(taken if as_json else {"objected": taken["record"]}, as_json=as_json)


def restrict(
    *,
    token_file: TokenFile,
    lift: Annotated[bool, typer.Option("--lift", help="Lift it again.")] = False,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Let everything about you be kept and not used; --lift ends that."""
    taken = _as_person("/v1/restrictions", {"restricted": not lift}, token_file, url, ca)
    emit(taken if as_json else {"restricted": not lift, "record": taken["record"]}, as_json=as_json)


def invite(
    *,
    key: Annotated[Path, typer.Option("--key", help="The signing key of an enrolled node.")],
    subject: Annotated[str, typer.Option("--subject", help="The customer's pseudonym.")],
    purpose: Purposes,
    notice_version: Annotated[int, typer.Option("--notice", min=1)],
    valid_days: Annotated[int, typer.Option("--valid-days", min=1, max=730)],
    channel: Annotated[Channel, typer.Option("--channel")] = Channel.KIOSK,
    modality: Annotated[list[Modality] | None, typer.Option("--modality")] = None,
    age: Annotated[AgeBand, typer.Option("--age")] = AgeBand.UNKNOWN,
    minutes: Annotated[int, typer.Option("--minutes", min=1)] = 15,
    confirm_hours: Annotated[
        int | None, typer.Option("--confirm-hours", help="The yes counts once it is confirmed.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Write the page's code here, as SVG.")
    ] = None,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Ask a customer by a page, where the rules allow asking now; print where it is."""
    said = {
        "subject": subject,
        "purposes": sorted(set(purpose)),
        "modalities": sorted(set(modality or [Modality.TEXT])),
        "notice_version": notice_version,
        "valid_days": valid_days,
        "channel": channel,
        "age": age,
        "minutes": minutes,
        "confirm_hours": confirm_hours,
    }
    path = "/v1/invitations"
    with misuse_is_told():
        body = json.dumps(said).encode()
        signing = SigningKey.load(key)
        headers = sign_request(signing, method="POST", path=path, body=body, now=time.time())
        taken = call(url, path, ca=ca, body=body, headers=headers)
        page = f"/consent/{taken['invitation_token']}"
        if picture is not None:
            _write(picture, call(url, f"{page}/code.svg", ca=ca))
    shown = {"page": url + page, "until": taken["until"], "record": taken["record"]}
    emit(taken | {"page": url + page} if as_json else shown, as_json=as_json)


def _as_person(
    path: str, said: dict[str, Any], token_file: Path, url: str, ca: Path | None
) -> dict[str, Any]:
    with misuse_is_told():
        token = read_text(token_file).strip()
        body = json.dumps({"manage_token": token} | said).encode()
        taken: dict[str, Any] = call(url, path, ca=ca, body=body)
    return taken


def _write(path: Path, drawn: str) -> None:
    try:
        path.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise RequestInvalid(f"--picture {path} cannot be written") from error
