"""`undertone-trust retention`, `archive` and `hold` as people run them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.archive import Archive
from audit.events import Event, EventKind
from audit.log import Draft, EvidenceLog
from audit.retention_policy import DAY_S, SHIPPED, load_retention
from audit.sealing import Sealing
from audit.signing import SigningKey
from audit.tiles import WIDTH

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from consent import retention_cli
    from consent.cli import app
    from consent.errors import SettingsInvalid

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command in this process: exit code, stdout and stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, Path, str]:
    """Return a log whose old leaves are dropped, its archive, and the key of both."""
    key = SigningKey.generate("trust")
    archive, clock = Archive(tmp_path / "archive", key.verify_key), lambda: 9.0 * DAY_S
    with closing(EvidenceLog(tmp_path / "log.db", key, origin="trust", clock=clock)) as log:
        events = [
            Event(kind=EventKind.TURN_SEALED, at=1.0, fields={"turn": f"t{n}", "decision_id": "d"})
            for n in range(2 * WIDTH)
        ]
        log.append_many([Draft(event) for event in events])
        policy = replace(load_retention(), archive_after_days=1, archive_fewest=1)
        sealing = Sealing(log=log, archive=archive, policy=policy, clock=clock)
        while sealing.seal_next(sealing.due()) is not None:
            pass
        assert sealing.drop() == 2 * WIDTH
    return tmp_path / "log.db", archive.folder, str(key.verify_key)


def test_policy_is_checked_offline(run: Run, tmp_path: Path) -> None:
    """What ships is accepted; one shorter than six months is refused in a line, exit 1."""
    code, out, _ = run("retention", "check", "--json")
    assert (code, json.loads(out)["ai_act_floor_days"]) == (0, 184)
    (tmp_path / "short.toml").write_text(
        SHIPPED.read_text("utf-8").replace("days = 366", "days = 183"), encoding="utf-8"
    )
    code, out, err = run("retention", "check", tmp_path / "short.toml")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "184 days or more" in err


def test_verify_takes_the_archive_with_the_log_or_alone(
    run: Run, sealed: tuple[Path, Path, str]
) -> None:
    """Exit 0 with both and with the archive; exit 1 and one line without; 2 with neither."""
    log, archive, key = sealed
    with_both = run("verify", "--log", log, "--archive", archive, "--key", key, "--json")
    assert (with_both[0], json.loads(with_both[1])["size"]) == (0, 2 * WIDTH + 1)
    for command in (["verify"], ["archive", "verify"]):
        code, out, _ = run(*command, "--archive", archive, "--key", key, "--json")
        assert (code, json.loads(out)["size"]) == (0, 2 * WIDTH)
    code, out, err = run("verify", "--log", log, "--key", key)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--archive" in err
    assert run("verify", "--key", key)[0] == 2
    code, out, _ = run("archive", "list", "--archive", archive, "--key", key, "--json")
    assert [(row["start"], row["end"]) for row in json.loads(out)] == [(0, 2 * WIDTH)]


def test_auditor_cosigns_a_log_with_its_archive(
    run: Run, sealed: tuple[Path, Path, str], tmp_path: Path
) -> None:
    """A third party verifies what was dropped in the archive; without it nothing is cosigned."""
    log, archive, key = sealed
    SigningKey.generate("auditor").save(tmp_path / "own")
    ask = ["audit", "--log", log, "--key", key, "--own-key", tmp_path / "own"]
    ask += ["--memory", tmp_path / "memory.db", "--json"]
    code, out, err = run(*ask)
    assert (code, out) == (1, "")
    assert "--archive" in err
    code, out, _ = run(*ask, "--archive", archive)
    assert (code, json.loads(out)["size"]) == (0, 2 * WIDTH + 1)


def test_archive_that_is_wrong_is_one_line(run: Run, sealed: tuple[Path, Path, str]) -> None:
    """Gone, signed by another, a key that is none: exit 1, 1 and 2."""
    _, archive, key = sealed
    stranger = SigningKey.generate("trust").verify_key
    for folder, by, code in ((archive / "x", key, 1), (archive, stranger, 1), (archive, "k", 2)):
        found = run("archive", "verify", "--archive", folder, "--key", by)
        assert (found[0], found[1], found[2].count("\n")) == (code, "", 1)


@pytest.mark.parametrize(
    ("command", "path", "said"),
    [
        ("retention run --dry-run", "retention/run", {"dry_run": True}),
        ("retention run --yes", "retention/run", {"dry_run": False}),
        ("hold confirm h1", "holds/h1/confirmation", {}),
        ("hold review h1 --review 2027-01-02", "holds/h1/review", {"review_at": 1798848000.0}),
        ("hold lift propose h1", "holds/h1/lift/proposal", {}),
        ("hold lift confirm h1 --yes", "holds/h1/lift/confirmation", {}),
        (
            "hold place --reason legal-claim --review 2027-01-02 --kind decision --from 2026-01-02",
            "holds",
            {
                "reason": "legal-claim",
                "review_at": 1798848000.0,
                "since": 1767312000.0,
                "until": None,
                "kinds": ["decision"],
                "subject": None,
            },
        ),
    ],
)
def test_command_asks_the_service_as_the_member_of_staff(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, path: str, said: dict[str, Any]
) -> None:
    """Each command is one request under the token's file, and prints what came back."""
    asked: list[tuple[str, Any]] = []

    def call(path: str, *, said: Any = None, **_: Any) -> dict[str, Any]:
        asked.append((path, said))
        return {"done": True}

    monkeypatch.setattr(retention_cli, "staff_call", call)
    code, out, _ = run(*command.split(), "--token-file", "t", "--json")
    assert (code, json.loads(out)) == (0, {"done": True})
    assert asked == [(f"/v1/desk/{path}", said)]


def test_making_an_archive_goes_on_until_there_is_no_more(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segment by segment, then the dropping where it is asked for."""
    steps: list[dict[str, Any]] = [
        {"sealed": {}, "sealed_until": n, "due": 512} for n in (256, 512)
    ]
    steps.append({"sealed": None, "sealed_until": 512, "due": 512})
    asked: list[str] = []

    def call(path: str, **_: Any) -> dict[str, Any]:
        asked.append(path.removeprefix("/v1/desk/"))
        return {"dropped": 500} if path.endswith("drop") else steps.pop(0)

    monkeypatch.setattr(retention_cli, "staff_call", call)
    code, out, _ = run("archive", "make", "--drop", "--yes", "--token-file", "t", "--json")
    assert (code, json.loads(out)) == (0, {"segments": 2, "sealed_until": 512, "dropped": 500})
    assert asked == ["archive/segments"] * 3 + ["archive/drop"]


def test_misuse_is_one_line_and_exit_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day that is none, a token that cannot be read."""

    def call(*_: Any, **__: Any) -> Any:
        raise SettingsInvalid("--token-file t cannot be read: sign in first")

    monkeypatch.setattr(retention_cli, "staff_call", call)
    code, out, err = run("hold", "review", "h1", "--review", "soon", "--token-file", "t")
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = run("hold", "list", "--token-file", "t")
    assert (code, out, err.count("\n")) == (2, "", 1)
