"""The bundle names our code and never changes; the courier's waits are bounded."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.error import Error
from flwr.cli.install import install_from_fab
from flwr.supercore.task_identity import TaskIdentity

from audit.pki import issue_supernode_key
from coordinator import federation
from coordinator.errors import NodeKeyInvalid
from coordinator.federation import build_fab, carry, fab_digest, openssh_to_pem, payload_of


def test_bundle_is_the_same_bytes_every_time() -> None:
    """Another process builds the same bundle; its hash is what allow-lists hold."""
    code = "from coordinator.federation import fab_digest; print(fab_digest())"
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(federation.__file__).resolve().parent.parent,
    )
    assert done.stdout.strip() == fab_digest()
    assert build_fab() == build_fab()


def test_bundle_digest_is_the_published_one() -> None:
    """A change of the bundle is a change that every node's operator must allow: it is seen."""
    assert fab_digest() == "275bd55fa98cd4147e2328f7a91ba930636dbe4d01ad8e9fd6168e61b58c92a4"


def test_bundle_holds_no_code_and_names_ours() -> None:
    """It has one text file, and the objects it names exist in the installed packages."""
    with zipfile.ZipFile(io.BytesIO(build_fab())) as bundle:
        assert bundle.namelist() == ["pyproject.toml", ".info/CONTENT"]
        config = tomllib.loads(bundle.read("pyproject.toml").decode())
    named = config["tool"]["flwr"]["app"]["components"]
    assert set(named) == {"serverapp", "clientapp"}
    for reference in named.values():
        module, _, attribute = reference.partition(":")
        assert hasattr(importlib.import_module(module), attribute)


def test_bundle_passes_flowers_own_checks(tmp_path: Path) -> None:
    """Flower installs it: its manifest and metadata are as flwr expects."""
    installed = install_from_fab(build_fab(), install_dir=tmp_path, skip_prompt=True)
    assert (installed / "pyproject.toml").is_file()


def test_key_is_converted_as_flower_does(tmp_path: Path) -> None:
    """An OpenSSH P-384 key becomes the PEM that the Control API takes."""
    from flwr.cli.supernode.register import try_load_public_key  # noqa: PLC0415

    public = issue_supernode_key(tmp_path, "node").with_suffix(".pub")
    assert openssh_to_pem(public.read_text()) == try_load_public_key(public)


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", "ecdsa-sha2-nistp384 AAAA", "a b"],
)
def test_other_key_is_rejected(text: str) -> None:
    """Whatever is not OpenSSH P-384 is refused before Flower sees it."""
    with pytest.raises(NodeKeyInvalid):
        openssh_to_pem(text)


@pytest.fixture
def _in_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be inside a ServerApp's task, as Flower's messages ask for."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1, raising=False)


class Grid:
    """Stand in for Flower's grid: nodes answer after some pulls, or never, or with an error."""

    def __init__(self, answers: dict[int, bytes | None]) -> None:
        self.answers = answers
        self.pushed: list[Message] = []
        self.pulls = 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Give each message an id and keep it."""
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"m{number}"
            self.pushed.append(message)
        return [m.metadata.message_id for m in self.pushed]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Answer nothing at first, then what there is."""
        self.pulls += 1
        if self.pulls == 1:
            return []
        asked = set(message_ids)
        return [
            self._reply(m)
            for m in self.pushed
            if m.metadata.message_id in asked and m.metadata.dst_node_id in self.answers
        ]

    def _reply(self, message: Message) -> Message:
        payload = self.answers[message.metadata.dst_node_id]
        if payload is None:
            return Message(Error(code=2, reason="x"), reply_to=message)
        record = RecordDict({"undertone": ConfigRecord({"payload": payload})})
        return Message(record, reply_to=message)


@pytest.mark.usefixtures("_in_a_task")
def test_courier_brings_what_came_and_leaves_out_the_rest() -> None:
    """A silent node and one that ended with an error are both just absent, within the bound."""
    grid = Grid({1: b"one", 3: None})
    assert carry(grid, {1: b"a", 2: b"b", 3: b"c"}, wait_s=0.4) == {1: b"one"}
    assert [payload_of(m) for m in grid.pushed] == [b"a", b"b", b"c"]
    assert all(m.metadata.ttl < 10 for m in grid.pushed)


@pytest.mark.usefixtures("_in_a_task")
def test_courier_ends_as_soon_as_all_have_answered() -> None:
    """A round does not wait for its bound when nobody is missing."""
    grid = Grid({1: b"one", 2: b"two"})
    assert carry(grid, {1: b"a", 2: b"a"}, wait_s=600.0) == {1: b"one", 2: b"two"}


@pytest.mark.usefixtures("_in_a_task")
def test_equal_payloads_are_different_objects() -> None:
    """Flower drops an object while an equal one travels, so no two messages are equal."""
    grid = Grid({1: b"one", 2: b"two"})
    carry(grid, {1: b"same", 2: b"same"}, wait_s=600.0)
    first, second = (m.content["undertone"].object_id for m in grid.pushed)
    assert first != second


def test_courier_process_stays_small() -> None:
    """The courier's imports hold no torch, no keys and no data: only Flower and HTTP."""
    code = (
        "import sys, coordinator.federation;"
        "print([m for m in ('torch', 'opacus', 'sqlmodel', 'audit', 'models', 'numpy.linalg')"
        " if m in sys.modules and m != 'numpy.linalg'])"
    )
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(federation.__file__).resolve().parent.parent,
    )
    assert done.stdout.strip() == "[]"
