"""`undertone-trust notice`, `dpia` and `stop`: what the officer seals with a key of their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from audit.signing import SigningKey, seal
from audit.terminal import emit
from consent.errors import SettingsInvalid
from consent.notice import Decree, Dpia, Notice, Stop, check_decree, decree_to_body
from consent.options_cli import LOCAL, AsJson, Ca, OfficerKey, Url, misuse_is_told, read_text
from consent.register_cli import lift_app
from consent.remote import call
from policies.vocabulary import Purpose

_PATHS = {Notice: "/v1/notices", Dpia: "/v1/dpias", Stop: "/v1/stop"}

notice_app = typer.Typer(help="Notices to people.", no_args_is_help=True)
dpia_app = typer.Typer(help="Impact assessments.", no_args_is_help=True)
stop_app = typer.Typer(help="The stop switch.", no_args_is_help=True)
stop_app.add_typer(lift_app, name="lift")


def _decree(decree: Decree, key: Path, url: str, ca: Path | None, *, as_json: bool) -> None:
    with misuse_is_told():
        check_decree(decree)
        kind, body = decree_to_body(decree)
        envelope = seal(kind, body, SigningKey.load(key))
        emit(call(url, _PATHS[type(decree)], ca=ca, body=envelope), as_json=as_json)


@notice_app.command("publish")
def notice_publish(
    *,
    version: Annotated[int, typer.Option("--version", min=1)],
    text: Annotated[list[str], typer.Option("--text", help="LANGUAGE=FILE; may be repeated.")],
    key: OfficerKey,
    short: Annotated[
        list[str] | None, typer.Option("--short", help="LANGUAGE=FILE: the first layer.")
    ] = None,
    material: Annotated[bool, typer.Option(help="Earlier consents no longer do.")] = False,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Publish a notice; each text must name emotion analysis."""
    with misuse_is_told():
        texts = dict(_text(argument) for argument in text)
        layer = dict(_text(argument) for argument in short or [])
    notice = Notice(
        version=version, texts=texts, material=material, issued_at=time.time(), short=layer
    )
    _decree(notice, key, url, ca, as_json=as_json)


@notice_app.command("show")
def notice_show(
    *,
    version: Annotated[int, typer.Option("--version", min=1)],
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print a published notice: both layers, languages and digests."""
    with misuse_is_told():
        emit(call(url, f"/v1/notices/{version}", ca=ca), as_json=as_json)


def _text(argument: str) -> tuple[str, str]:
    language, separator, file = argument.partition("=")
    if not separator:
        raise SettingsInvalid("--text takes LANGUAGE=FILE, for example en=notice.txt")
    return language, read_text(Path(file))


@dpia_app.command("approve")
def dpia_approve(
    *,
    dpia: Annotated[str, typer.Option("--dpia", help="Its id.")],
    purpose: Annotated[list[Purpose], typer.Option("--purpose", help="May be repeated.")],
    mitigation: Annotated[list[str], typer.Option("--mitigation", help="May be repeated.")],
    by: Annotated[str, typer.Option("--by", help="Who approves.")],
    key: OfficerKey,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Approve an impact assessment for purposes; it replaces an earlier one of that id."""
    approved = Dpia(
        dpia=dpia,
        purposes=frozenset(purpose),
        mitigations=tuple(mitigation),
        approved_by=by,
        issued_at=time.time(),
    )
    _decree(approved, key, url, ca, as_json=as_json)


@stop_app.command("set")
def stop_set(
    *,
    by: Annotated[str, typer.Option("--by", help="Who stops.")],
    key: OfficerKey,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Stop every use at every node."""
    _decree(Stop(stopped=True, by=by, issued_at=time.time()), key, url, ca, as_json=as_json)


@stop_app.command("clear")
def stop_clear(
    *,
    by: Annotated[str, typer.Option("--by", help="Who lets it go on.")],
    key: OfficerKey,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Let uses go on, once two people agreed (`stop lift propose`, `stop lift confirm`)."""
    if not yes:
        typer.confirm("Clear the stop switch?", abort=True, err=True)
    _decree(Stop(stopped=False, by=by, issued_at=time.time()), key, url, ca, as_json=as_json)
