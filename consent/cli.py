"""`undertone-trust`: start the service, and speak to it as its officer, operator or a person.

Results go to stdout, diagnostics to stderr. Exit codes: 0 done, 1 refused or failed, 2 misuse
(arguments, settings, keys, certificates, a port that is taken).
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from audit.export_spans import start_telemetry
from audit.portal.cli import sign_on_app, staff_app
from audit.serve import serve as serve_app
from audit.terminal import FAILED, CommandLine, complain, emit
from consent.api import create_app
from consent.bundle_cli import bundles_app
from consent.consent_cli import consent_app
from consent.document_cli import documents_app
from consent.errors import RequestInvalid, SettingsInvalid
from consent.evidence_cli import add_commands as add_evidence
from consent.live_system import live_of
from consent.log_cli import add_commands as add_log
from consent.node_cli import key_app, node_app
from consent.officer_cli import dpia_app, notice_app, stop_app
from consent.open_api import OPEN_API
from consent.options_cli import LOCAL, AsJson, Ca, Settings, Url, misuse_is_told, read_text
from consent.receipt_cli import receipt_app
from consent.register_cli import breach_app, oversight_app, reminders
from consent.remote import call
from consent.retention_cli import archive_app, hold_app, retention_app
from consent.rights_cli import requests_app
from consent.ropa import ropa_gaps
from consent.rules_cli import rules_app
from consent.service import TrustService
from consent.settings import TrustSettings
from policies.vocabulary import Purpose

app = CommandLine(help="The consent and audit service.")
for _name, _app in {
    "receipt": receipt_app,
    "consent": consent_app,
    "key": key_app,
    "node": node_app,
    "staff": staff_app(call, url=LOCAL),
    "sign-on": sign_on_app(call, url=LOCAL),
    "retention": retention_app,
    "archive": archive_app,
    "hold": hold_app,
    "notice": notice_app,
    "dpia": dpia_app,
    "stop": stop_app,
    "bundles": bundles_app,
    "rules": rules_app,
    "requests": requests_app,
    "breach": breach_app,
    "oversight": oversight_app,
    "documents": documents_app,
}.items():
    app.add_typer(_app, name=_name)
add_evidence(app)
app.command("reminders")(reminders)
add_log(app)


@app.command()
def serve(*, settings: Settings, as_json: AsJson = False) -> None:
    """Serve until stopped; one line on stdout says where."""
    with misuse_is_told():
        loaded = TrustSettings.load(settings)
        if loaded.certificate is None or loaded.private_key is None:
            raise SettingsInvalid("certificate and private_key are needed: we serve over TLS only")
        start_telemetry("undertone-trust", loaded)
        with closing(TrustService(loaded, clock=time.time)) as service:
            key = str(service.key.verify_key)
            for gap in ropa_gaps(live_of(service)):
                complain(f"receipts are incomplete: {gap}")
            service.retention.start()
            serve_app(
                create_app(service),
                host=loaded.host,
                port=loaded.port,
                certificate=loaded.certificate,
                private_key=loaded.private_key,
                proxies=loaded.proxies,
                proxy_header=loaded.proxy_header,
                on_ready=lambda address: emit({"serving": address, "key": key}, as_json=as_json),
            )


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
    with misuse_is_told():
        if (purpose is None) != everything:
            raise RequestInvalid("say --purpose PURPOSE, or --everything to erase all")
        body = json.dumps({"manage_token": token, "purpose": purpose}).encode()
        receipt = call(url, "/v1/withdrawals", ca=ca, body=body)
        emit(receipt if as_json else {"withdrawn": receipt["record"]}, as_json=as_json)


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
    with misuse_is_told():
        headers = {"Authorization": f"Bearer {read_text(admin_token_file).strip()}"}
        emit(call(url, OPEN_API, ca=ca, headers=headers), as_json=True)


@app.command()
def status(*, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the service's health; exit 1 on an alarm."""
    with misuse_is_told():
        health = call(url, "/healthz", ca=ca)
        emit(health, as_json=as_json)
        if health["alarms"]:
            raise typer.Exit(FAILED)


if __name__ == "__main__":
    app()
