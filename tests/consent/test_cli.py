"""`undertone-trust` as people run it: one clear line, the right exit code, and real TLS."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from audit.cosignature import verify_cosignature
from audit.pki import create_authority, issue_server
from audit.signing import SigningKey, sign_request, unseal
from consent.errors import SettingsInvalid
from consent.settings import TrustSettings
from tests.consent.conftest import proof

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from consent.cli import app  # Typer itself imports names that newer Clicks call deprecated

ADMIN = "an-admin-token-of-tests"


PORTAL = """
[portal]
leaked_passwords = "leaked.txt"
[portal.single_sign_on]
issuer = "https://trust.example:8443"
client_id = "coordinator"
client_secret_file = "sign-on.secret"
redirect_uri = "https://coordinator.example:8444/sign-in/provider/return"
logout_uri = "https://coordinator.example:8444/sign-in/provider/logout"
authority = "/etc/authority.crt"
[portal.provider]
issuer = "https://login.example"
client_id = "undertone-trust"
client_secret_file = "secrets/provider"
redirect_uri = "https://trust.example:8443/sign-in/provider/return"
authority = "tls/authority.crt"
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def write_settings(folder: Path, **changes: Any) -> Path:
    """Write a complete settings file with relative paths, its keys and certificates."""
    SigningKey.generate("trust").save(folder / "trust.signing-key")
    officer = SigningKey.generate("officer")
    officer.save(folder / "officer.signing-key")
    create_authority(folder)
    issue_server(folder, "trust")
    (folder / "admin.token").write_text(ADMIN, encoding="utf-8")
    values: dict[str, Any] = {
        "folder": "state",
        "port": free_port(),
        "certificate": "trust.crt",
        "private_key": "trust.key",
        "signing_key": "trust.signing-key",
        "officer_key": str(officer.verify_key),
        "admin_token_file": "admin.token",
    } | changes
    path = folder / "trust.toml"
    path.write_text(
        "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()),
        encoding="utf-8",
    )
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        app([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def assert_misuse(result: tuple[int, str, str], *words: str) -> None:
    """Assert exit 2 and one line on stderr with these words."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err


def test_settings_are_read_with_paths_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths start at the file's folder; the environment wins over the file."""
    path = write_settings(tmp_path)
    monkeypatch.setenv("UNDERTONE_TRUST_STANDING_MAX_AGE_S", "10")
    settings = TrustSettings.load(path)
    assert settings.folder == tmp_path / "state"
    assert settings.certificate == tmp_path / "trust.crt"
    assert settings.standing_max_age_s == 10


def test_paths_of_the_portal_are_beside_the_file_too(tmp_path: Path) -> None:
    """Secrets and authorities of single sign-on and of a provider, and the leaked passwords."""
    path = write_settings(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write(PORTAL)
    portal = TrustSettings.load(path).portal
    assert portal.leaked_passwords == tmp_path / "leaked.txt"
    assert portal.single_sign_on is not None
    assert portal.single_sign_on.client_secret_file == tmp_path / "sign-on.secret"
    assert portal.single_sign_on.authority == Path("/etc/authority.crt")
    assert portal.provider is not None
    assert portal.provider.client_secret_file == tmp_path / "secrets" / "provider"
    assert portal.provider.authority == tmp_path / "tls" / "authority.crt"


def test_settings_example_of_the_docstring_is_complete(tmp_path: Path) -> None:
    """The TOML in the module's text is one that loads."""
    import consent.settings  # noqa: PLC0415 (its docstring is what is tested)

    text = consent.settings.__doc__ or ""
    example = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    (tmp_path / "trust.toml").write_text("\n".join(example), encoding="utf-8")
    settings = TrustSettings.load(tmp_path / "trust.toml")
    assert settings.controller("acme")["dpv:hasName"] == "Acme Ltd"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("folder = ", "not TOML"),
        ("folder = 'x'", "signing_key"),
        ("colour = 'red'", "colour"),
    ],
)
def test_settings_that_are_wrong_are_one_line(tmp_path: Path, text: str, word: str) -> None:
    """Bad TOML, a missing or an unknown setting: the line names it."""
    path = tmp_path / "trust.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=word):
        TrustSettings.load(path)


def test_serve_says_what_is_wrong_with_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing file, bad TOML, missing or open key, short token: one line, exit 2."""
    assert_misuse(run(capsys, "serve", "--settings", tmp_path / "none.toml"), "cannot be read")
    path = write_settings(tmp_path)
    good = path.read_text(encoding="utf-8")
    path.write_text("port = [", encoding="utf-8")
    assert_misuse(run(capsys, "serve", "--settings", path), "not TOML")
    path.write_text(good.replace("trust.signing-key", "none"), encoding="utf-8")
    assert_misuse(run(capsys, "serve", "--settings", path), "signing_key", "not there")
    path.write_text(good.replace("officer+", "officer-"), encoding="utf-8")
    assert_misuse(run(capsys, "serve", "--settings", path), "officer_key")
    path.write_text(good, encoding="utf-8")
    (tmp_path / "admin.token").write_text("short", encoding="utf-8")
    assert_misuse(run(capsys, "serve", "--settings", path), "16 ASCII characters")
    (tmp_path / "admin.token").write_text(ADMIN, encoding="utf-8")
    (tmp_path / "trust.signing-key").chmod(0o644)
    assert_misuse(run(capsys, "serve", "--settings", path), "chmod 600")


def test_serve_refuses_to_go_without_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a certificate the service does not start."""
    path = write_settings(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("certificate", "private_key"))]
    path.write_text("\n".join(kept), encoding="utf-8")
    assert_misuse(run(capsys, "serve", "--settings", path), "TLS")


