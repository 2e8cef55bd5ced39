"""`undertone-trust`: start the service, and speak to it as its officer, operator or a person.

Results go to stdout, diagnostics to stderr. Exit codes: 0 done, 1 refused or failed, 2 misuse
(arguments, settings, keys, certificates, a port that is taken).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from audit.archive import Archive
from audit.auditor import Auditor
from audit.errors import CertificateInvalid, KeyInvalid, ServeFailed
from audit.export import ExportFormat, export_log
from audit.export_spans import start_telemetry
from audit.portal.cli import staff_app
from audit.receipt import checkpoint_in
from audit.serve import serve as serve_app
from audit.signing import SigningKey, VerifyKey, seal
from audit.terminal import (
    FAILED,
    MISUSE,
    Bookmark,
    CommandLine,
    Known,
    Sealed,
    complain,
    emit,
    progress_bar,
)
from audit.verify import verify_log
from audit.witnessing import write_cosignatures
from consent.api import create_app
from consent.bundle_cli import bundles_app
from consent.errors import RequestInvalid, SettingsInvalid
from consent.evidence_cli import add_commands as add_evidence
from consent.notice import Decree, Dpia, Notice, Stop, check_decree, decree_to_body
from consent.open_api import OPEN_API
from consent.receipt_cli import receipt_app
from consent.register_cli import breach_app, lift_app, oversight_app
from consent.remote import call
from consent.retention_cli import archive_app, hold_app, retention_app, verified_archive
from consent.rights_cli import requests_app
from consent.service import TrustService
from consent.settings import TrustSettings
from policies.engine import PolicyEngine
from policies.errors import PolicyInvalid, RuleUnknown
from policies.profile import profile_page
from policies.remedy import remedy, remedy_to_dict, situation_from_dict
from policies.vocabulary import Purpose, RuleId
from policies.words import Language, rule_page, rule_pages

_MISUSE = (
    SettingsInvalid,
    RequestInvalid,
    RuleUnknown,
    PolicyInvalid,
    KeyInvalid,
    CertificateInvalid,
    ServeFailed,
)
_PATHS = {Notice: "/v1/notices", Dpia: "/v1/dpias", Stop: "/v1/stop"}

app = CommandLine(help="The consent and audit service.")
app.add_typer(receipt_app, name="receipt")
add_evidence(app)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Settings = Annotated[Path, typer.Option("--settings", help="The service's TOML file.")]
Url = Annotated[str, typer.Option("--url", help="The service's address.")]
Ca = Annotated[Path | None, typer.Option("--ca", help="Authority of its certificate.")]
OfficerKey = Annotated[Path, typer.Option("--key", help="The officer's signing key file.")]
LOCAL = "https://127.0.0.1:8443"


@contextmanager
def _misuse_is_told() -> Iterator[None]:
    """Answer misuse with one line on stderr and exit 2; other errors are the terminal's."""
    try:
        yield
    except _MISUSE as error:
        complain(f"{type(error).__name__}: {error}")
        raise typer.Exit(MISUSE) from error


# -- the service ------------------------------------------------------------------------


@app.command()
def serve(*, settings: Settings, as_json: AsJson = False) -> None:
    """Serve until stopped; one line on stdout says where."""
    with _misuse_is_told():
        loaded = TrustSettings.load(settings)
        if loaded.certificate is None or loaded.private_key is None:
            raise SettingsInvalid("certificate and private_key are needed: we serve over TLS only")
        start_telemetry("undertone-trust", loaded)
        with closing(TrustService(loaded, clock=time.time)) as service:
            key = str(service.key.verify_key)
            service.retention.start()
            serve_app(
                create_app(service),
                host=loaded.host,
                port=loaded.port,
                certificate=loaded.certificate,
                private_key=loaded.private_key,
                on_ready=lambda address: emit({"serving": address, "key": key}, as_json=as_json),
            )


@app.command()
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
    with _misuse_is_told():
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


@app.command()
def export(
    *,
    log: Annotated[Path, typer.Option("--log", help="The log's database file, or a copy.")],
    key: Annotated[str, typer.Option("--key", help="The log's verify key.")],
    how: Annotated[ExportFormat, typer.Option("--format", help="What each line is.")],
    archive: Sealed = None,
) -> None:
    """Verify a log, then print its entries, a line each, for another system."""
    with _misuse_is_told():
        if not log.is_file():
            raise SettingsInvalid(f"--log {log} is not a file")
        with progress_bar("entries") as progress:
            sealed = None if archive is None else Archive(archive, VerifyKey.parse(key))
            lines = export_log(log, VerifyKey.parse(key), how, progress=progress, archive=sealed)
        for line in lines:
            sys.stdout.write(line)


@app.command()
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
    with _misuse_is_told():
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


# -- keys and nodes -----------------------------------------------------------------------

key_app = typer.Typer(help="Signing keys.", no_args_is_help=True)
app.add_typer(key_app, name="key")


@key_app.command("create")
def key_create(*, name: str, file: Path, as_json: AsJson = False) -> None:
    """Make a signing key in a new file of mode 0600 and print its verify key."""
    with _misuse_is_told():
        key = SigningKey.generate(name)
        key.save(file)
        emit({"key": str(key.verify_key)}, as_json=as_json)


node_app = typer.Typer(help="Branch and device nodes.", no_args_is_help=True)
app.add_typer(node_app, name="node")


