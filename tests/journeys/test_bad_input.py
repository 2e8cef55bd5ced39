"""What goes wrong at the edges, and the one line that it is answered with.

The table is of what no other test provokes at this height. Elsewhere: columns, texts and
encodings of a table (tests/deploy/test_turns.py); empty, long and broken turns and unknown
labels (tests/client_node/test_pipeline.py); changed terms, standing and releases
(tests/promises); the trust service's own commands (tests/consent/test_cli.py).
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import client_node.cli
import client_node.serving
from audit.pki import create_authority, issue_server
from audit.signing import SigningKey
from client_node.cli import app
from client_node.connections import install
from models.encoder_files import find_encoder
from policies.vocabulary import Purpose
from tests.audit.conftest import sqlite_of
from tests.client_node.conftest import World
from tests.promises.town import Town, consents, says

BOTH = (Purpose.SERVICE, Purpose.TRAINING)


@dataclass(frozen=True)
class Bad:
    """One fault: how it is provoked in a node's settings, and what the line must say."""

    what: str
    provoke: Callable[[World], dict[str, Any]]
    says: str


def expired_certificate(world: World) -> dict[str, Any]:
    """Issue a certificate that ended two months ago."""
    old, then = world.folder / "old", time.time() - 90 * 86_400
    create_authority(old, clock=lambda: then)
    issue_server(old, "node", days=1, clock=lambda: then)
    return {"certificate": old / "node.crt", "private_key": old / "node.key"}