def test_serve_refuses_an_expired_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate outside its days is named, exit 2."""
    create_authority(tmp_path / "old", clock=lambda: time.time() - 90 * 86_400)
    issue_server(tmp_path / "old", "trust", days=1, clock=lambda: time.time() - 60 * 86_400)
    path = write_settings(tmp_path, certificate="old/trust.crt", private_key="old/trust.key")
    assert_misuse(run(capsys, "serve", "--settings", path), "expired")


def test_serve_says_that_the_port_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port where another listens is one line, exit 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        path = write_settings(tmp_path, port=other.getsockname()[1])
        assert_misuse(run(capsys, "serve", "--settings", path), "taken")


def test_verify_tells_a_good_log_from_a_wrong_key(
    world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A good log is exit 0, another key exit 1, a missing file or malformed key exit 2."""
    world.grant("alice")
    key = str(world.service.key.verify_key)
    world.service.close()
    log = world.folder / "state" / "log.db"
    code, out, _ = run(capsys, "verify", "--log", log, "--key", key, "--json")
    assert (code, json.loads(out)["verified"]) == (0, True)
    other = str(SigningKey.generate("trust").verify_key)
    code, out, err = run(capsys, "verify", "--log", log, "--key", other)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert_misuse(run(capsys, "verify", "--log", "none.db", "--key", key), "not a file")
    assert_misuse(run(capsys, "verify", "--log", log, "--key", "nonsense"), "verify key")