@node_app.command("enrol")
def node_enrol(
    *,
    node: str,
    company: Annotated[str, typer.Option("--company", help="Whose node it is.")],
    key: Annotated[str, typer.Option("--key", help="The node's verify key.")],
    admin_token_file: Annotated[Path, typer.Option("--admin-token-file")],
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Enrol a node, so that its signature counts."""
    with _misuse_is_told():
        body = json.dumps({"node": node, "company": company, "key": key}).encode()
        headers = {"Authorization": f"Bearer {_read(admin_token_file).strip()}"}
        emit(call(url, "/v1/nodes", ca=ca, body=body, headers=headers), as_json=as_json)


app.add_typer(staff_app(call, url=LOCAL), name="staff")
app.add_typer(retention_app, name="retention")
app.add_typer(archive_app, name="archive")
app.add_typer(hold_app, name="hold")


# -- the officer --------------------------------------------------------------------------

notice_app = typer.Typer(help="Notices to people.", no_args_is_help=True)
dpia_app = typer.Typer(help="Impact assessments.", no_args_is_help=True)
stop_app = typer.Typer(help="The stop switch.", no_args_is_help=True)
app.add_typer(notice_app, name="notice")
app.add_typer(dpia_app, name="dpia")
app.add_typer(stop_app, name="stop")
app.add_typer(bundles_app, name="bundles")

rules_app = typer.Typer(help="The rules.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")


def _decree(decree: Decree, key: Path, url: str, ca: Path | None, *, as_json: bool) -> None:
    with _misuse_is_told():
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
    material: Annotated[bool, typer.Option(help="Earlier consents no longer do.")] = False,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Publish a notice; each text must name emotion analysis."""
    with _misuse_is_told():
        texts = dict(_text(argument) for argument in text)
    notice = Notice(version=version, texts=texts, material=material, issued_at=time.time())
    _decree(notice, key, url, ca, as_json=as_json)


def _text(argument: str) -> tuple[str, str]:
    language, separator, file = argument.partition("=")
    if not separator:
        raise SettingsInvalid("--text takes LANGUAGE=FILE, for example en=notice.txt")
    return language, _read(Path(file))


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


# -- the rules ----------------------------------------------------------------------------


@rules_app.command("list")
def rules_list(
    *,
    profile: Annotated[str | None, typer.Option("--profile", help="A jurisdiction.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every rule that this version decides by, and every duty of its other parts.

    With a profile, print what a jurisdiction asks on top of them.
    """
    if profile is not None:
        with _misuse_is_told():
            emit(profile_page(profile), as_json=as_json)
        return
    pages = rule_pages()
    short = ("rule", "kind", "source", "sentence")
    emit(pages if as_json else [{n: p[n] for n in short} for p in pages], as_json=as_json)


@rules_app.command("show")
def rules_show(
    *,
    rule: str,
    language: Annotated[Language, typer.Option("--language")] = Language.ENGLISH,
    as_json: AsJson = False,
) -> None:
    """Print one rule: words for officer and customer, source and date."""
    with _misuse_is_told():
        page = rule_page(RuleId(rule))
        if not as_json and "words" in page:
            words = page.pop("words")
            page |= {f"to the {reader}": said[language] for reader, said in words.items()}
        emit(page, as_json=as_json)


@rules_app.command("what-if")
def rules_what_if(
    *,
    situation: Annotated[Path, typer.Argument(help="JSON: request, standing, governance, now.")],
    as_json: AsJson = False,
) -> None:
    """Say whether a use would be allowed, and what would make it so; nothing is recorded."""
    with _misuse_is_told():
        try:
            value = json.loads(_read(situation))
        except ValueError as error:
            raise SettingsInvalid(f"{situation} is not JSON") from error
        found = remedy(PolicyEngine.load(), situation_from_dict(value))
        emit(remedy_to_dict(found), as_json=as_json)


# -- people and everybody -----------------------------------------------------------------


app.add_typer(requests_app, name="requests")
app.add_typer(breach_app, name="breach")
app.add_typer(oversight_app, name="oversight")
stop_app.add_typer(lift_app, name="lift")


@app.command()
def withdraw(
    *,
    token: Annotated[str, typer.Option("--token", help="The manage token of the receipt.")],
    purpose: Annotated[Purpose | None, typer.Option("--purpose")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Erase all.")] = False,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw one purpose, or everything; no question is asked."""
    with _misuse_is_told():
        if (purpose is None) != everything:
            raise RequestInvalid("say --purpose PURPOSE, or --everything to erase all")
        body = json.dumps({"manage_token": token, "purpose": purpose}).encode()
        receipt = call(url, "/v1/withdrawals", ca=ca, body=body)
        emit(receipt if as_json else {"withdrawn": receipt["record"]}, as_json=as_json)


checkpoint_app = typer.Typer(help="The log's checkpoints.", no_args_is_help=True)
app.add_typer(checkpoint_app, name="checkpoint")


@checkpoint_app.command("show")
def checkpoint_show(*, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the newest signed checkpoint."""
    with _misuse_is_told():
        note = call(url, "/v1/checkpoint", ca=ca)
        emit({"checkpoint": note} if as_json else note, as_json=as_json)


@app.command("openapi")
def open_api(
    *,
    admin_token_file: Annotated[
        Path, typer.Option("--admin-token-file", help="The admin token, or a token of staff.")
    ],
    url: Url = LOCAL,
    ca: Ca = None,
) -> None:
    """Print the service's own description (OpenAPI), as JSON."""
    with _misuse_is_told():
        headers = {"Authorization": f"Bearer {_read(admin_token_file).strip()}"}
        emit(call(url, OPEN_API, ca=ca, headers=headers), as_json=True)


@app.command()
def status(*, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the service's health; exit 1 on an alarm."""
    with _misuse_is_told():
        health = call(url, "/healthz", ca=ca)
        emit(health, as_json=as_json)
        if health["alarms"]:
            raise typer.Exit(FAILED)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read as text") from error


if __name__ == "__main__":
    app()
