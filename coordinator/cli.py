"""The command `undertone-coordinator`: serve, and everything the API offers, for people.

Results go to stdout, diagnostics to stderr; `--json` prints the API's values. Exit 0 done,
1 refused or failed, 2 misuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from audit.key_cli import keys_app
from audit.portal.cli import staff_app
from audit.terminal import PlainConsole, complain, emit
from coordinator.client import CoordinatorClient
from coordinator.plan import read_draft
from coordinator.settings import CoordinatorSettings
from policies.errors import UndertoneError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
plans = typer.Typer(no_args_is_help=True, help="Check plans and what they cost.")
runs = typer.Typer(no_args_is_help=True, help="Start, watch and stop runs.")
releases = typer.Typer(no_args_is_help=True, help="Publish models by hand.")
nodes = typer.Typer(no_args_is_help=True, help="Register nodes and see who is online.")
checkpoint = typer.Typer(no_args_is_help=True, help="The log's signed checkpoints.")
for name, group in (
    ("plan", plans),
    ("run", runs),
    ("release", releases),
    ("node", nodes),
    ("checkpoint", checkpoint),
):
    app.add_typer(group, name=name)

UNGOVERNED = (
    "undertone-coordinator: no trust service is named (trust_url, trust_ca, trust_key), "
    "so every run and every release will be refused"
)

out = PlainConsole()

Settings = Annotated[Path, typer.Option("--settings", help="The coordinator's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON values.")]
Who = Annotated[str, typer.Option("--approved-by", help="Who approves: an id or address.")]


@dataclass(frozen=True, slots=True)
class _Refused:
    """End the command with exit 1 and one line, whatever of ours is raised."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UndertoneError):
            complain(f"undertone-coordinator: {error}")
            raise typer.Exit(1) from error


def _client(settings: Path) -> CoordinatorClient:
    loaded = CoordinatorSettings.load(settings)
    token = (loaded.token_file or loaded.admin_token_file).read_text(encoding="ascii").strip()
    scheme, ca = ("https", loaded.authority) if loaded.tls else ("http", None)
    return CoordinatorClient(f"{scheme}://{loaded.host}:{loaded.port}", token=token, ca=ca)


def _send(settings: Path, ca: Path | None, path: str, body: bytes | None) -> Any:
    del ca
    with _Refused(), _client(settings) as client:
        return client.log_keys(path, body)


def _call(
    url: str, path: str, *, ca: Path | None, body: bytes | None, headers: dict[str, str]
) -> Any:
    token = headers["Authorization"].removeprefix("Bearer ")
    with _Refused(), CoordinatorClient(url, token=token, ca=ca) as client:
        return client.log_keys(path, body)


app.add_typer(keys_app(_send), name="keys")
app.add_typer(staff_app(_call, url="http://127.0.0.1:8790"), name="staff")


def _ask(
    settings: Path,
    question: Callable[[CoordinatorClient], Any],
    show: Callable[[Any], Any],
    *,
    as_json: bool,
) -> None:
    with _Refused(), _client(settings) as client:
        answer = question(client)
        emit(answer, as_json=True) if as_json else out.print(show(answer))


@app.command()
def serve(settings: Settings) -> None:
    """Serve the coordinator with its Flower processes and gateway until SIGTERM."""
    from audit.export_spans import start_telemetry  # noqa: PLC0415 (only here)
    from coordinator.serve import serve as run_service  # noqa: PLC0415 (only here)
    from coordinator.service import CoordinatorService  # noqa: PLC0415

    with _Refused():
        loaded = CoordinatorSettings.load(settings)
        if loaded.trust_url is None:
            complain(UNGOVERNED)
        start_telemetry("undertone-coordinator", loaded)
        service = CoordinatorService(loaded)
        run_service(service, on_ready=lambda: out.print("undertone coordinator ready"))


@plans.command("check")
def plan_check(file: Path, settings: Settings, *, as_json: AsJson = False) -> None:
    """Check a plan file (TOML or JSON), accept it, and show what it costs."""
    _ask(settings, lambda c: c.plan(read_draft(file)), _plan_table, as_json=as_json)


