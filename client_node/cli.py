"""`undertone-node`: serve, and look after one node.

Results go to stdout, diagnostics to stderr. Exit 0: done; 1: refused, failed verification, or
cannot start, with one line that says why; 2: misuse.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from audit.archive import Archive
from audit.events import EventKind
from audit.export_spans import start_telemetry
from audit.receipt import checkpoint_in
from audit.signing import VerifyKey
from audit.terminal import Bookmark, CommandLine, Known, Sealed, emit, progress_bar, say
from audit.verify import read_last, verify_log
from client_node.access import last_day, new_key
from client_node.approvals_cli import approvals_app
from client_node.budget_ledger import BudgetLedger
from client_node.budget_words import remaining, to_dict
from client_node.campaigns_cli import campaigns_app
from client_node.connections import ConnectionGuard, ConnectionPolicy, install
from client_node.evidence_cli import add_commands as add_evidence
from client_node.loading import begin_loading
from client_node.personal_cli import personal_app
from client_node.pseudonym_cli import pseudonym_app
from client_node.settings import NodeSettings, load_policy, load_signing_key
from client_node.training import limits_of
from client_node.webhooks_cli import webhooks_app
from client_node.whatif_cli import whatif
from policies.node_policy import node_policy_to_dict

app = CommandLine(help="Serve, and look after one node.")
budget_app = typer.Typer(no_args_is_help=True, help="The privacy budget.")
policy_app = typer.Typer(no_args_is_help=True, help="The operator's signed policy.")
key_app = typer.Typer(no_args_is_help=True, help="API keys of integrations.")
add_evidence(app)
app.add_typer(budget_app, name="budget")
app.add_typer(policy_app, name="policy")
app.add_typer(key_app, name="key")
app.add_typer(personal_app, name="personal")
app.add_typer(pseudonym_app, name="pseudonym")
app.add_typer(approvals_app, name="approvals")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(campaigns_app, name="campaigns")
app.command("whatif")(whatif)

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def serve(settings: SettingsFile) -> None:
    """Run the node until SIGTERM or SIGINT."""
    loaded = NodeSettings.load(settings)
    policy = load_policy(loaded)
    install(ConnectionGuard(policy=ConnectionPolicy(allowed=policy.connections)))
    start_telemetry("undertone-node", loaded)
    loading = begin_loading(loaded.encoder_path, graphs=loaded.graphs)
    from client_node.serving import serve_node  # noqa: PLC0415 (imported while models load)

    serve_node(loaded, loading, say)


@app.command()
def status(settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Show what the node's folder holds, whether or not it runs."""
    loaded = NodeSettings.load(settings)
    policy = load_policy(loaded)
    key = load_signing_key(loaded.signing_key).verify_key
    log = loaded.folder / "log.db"
    archive = None if loaded.archive is None else Archive(loaded.archive, key)
    size = verify_log(log, key, archive=archive).size if log.exists() else 0
    emit(
        {
            "node": policy.node,
            "policy_version": policy.version,
            "key": str(key),
            "log_entries_verified": size,
        },
        as_json=as_json,
    )


@budget_app.command("show")
def budget_show(settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Say what each person at this node may have lost in the period, and what is left."""
    loaded = NodeSettings.load(settings)
    limits = limits_of(load_policy(loaded))
    log = loaded.folder / "log.db"
    logged = read_last(log, EventKind.BUDGET_SPENT) if log.exists() else None
    ledger = BudgetLedger(loaded.folder / "budget.db", limits=limits, clock=time.time)
    try:
        ledger.verify(None if logged is None else str(logged.fields["head"]))
        value = to_dict(remaining(ledger, limits, clock=time.time), fault=ledger.fault)
    finally:
        ledger.close()
    if as_json:
        emit(value, as_json=True)
        return
    say(*value.pop("words"))
    emit(value, as_json=False)


@policy_app.command("check")
def policy_check(settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Verify the policy's signature and show what it allows."""
    emit(node_policy_to_dict(load_policy(NodeSettings.load(settings))), as_json=as_json)


@app.command()
def verify(
    *,
    log: Annotated[Path, typer.Option("--log", help="The node's log.db, or a copy.")],
    key: Annotated[str, typer.Option("--key", help="The node's verifier key.")],
    known: Known = None,
    bookmark: Bookmark = None,
    archive: Sealed = None,
    as_json: AsJson = False,
) -> None:
    """Verify a node's log offline: every entry, tree node and checkpoint."""
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
    emit({"entries": verified.size, "root": verified.root.hex()}, as_json=as_json)


@key_app.command("new")
def key_new(
    name: Annotated[str, typer.Argument(help="The integration's name.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is good.")] = 90,
) -> None:
    """Make an API key: the key to stderr, once; the line for the keys file to stdout.

    Add the line beside the one before; a node that runs takes it at once.
    """
    key, digest = new_key()
    say(f"API key for {name}, shown once: {key}", err=True)
    say(f"{name}:sha256:{digest}:{last_day(days, now=time.time())}")