def test_export_prints_a_verified_log_and_nothing_of_another(
    make_world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines on stdout where the log holds; one line on stderr and exit 1 where it does not."""
    world = make_world()
    log, key = world.folder / "state" / "log.db", world.service.key.verify_key
    common = ("export", "--log", log, "--format")
    code, out, _ = run(capsys, *common, "jsonl", "--key", key)
    assert (code, len(out.splitlines())) == (0, world.service.log.size)
    assert json.loads(out.splitlines()[0])["kind"] == "service-started"
    other = SigningKey.generate("trust").verify_key
    code, out, err = run(capsys, *common, "csv", "--key", other)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert_misuse(run(capsys, *common, "jsonl", "--key", "nonsense"), "verify key")


def test_auditor_cosigns_a_copy_and_the_service_takes_its_word(
    make_world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a copy and public keys: cosigned, brought to the service, and next time held to it."""
    own = SigningKey.generate("auditor.example")
    own.save(tmp_path / "auditor.key")
    world = make_world(auditors=(str(own.verify_key),))
    log, key = world.folder / "state" / "log.db", world.service.key.verify_key
    old = tmp_path / "old"
    with closing(sqlite3.connect(log)) as source:
        source.execute("VACUUM INTO ?", (str(old),))
    world.publish()
    common = ("--key", key, "--own-key", tmp_path / "auditor.key", "--memory", tmp_path / "m.db")
    code, out, _ = run(capsys, "audit", "--log", log, *common, "--json")
    found = json.loads(out)
    assert (code, found["size"]) == (0, world.service.log.size)
    brought = found["cosignatures"].encode()
    assert world.send("POST", "/v1/witness/cosignatures", brought).status_code == 200
    receipt = world.send("GET", "/v1/log/0").json()["receipt"]
    assert verify_cosignature(receipt.partition("\n\n")[2], own.verify_key) > 0
    code, out, err = run(capsys, "audit", "--log", old, *common)
    assert (code, out) == (1, "")
    assert "truncated" in err
    assert_misuse(run(capsys, "audit", "--log", "none.db", *common), "not a file")


@pytest.mark.parametrize("kept", ["checkpoint", "receipt"])
def test_verify_finds_a_cut_that_only_an_earlier_checkpoint_shows(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: str
) -> None:
    """A log put back to an earlier whole state passes by itself, and not beside what was kept."""
    key, log = str(world.service.key.verify_key), world.folder / "state" / "log.db"
    world.grant("alice")
    with closing(sqlite3.connect(log)) as now, closing(sqlite3.connect(tmp_path / "old")) as old:
        now.backup(old)
    world.grant("bob")
    known, stranger = tmp_path / "known", tmp_path / "stranger"
    made = world.service.log
    known.write_text(made.checkpoint() if kept == "checkpoint" else made.receipt(1))
    stranger.write_text("hello")
    world.service.close()
    common = ("--key", key, "--known")
    assert run(capsys, "verify", "--log", log, *common, known)[0] == 0
    assert run(capsys, "verify", "--log", tmp_path / "old", "--key", key)[0] == 0
    code, out, err = run(capsys, "verify", "--log", tmp_path / "old", *common, known)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "a known checkpoint says" in err
    for wrong in (stranger, tmp_path / "none"):
        code, out, err = run(capsys, "verify", "--log", log, *common, wrong)
        assert (code, out, err.count("\n")) == (1, "", 1)


def test_key_create_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key is made once, mode 0600; making it again is misuse and leaves it."""
    file = tmp_path / "officer.key"
    code, out, _ = run(capsys, "key", "create", "officer", file, "--json")
    assert code == 0
    assert json.loads(out)["key"] == str(SigningKey.load(file).verify_key)
    assert file.stat().st_mode & 0o777 == 0o600
    assert_misuse(run(capsys, "key", "create", "officer", file), "never overwritten")


def test_commands_say_when_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """An address where no service listens is one line and exit 1."""
    url = f"https://127.0.0.1:{free_port()}"
    code, out, err = run(capsys, "checkpoint", "show", "--url", url)
    assert (code, out) == (1, "")
    assert "no trust service answers" in err
    assert err.count("\n") == 1


def test_withdraw_must_say_what(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a purpose nor everything, or both, is misuse."""
    token = "A" * 43
    assert_misuse(run(capsys, "withdraw", "--token", token), "--everything")
    both = ("withdraw", "--token", token, "--purpose", "training", "--everything")
    assert_misuse(run(capsys, *both), "--everything")


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Run `undertone-trust serve` as a process; yield its address and folder."""
    path = write_settings(tmp_path)
    command = [sys.executable, "-m", "consent.cli", "serve", "--settings", str(path), "--json"]
    with subprocess.Popen(  # noqa: S603 (our own program)
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        started = ""
        while not started.rstrip().endswith("}"):
            line = process.stdout.readline()
            if not line:
                pytest.fail(process.stderr.read())
            started += line
        yield json.loads(started)["serving"], tmp_path
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def chooses(capsys: pytest.CaptureFixture[str], token_file: Path, at: tuple[object, ...]) -> None:
    """Restrict, lift it, and object to offers, as whoever holds the token."""
    by_token = ("--token-file", token_file)
    assert run(capsys, "consent", "restrict", *by_token, *at)[0] == 0
    assert run(capsys, "consent", "restrict", "--lift", *by_token, *at)[0] == 0
    code, out, err = run(capsys, "consent", "object", "--purpose", "offers", *by_token, *at)
    assert code == 0, err
    assert json.loads(out)["receipt"]["dpv:hasPurpose"] == ["undertone:offers"]


def invites(capsys: pytest.CaptureFixture[str], folder: Path, at: tuple[object, ...]) -> str:
    """Ask bob by a page and its picture, with the node's key; return the page."""
    invite = (
        "consent", "invite", "--key", folder / "north.key", "--subject", "bob", "--purpose",
        "service", "--notice", 1, "--valid-days", 30, "--picture", folder / "code.svg", *at,
    )  # fmt: skip
    code, out, err = run(capsys, *invite)
    assert code == 0, err
    assert (folder / "code.svg").read_text(encoding="utf-8").startswith("<svg ")
    return str(json.loads(out)["page"])


def test_service_runs_over_tls_from_enrolment_to_withdrawal(
    serving: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Officer, operator, node and person do their part against a real process over TLS."""
    url, folder = serving
    at = ("--url", url, "--ca", folder / "authority.crt", "--json")
    officer = ("--key", folder / "officer.signing-key")
    (folder / "en.txt").write_text("We analyse expressed emotion.", encoding="utf-8")
    text = f"en={folder / 'en.txt'}"
    for command in (
        ("notice", "publish", "--version", 1, "--text", text, *officer, *at),
        ("dpia", "approve", "--dpia", "d1", "--purpose", "service", "--mitigation", "redaction",
         "--by", "Anna Officer", *officer, *at),
    ):  # fmt: skip
        code, _, err = run(capsys, *command)
        assert code == 0, err
    node = SigningKey.generate("north")
    enrol = ("node", "enrol", "north", "--company", "acme", "--key", node.verify_key)
    code, _, err = run(capsys, *enrol, "--admin-token-file", folder / "admin.token", *at)
    assert code == 0, err

    def ask(method: str, path: str, value: Any = None) -> httpx.Response:
        body = b"" if value is None else json.dumps(value).encode()
        headers = sign_request(node, method=method, path=path, body=body, now=time.time())
        return client.request(method, path, content=body, headers=headers)

    context = ssl.create_default_context(cafile=str(folder / "authority.crt"))
    with httpx.Client(base_url=url, verify=context, trust_env=False) as client:
        granted = ask(
            "POST",
            "/v1/grants",
            proof("We analyse expressed emotion.")
            | {
                "subject": "alice",
                "purposes": ["service"],
                "modalities": ["text"],
                "notice_version": 1,
                "act": "ticked_box",
                "informed": True,
                "valid_days": 30,
            },
        ).json()
        token_file = folder / "manage.token"
        token_file.write_text(granted["manage_token"] + "\n", encoding="utf-8")
        chooses(capsys, token_file, at)
        node.save(folder / "north.key")
        page = invites(capsys, folder, at)
        assert client.get(page.removeprefix(url)).status_code == 200
        withdraw = ("withdraw", "--token", granted["manage_token"], "--purpose", "service")
        code, _, err = run(capsys, *withdraw, *at)
        assert code == 0, err
        envelope = ask("GET", "/v1/standing?after=0&wait_s=0").content
    key = SigningKey.load(folder / "trust.signing-key").verify_key
    standings = {s["subject"]: s for s in unseal("standing", envelope, key)["standings"]}
    standing = standings["alice"]
    assert (standing["withdrawn"], standing["objected"]) == (["service"], ["offers"])
    assert not standing["restricted"]
    code, out, _ = run(capsys, "status", *at)
    assert (code, json.loads(out)["status"]) == (0, "ok")
    code, out, _ = run(capsys, "checkpoint", "show", *at)
    assert json.loads(out)["checkpoint"].startswith("trust\n")
    wrong = ("withdraw", "--token", "A" * 43, "--everything", *at)
    code, _, err = run(capsys, *wrong)
    assert (code, err.count("\n")) == (1, 1)
    assert run(capsys, "stop", "set", "--by", "Anna", *officer, *at)[0] == 0
    code, _, err = run(capsys, "stop", "clear", "--by", "Anna", "--yes", *officer, *at)
    assert (code, err.count("\n")) == (1, 1)
    assert "lifted by two" in err
