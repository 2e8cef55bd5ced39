"""People's interface by TLS, as browsers need it to sign in."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from audit.pki import create_authority, issue_server, server_context
from coordinator.api import create_app
from coordinator.cli import app
from coordinator.client import CoordinatorClient
from coordinator.errors import ServiceUnavailable, SettingsInvalid
from coordinator.serve import _server
from coordinator.settings import CoordinatorSettings
from tests.coordinator.test_service import TOKEN, Centre, centre

__all__ = ["centre"]


@contextmanager
def by_tls(centre: Centre, folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve the coordinator by TLS; yield its address and the authority that vouches for it."""
    folder.mkdir()
    authority = create_authority(folder)
    certificate = issue_server(folder, "centre")
    tls = server_context(certificate, certificate.with_suffix(".key"), now=time.time())
    server = _server(create_app(centre.service, admin_token=TOKEN), tls=tls)
    bound = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        yield f"https://127.0.0.1:{bound.getsockname()[1]}", authority
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()


def test_the_coordinator_speaks_tls_to_who_trusts_its_authority(
    centre: Centre, tmp_path: Path
) -> None:
    """The SDK reaches it by the authority that vouches for it, and not without."""
    with by_tls(centre, tmp_path / "pki") as (url, authority):
        with CoordinatorClient(url, token=TOKEN, ca=authority) as client:
            assert client.runs() == []
        with (
            CoordinatorClient(url, token=TOKEN) as stranger,
            pytest.raises(ServiceUnavailable, match="did not answer"),
        ):
            stranger.runs()


def test_staff_are_made_and_listed_from_the_command_line_by_tls(
    centre: Centre, tmp_path: Path
) -> None:
    """`staff add|list|disable` with --ca; without it or the right token one line, exit 1."""
    token = tmp_path / "admin.token"
    token.write_text(TOKEN)
    wrong = tmp_path / "wrong.token"
    wrong.write_text("not-the-admin-token-of-this-test")

    with by_tls(centre, tmp_path / "pki") as (url, authority):

        def staff(*words: str, file: Path = token, ca: Path | None = authority) -> Result:
            trusted = [] if ca is None else ["--ca", str(ca)]
            where = ["--admin-token-file", str(file), "--url", url, *trusted]
            return CliRunner().invoke(app, ["staff", *words, *where])

        made = staff("add", "ada", "--role", "data-scientist", "--json")
        assert made.exit_code == 0, made.output
        assert json.loads(made.stdout)["one_time_token"]
        assert staff("disable", "ada", "--yes").exit_code == 0
        listed = json.loads(staff("list", "--json").stdout)
        assert [(row["name"], row["state"]) for row in listed] == [("ada", "disabled")]
        for refused in (
            staff("add", "ada", "--role", "operator"),
            staff("list", ca=None),
            staff("list", file=wrong),
        ):
            assert (refused.exit_code, refused.stdout) == (1, "")
            assert refused.stderr.startswith("undertone-coordinator: ")
            assert "Traceback" not in refused.stderr


def test_people_beyond_the_machine_are_served_by_tls_alone(tmp_path: Path) -> None:
    """A host that others reach is refused without `tls`."""
    lines = [f'{n} = "x"' for n in ("folder", "signing_key", "admin_token_file", "certificate")]
    lines += ['private_key = "x"', 'authority = "x"', 'host = "0.0.0.0"']
    file = tmp_path / "coordinator.toml"
    file.write_text("\n".join(lines))
    with pytest.raises(SettingsInvalid, match="value_error"):
        CoordinatorSettings.load(file)
    file.write_text("\n".join([*lines, "tls = true"]))
    assert CoordinatorSettings.load(file).tls
