"""`undertone-trust bundles`: an organisation's rules, from the file to every node and back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.errors import KeyInvalid
from audit.requests import sign_request
from audit.signing import SigningKey, seal
from audit.terminal import MISUSE, complain, emit
from consent.errors import SettingsInvalid
from consent.options_cli import LOCAL, AsJson, Ca, OfficerKey, Url
from consent.remote import call
from policies.analysis import rules_in
from policies.bundle import Bundle, admit, bundle_from_dict
from policies.rollout import NO_VERSION, Stage
from policies.rulebook import RuleBook

_STATUS = "/v1/officer/bundles"

bundles_app = typer.Typer(help="The organisation's own rules.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The bundle, as JSON.")]
Name = Annotated[str, typer.Argument(help="The bundle's name.")]
Version = Annotated[int, typer.Option("--version", min=1)]
By = Annotated[str, typer.Option("--by", help="Who decides it.")]


@contextmanager
def _misuse_is_told() -> Iterator[None]:
    try:
        yield
    except (SettingsInvalid, KeyInvalid) as error:
        complain(f"{type(error).__name__}: {error}")
        raise typer.Exit(MISUSE) from error


@bundles_app.command("lint")
def lint(*, file: File, as_json: AsJson = False) -> None:
    """Read a bundle's form, ids and words, and that it only forbids; exit 1 where it fails."""
    with _misuse_is_told():
        bundle = _admitted(file)
    rules = [ruling.rule for ruling in rules_in(bundle.rules)]
    emit({"bundle": bundle.name, "version": bundle.version, "rules": rules}, as_json=as_json)


@bundles_app.command("test")
def try_tests(*, file: File, as_json: AsJson = False) -> None:
    """Decide a bundle's own tests by the engine that would be in force; exit 1 where one fails."""
    with _misuse_is_told():
        bundle = _admitted(file)
    emit({"bundle": bundle.name, "passed": len(bundle.tests)}, as_json=as_json)


@bundles_app.command("publish")
def publish(
    *, file: File, by: By, key: OfficerKey, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Seal and publish a bundle; it is in force nowhere yet."""
    with _misuse_is_told():
        _admitted(file)
        body = {"bundle": _read(file), "by": by}
        emit(_send("bundle", "/v1/bundles", body, key, url, ca), as_json=as_json)


@bundles_app.command("shadow")
def shadow(
    *,
    name: Name,
    version: Version,
    by: By,
    key: OfficerKey,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Decide by a version beside the rules in force, at every node; nothing changes."""
    _stage(name, version, Stage.SHADOW, by, key, url, ca, as_json=as_json)


@bundles_app.command("rollout")
def rollout(
    *,
    name: Name,
    version: Version,
    by: By,
    key: OfficerKey,
    node: Annotated[list[str] | None, typer.Option("--node", help="May be repeated.")] = None,
    percent: Annotated[int, typer.Option("--percent", min=0, max=99)] = 0,
    everywhere: Annotated[bool, typer.Option("--all", help="At every node.")] = False,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Put a version in force at some nodes, then with --all at every one."""
    with _misuse_is_told():
        if everywhere == bool(node or percent):
            raise SettingsInvalid("say --all, or --node NODE and --percent N for some")
    stage, some = (Stage.ALL if everywhere else Stage.SOME), node or []
    _stage(name, version, stage, by, key, url, ca, as_json=as_json, nodes=some, percent=percent)


@bundles_app.command("rollback")
def rollback(
    *,
    name: Name,
    by: By,
    key: OfficerKey,
    to: Annotated[int, typer.Option("--to", min=0, help="0: without the bundle.")] = NO_VERSION,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Return every node at once to a version that was in force everywhere, or to none."""
    _stage(name, to, Stage.ROLLBACK, by, key, url, ca, as_json=as_json)


@bundles_app.command("place")
def place(
    *,
    profile: Annotated[list[str], typer.Option("--profile", help="May be repeated.")],
    by: By,
    key: OfficerKey,
    company: Annotated[str | None, typer.Option("--company")] = None,
    node: Annotated[str | None, typer.Option("--node")] = None,
    url: Url = LOCAL,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Say under which jurisdictions a company's nodes, or one node besides, decide."""
    with _misuse_is_told():
        if (company is None) == (node is None):
            raise SettingsInvalid("say one of --company and --node")
        body = {"company": company, "node": node, "profiles": profile, "by": by}
        emit(_send("jurisdiction", "/v1/jurisdictions", body, key, url, ca), as_json=as_json)


@bundles_app.command("status")
def status(*, key: OfficerKey, url: Url = LOCAL, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print each bundle's stage, each node's rules, and what shadows would change."""
    with _misuse_is_told():
        signed = sign_request(
            SigningKey.load(key), method="GET", path=_STATUS, body=b"", now=time.time()
        )
        emit(call(url, _STATUS, ca=ca, headers=signed), as_json=as_json)


def _stage(  # noqa: PLR0917 (passed on in the order of the options)
    name: str,
    version: int,
    stage: Stage,
    by: str,
    key: Path,
    url: str,
    ca: Path | None,
    *,
    as_json: bool,
    nodes: list[str] | None = None,
    percent: int = 0,
) -> None:
    body = {"name": name, "version": version, "stage": stage.value, "by": by}
    body |= {"nodes": sorted(nodes or []), "percent": percent}
    with _misuse_is_told():
        emit(_send("rollout", "/v1/rollouts", body, key, url, ca), as_json=as_json)


def _send(  # noqa: PLR0917 (passed on in the order of the options)
    kind: str, path: str, body: dict[str, Any], key: Path, url: str, ca: Path | None
) -> Any:
    envelope = seal(kind, body | {"issued_at": time.time()}, SigningKey.load(key))
    return call(url, path, ca=ca, body=envelope)


def _admitted(file: Path) -> Bundle:
    bundle = bundle_from_dict(_read(file))
    admit(RuleBook.shipped(), bundle)
    return bundle


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{file} cannot be read as JSON") from error
    if not isinstance(value, dict):
        raise SettingsInvalid(f"{file} holds no JSON object")
    return value