def other_encoder(world: World) -> dict[str, Any]:
    """Change one byte of the encoder's weights."""
    folder = world.folder / "encoder"
    shutil.copytree(find_encoder(None), folder)
    with (folder / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        last = weights.read(1)
        weights.seek(-1, 2)
        weights.write(bytes([last[0] ^ 1]))
    return {"encoder_path": folder}


def other_policy(world: World) -> dict[str, Any]:
    """Seal the policy with somebody else's key."""
    world.seal_policy(key=SigningKey.generate("operator"))
    return {}


def policy_of_another_node(world: World) -> dict[str, Any]:
    """Give the node the policy of its neighbour."""
    world.policy_changes = {"node": "branch-2"}
    world.seal_policy()
    return {}


def no_key(world: World) -> dict[str, Any]:
    """Put something else in the place of the signing key."""
    world.settings_values["signing_key"].write_text("not a key")
    return {}


def open_key(world: World) -> dict[str, Any]:
    """Let others read the signing key."""
    world.settings_values["signing_key"].chmod(0o644)
    return {}


TABLE = [
    Bad("certificate expired", expired_certificate, "expired"),
    Bad("encoder with a wrong hash", other_encoder, "expected sha256"),
    Bad("policy by a wrong key", other_policy, "policy"),
    Bad("policy of another node", policy_of_another_node, "branch-2"),
    Bad("signing key that is none", no_key, "signing key"),
    Bad("signing key others can read", open_key, "chmod 600"),
    Bad("coordinator key that is none", lambda _: {"coordinator_key": "x"}, "coordinator_key"),
    Bad("trust service nobody named", lambda _: {"trust_url": "https://x.test"}, "x.test:443"),
    Bad("setting unknown", lambda _: {"colour": "red"}, "colour"),
    Bad("setting out of range", lambda _: {"port": 99_999}, "port"),
]


@pytest.fixture(autouse=True)
def _guard_ends_with_the_test() -> Iterator[None]:
    yield
    install(None)


def settings_file(world: World, **changes: Any) -> Path:
    """Write the node's TOML."""
    values = world.settings_values | changes
    path = world.folder / "node.toml"
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}
    path.write_text(tomli_w.dumps(plain), encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command of the node; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        app([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def assert_refused(result: tuple[int, str, str], words: str) -> None:
    """Assert exit 1, nothing on stdout, and one line on stderr with these words."""
    code, out, err = result
    assert (code, out) == (1, ""), result
    assert err.count("\n") == 1, err
    assert words in err
    assert "Traceback" not in err


@pytest.fixture(autouse=True)
def _nothing_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models load when the start comes to them: few of these starts do."""
    monkeypatch.setattr(client_node.cli, "begin_loading", lambda *_, **__: None)


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.what)
def test_node_that_cannot_start_says_why(
    world: World, capsys: pytest.CaptureFixture[str], bad: Bad
) -> None:
    """Exit 1 and one line that names what is wrong."""
    path = settings_file(world, **bad.provoke(world))
    assert_refused(run(capsys, "serve", "--settings", path), bad.says)


def test_node_whose_port_is_taken_says_so(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process listens on the node's port: exit 1 and one line."""
    monkeypatch.setattr(client_node.serving, "open_node", lambda *_: world.open())
    with socket.create_server(("127.0.0.1", 0)) as other:
        path = settings_file(world, port=other.getsockname()[1])
        assert_refused(run(capsys, "serve", "--settings", path), "taken")


def test_log_verified_with_a_wrong_key_is_refused(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sound log under another key is exit 1; what is no log or no key is one line too."""
    world.open().close()
    log = world.settings_values["folder"] / "log.db"
    stranger = SigningKey.generate("branch-1").verify_key
    assert_refused(run(capsys, "verify", "--log", log, "--key", stranger), "not signed by")
    assert_refused(run(capsys, "verify", "--log", log, "--key", "x"), "key")
    assert_refused(
        run(capsys, "verify", "--log", world.folder / "none", "--key", stranger), "not there"
    )


def test_disk_full_while_logging_refuses_the_use(world: World) -> None:
    """A turn whose decision cannot be written is answered 503 in one line, and nothing is kept."""
    world.trust.put(world.standing("anna", *BOTH))
    node = world.open()
    api = world.api(node)
    writer = sqlite_of(node.log)._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    kept, said = set[str](), {"customer": "anna", "conversation": "c", "text": "this is terrible"}
    for _ in range(50):  # the last page may hold a few more entries
        answer = api.post("/v1/turns", json=said)
        if answer.status_code == 503:
            break
        kept |= set(answer.json()["sealed_for"])
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "terrible" not in answer.text
    writer.execute("PRAGMA max_page_count = 1000000")
    assert says(api, "anna")["sealed_for"] == ["service", "training"]


@pytest.mark.parametrize("fault", ["key", "none", "scheme"])
def test_wrong_api_key_is_401_and_reads_nothing(world: World, fault: str) -> None:
    """Without the integration's own key nothing is asked of the gate."""
    world.trust.put(world.standing("anna", *BOTH))
    node = world.open()
    api, before = world.api(node), node.log.size
    wrong = {"key": "Bearer " + "b" * 43, "none": "", "scheme": "Basic " + "a" * 43}[fault]
    said = {"customer": "anna", "conversation": "c", "text": "x"}
    answer = api.post("/v1/turns", json=said, headers={"Authorization": wrong})
    assert answer.status_code == 401
    assert node.log.size == before


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"text": None}, "text"),
        ({"customer": ""}, "customer"),
        ({"mood": "sly"}, "mood"),
        ({"channel": "everyone"}, "channel"),
    ],
)
def test_turn_of_another_form_is_422_and_names_the_field(
    world: World, changed: dict[str, Any], names: str
) -> None:
    """A missing, empty, unknown or impossible field is named; its value is not repeated."""
    api = world.api(world.open())
    said = {"customer": "anna", "conversation": "c", "text": "x"} | changed
    answer = api.post("/v1/turns", json={k: v for k, v in said.items() if v is not None})
    assert answer.status_code == 422
    assert names in answer.text
    assert "sly" not in answer.text
    assert "everyone" not in answer.text


def test_turn_of_one_megabyte_is_413(world: World) -> None:
    """A megabyte is cut off at the door, before it is parsed."""
    api = world.api(world.open())
    said = {"customer": "anna", "conversation": "c", "text": "x" * 2**20}
    assert api.post("/v1/turns", json=said).status_code == 413


def test_consent_that_the_trust_service_refuses_is_told(town: Town) -> None:
    """A consent under an unpublished notice is not recorded, and the branch hears so."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    wrong = {
        "customer": "ben",
        "purposes": ["service"],
        "modalities": ["text"],
        "notice_version": 9,
        "act": "ticked_box",
        "informed": True,
        "valid_days": 1,
    }
    refused = api.post("/v1/consents", json=wrong)
    assert refused.status_code == 409
    assert "notice" in refused.json()["detail"]
    node.keeper.poll()
    assert says(api, "ben")["answer"] == "refused"
