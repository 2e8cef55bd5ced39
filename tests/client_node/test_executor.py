"""The executor runs only installed code, at the deadline exactly, and loads nothing that reads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():  # Flower imports typer, which uses names that click deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from flwr.app import ConfigRecord, Context, Message, RecordDict

    from client_node.executor import DeadlineDesk, absent, check_bundle
from flwr.supercore.fab import Fab
from flwr.supercore.task_identity import TaskIdentity

from client_node.errors import StartRefused
from client_node.federation import client_app, payload_of
from client_node.supernode import SuperNodeSettings, command, environment, prepare
from policies.canonical import canonical
from policies.errors import TermsRefused

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of b"hello"


@pytest.fixture(autouse=True)
def _in_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be inside a task, as Flower's messages ask for."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def make_message(deadline_s: float) -> Message:
    """Return terms whose plan has that deadline."""
    terms = {"body": {"terms": {"plan": {"deadline_s": deadline_s}}}, "kind": "terms"}
    record = ConfigRecord({"payload": canonical(terms)})
    message = Message(RecordDict({"undertone": record}), dst_node_id=7, message_type="query")
    message.metadata.__dict__["_message_id"] = "m1"
    return message


def make_context() -> Context:
    """Return an empty context."""
    return Context(run_id=1, node_id=7, node_config={}, state=RecordDict(), run_config={})


Desk = Callable[[Callable[[bytes], bytes]], DeadlineDesk]


@pytest.fixture
def make_desk() -> Iterator[Desk]:
    """Return a maker of desks that are closed after the test."""
    made: list[DeadlineDesk] = []

    def make(answer: Callable[[bytes], bytes]) -> DeadlineDesk:
        made.append(DeadlineDesk(client_app(answer)))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


def test_import_loads_neither_encoder_nor_redaction() -> None:
    """The executor's process holds nothing that could read a text, and no more than it needs."""
    code = (
        "import sys, client_node.executor;"
        "print(sorted({m.split('.')[0] for m in sys.modules} &"
        " {'transformers', 'presidio_analyzer', 'spacy', 'tokenizers', 'torch', 'opacus'}),"
        " 'models.encoder' in sys.modules, 'client_node.vault' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[] False False"


def test_bundle_outside_the_allow_list_is_refused() -> None:
    """The bytes are hashed here; the hash that came along proves nothing."""
    check_bundle(Fab("whatever", b"hello", {}), frozenset({ALLOWED}))
    with pytest.raises(TermsRefused, match="not on the node's allow-list"):
        check_bundle(Fab(ALLOWED, b"other code", {}), frozenset({ALLOWED}))
    with pytest.raises(TermsRefused):
        check_bundle(Fab(ALLOWED, b"hello", {}), frozenset())


@pytest.mark.parametrize("outcome", ["ready at once", "refusal", "error"])
def test_reply_never_leaves_before_the_deadline(make_desk: Desk, outcome: str) -> None:
    """However soon the answer is there, and whatever it is, it waits for the deadline."""

    def answer(_payload: bytes) -> bytes:
        if outcome == "error":
            raise ValueError("something about 12 people")
        return outcome.encode()

    received_at = time.monotonic()
    reply = make_desk(answer).answer(make_message(0.2), make_context(), received_at=received_at)
    assert time.monotonic() - received_at >= 0.2
    assert payload_of(reply) == (b"" if outcome == "error" else outcome.encode())
    assert "people" not in str(reply)


@pytest.mark.parametrize("people", [0, 1, 500, 9_999])
def test_the_moment_of_a_reply_tells_nothing_of_how_many_people_there_are(people: int) -> None:
    """However long a node works on its people, its reply leaves at the deadline exactly."""
    now = 100.0

    def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds

    def work(_payload: bytes) -> bytes:
        pass_by(people / 2**8)
        return b"done"

    desk = DeadlineDesk(client_app(work), now=lambda: now, wait=pass_by)
    reply = desk.answer(make_message(64.0), make_context(), received_at=now)
    desk.close()
    assert payload_of(reply) == b"done"
    assert now == 164.0


def test_late_work_is_answered_as_absent_at_the_deadline(make_desk: Desk) -> None:
    """Work that is not done by the deadline leaves without a payload, and is not waited for."""
    done = threading.Event()
    desk = make_desk(lambda _: b"late" if done.wait(10) else b"never")
    reply = desk.answer(make_message(0.1), make_context(), received_at=time.monotonic())
    assert payload_of(reply) == b""
    assert not reply.has_content()
    done.set()


def test_late_and_failed_replies_cannot_be_told_apart(make_desk: Desk) -> None:
    """The centre sees the same bytes for an error and for lateness: no number of people in it."""

    def fail(_payload: bytes) -> bytes:
        raise MemoryError("too many people")

    message = make_message(0.05)
    failed = make_desk(fail).answer(message, make_context(), received_at=time.monotonic())
    assert (failed.error.code, failed.error.reason) == (
        absent(message).error.code,
        absent(message).error.reason,
    )


def test_settings_and_commands_of_a_supernode(tmp_path: Path) -> None:
    """The SuperNode never starts code by itself, phones nobody, and inherits no environment."""
    file = tmp_path / "supernode.toml"
    file.write_text(
        'node_settings = "node.toml"\ngateway = "127.0.0.1:8701"\nauthority = "ca.crt"\n'
        'key = "flower"\nport = 9711\nfolder = "state"\n'
    )
    settings = SuperNodeSettings.load(file)
    prepare(settings)
    before = settings.secret.read_bytes()
    prepare(settings)
    assert settings.secret.read_bytes() == before
    assert settings.secret.stat().st_mode & 0o077 == 0
    words = command(settings)
    assert {"--isolation=process", "--host=127.0.0.1"} <= set(words)
    assert not any("insecure" in word or "dependency" in word for word in words)
    assert environment(settings)["FLWR_TELEMETRY_ENABLED"] == "0"
    assert "PYTHONPATH" not in environment(settings)


@pytest.mark.parametrize("content", ["", "gateway = 1", "not toml [", 'colour = "red"'])
def test_wrong_settings_file_is_one_clear_line(tmp_path: Path, content: str) -> None:
    """A settings file that is not one is refused by name, without a traceback."""
    file = tmp_path / "supernode.toml"
    file.write_text(content)
    with pytest.raises(StartRefused, match="is not a SuperNode settings file"):
        SuperNodeSettings.load(file)


def test_message_of_another_shape_has_no_payload() -> None:
    """Whatever is not our one record is no bytes, so it is answered with none."""
    other: Any = RecordDict({"other": ConfigRecord({"payload": b"x"})})
    assert payload_of(Message(other, dst_node_id=1, message_type="query")) == b""