@runs.command("start")
def run_start(
    plan_digest: str,
    settings: Settings,
    approved_by: Who,
    release: Annotated[
        str | None, typer.Option(help="Begin at this release, or evaluate it; else the newest.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Start a run of an accepted plan; a plan of no rounds evaluates the release."""
    _ask(
        settings,
        lambda c: c.start_run(plan_digest, approved_by=approved_by, release=release),
        lambda run: run["run"],
        as_json=as_json,
    )


@runs.command("list")
def run_list(settings: Settings, *, as_json: AsJson = False) -> None:
    """List all runs."""
    fields = ("run", "state", "detail")
    _ask(settings, lambda c: c.runs(), lambda rows: _table(rows, fields), as_json=as_json)


@runs.command("show")
def run_show(run: str, settings: Settings, *, as_json: AsJson = False) -> None:
    """Show a run and its rounds."""
    _ask(settings, lambda c: c.run(run), _run_table, as_json=as_json)


@runs.command("watch")
def run_watch(run: str, settings: Settings, *, as_json: AsJson = False) -> None:
    """Show a run as it goes on, until it ends; exit 1 if it failed."""
    with _Refused(), _client(settings) as client:
        seen: dict[str, Any] = {}
        if as_json:
            for seen in client.watch(run):
                out.print(json.dumps(seen), soft_wrap=True)
        else:
            with Live(console=out, refresh_per_second=4) as live:
                for seen in client.watch(run):
                    live.update(_run_table(seen))
    if seen["state"] == "failed":
        raise typer.Exit(1)


@runs.command("stop")
def run_stop(run: str, settings: Settings, *, as_json: AsJson = False) -> None:
    """Stop a run between or within rounds."""
    _ask(settings, lambda c: c.stop_run(run), lambda seen: seen["state"], as_json=as_json)


@releases.command("publish")
def release_publish(
    settings: Settings,
    approved_by: Who,
    run: str | None = None,
    plan_digest: Annotated[
        str | None, typer.Option(help="Publish the abstaining first release for this plan.")
    ] = None,
    abstain_below: float = 0.5,
    *,
    as_json: AsJson = False,
) -> None:
    """Publish a run's candidate, or the first release of a plan."""
    _ask(
        settings,
        lambda c: c.publish_release(
            approved_by=approved_by, run=run, plan_digest=plan_digest, abstain_below=abstain_below
        ),
        lambda release: f"{release['release']} {release['digest']}",
        as_json=as_json,
    )


@releases.command("list")
def release_list(settings: Settings, *, as_json: AsJson = False) -> None:
    """List releases and which nodes confirmed each."""
    fields = ("release", "digest", "run", "approved_by", "loaded_by")
    _ask(settings, lambda c: c.releases(), lambda rows: _table(rows, fields), as_json=as_json)


@nodes.command("register")
def node_register(
    node: str,
    settings: Settings,
    vkey: Annotated[str, typer.Option(help="The node's verify key (C2SP).")],
    supernode_key: Annotated[Path, typer.Option(help="Its SuperNode's .pub file (P-384).")],
    *,
    as_json: AsJson = False,
) -> None:
    """Admit a node."""
    text = supernode_key.read_text(encoding="ascii")
    _ask(
        settings,
        lambda c: c.register_node(node, vkey=vkey, supernode_public_key=text),
        lambda answer: answer["node"],
        as_json=as_json,
    )


@nodes.command("list")
def node_list(settings: Settings, *, as_json: AsJson = False) -> None:
    """List nodes and who is online."""
    fields = ("node", "online", "has_newest_release")
    _ask(settings, lambda c: c.nodes(), lambda rows: _table(rows, fields), as_json=as_json)


@checkpoint.command("show")
def checkpoint_show(settings: Settings, *, as_json: AsJson = False) -> None:
    """Print the log's newest signed checkpoint."""
    _ask(settings, lambda c: c.checkpoint(), lambda found: found["checkpoint"], as_json=as_json)


@app.command("fab")
def fab() -> None:
    """Print the digest of the bundle that nodes put on their allow-list."""
    from coordinator.federation import fab_digest  # noqa: PLC0415 (loads Flower)

    out.print(fab_digest())


def _table(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> Table:
    table = Table(*fields)
    for row in rows:
        table.add_row(*(_cell(row[field]) for field in fields))
    return table


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _plan_table(preview: dict[str, Any]) -> Table:
    table = Table("what", "value", title=f"plan {preview['plan']['name']} {preview['digest']}")
    table.add_row("declared epsilon, delta", f"{preview['plan']['epsilon']:g}, "
                  f"{preview['plan']['delta']:g}")  # fmt: skip
    table.add_row("noise multiplier", f"{preview['plan']['mechanism']['noise_multiplier']:.4f}")
    evaluation = preview["plan"].get("evaluation")
    if evaluation is not None:
        told = f"every {evaluation['every']} rounds and at the start, noise {evaluation['noise']:g}"
        patience = evaluation["patience"]
        table.add_row("evaluations", told + (f", ends after {patience}" if patience else ""))
    table.add_row("epsilon (Renyi curves)", f"{preview['epsilon']:.3f}")
    table.add_row("epsilon (PRV)", f"{preview['epsilon_prv']:.3f}")
    table.add_row("epsilon (second opinion)", f"{preview['second_opinion']:.3f}")
    for count, epsilon in preview["epsilon_at_nodes"].items():
        table.add_row(f"a person at {count} nodes", f"{epsilon:.3f}")
    return table


def _run_table(run: dict[str, Any]) -> Table:
    title = f"{run['run']} {run['state']} {run['detail']}".strip()
    table = Table("round", "state", "seconds", "replies", "rejected", title=title)
    for closed in run["rounds"]:
        rejected = ", ".join(f"{k}: {v}" for k, v in closed["rejected"].items())
        table.add_row(str(closed["round"]), closed["state"], f"{closed['seconds']:.1f}",
                      str(closed["replies"]), rejected)  # fmt: skip
    lines = [f"{len(run['rounds'])} of {run['rounds_planned']} rounds"]
    lines += [_measured(one) for one in run["evaluations"]]
    table.caption = "\n".join(lines)
    return table


def _measured(one: dict[str, Any]) -> str:
    when = f"after round {one['after_round']}" if one["after_round"] else "at the start"
    if one["figures"] is None:
        return f"{when}: not measured, {one['replies']} replies were too few"
    f1 = one["figures"]["macro_f1"]
    return f"{when}: macro-F1 {f1['value']:.3f}, between {f1['low']:.3f} and {f1['high']:.3f}"


if __name__ == "__main__":
    app()
