"""Stores of rows keep their word in SQLite and PostgreSQL alike, and say no secret either way."""

from __future__ import annotations

import socket as sockets
import sqlite3
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from audit.database import PASSWORD_FILE
from audit.errors import AccountInvalid, AccountsUnavailable
from audit.portal.ledger import StaffLedger
from audit.portal.tables import AccountRow
from tests.audit import postgres

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL 15, section 55.7
NO_TLS, ASKS_PASSWORD = b"N", b"R" + struct.pack("!ii", 8, 3)


@pytest.fixture(scope="module")
def socket() -> Iterator[Path]:
    """Return the socket of a server."""
    with postgres.server() as running:
        yield running


def _row(name: str) -> AccountRow:
    return AccountRow(name=name, roles="officer", made_at=1.0)


@pytest.mark.parametrize("form", ["postgresql", "postgresql+pg8000"])
def test_a_database_is_named_as_the_log_s_is(socket: Path, form: str) -> None:
    """One form of URL for log and rows, with the driver's name or without; a second start reads."""
    url = postgres.make_database(socket, f"named-{form}").replace("postgresql", form, 1)
    for found in ([], ["ada"]):
        with closing(StaffLedger(url)) as ledger:
            assert [row.name for row in ledger.accounts()] == found
            if not found:
                ledger.put(_row("ada"))


def test_a_connection_that_breaks_is_told_and_the_next_works(socket: Path) -> None:
    """Whichever way the driver hears of it; nothing of a statement's values is in the message."""
    url = postgres.make_database(socket, "cut")
    with closing(StaffLedger(url)) as ledger, closing(postgres.connect(socket, "cut")) as other:
        ledger.put(_row("ada"))
        for _ in range(6):  # a broken pipe, or a reset: pg8000 says them differently
            assert ledger.account("ada") is not None
            assert ledger.account("somebody") is None
            other.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = 'cut' AND pid <> pg_backend_pid()"
            )
            with pytest.raises(AccountsUnavailable, match="try again") as caught:
                ledger.put(_row("somebody"))
            chain: BaseException | None = caught.value
            while chain is not None:
                assert "somebody" not in str(chain)
                chain = chain.__cause__


def test_a_text_that_cannot_be_kept_is_the_callers_fault(socket: Path) -> None:
    """PostgreSQL holds no NUL: said as that, and not as a database that does not answer."""
    with closing(StaffLedger(postgres.make_database(socket, "nul"))) as ledger:
        with pytest.raises(AccountInvalid, match="cannot be kept"):
            ledger.account("a\0b")
        with pytest.raises(AccountInvalid, match="cannot be kept"):
            ledger.put(_row("a\0b"))
        assert ledger.accounts() == []


def test_a_file_is_its_user_s_alone(tmp_path: Path) -> None:
    """SQLite's file is born with mode 0600."""
    with closing(StaffLedger(f"sqlite:///{tmp_path / 'staff.db'}")):
        assert (tmp_path / "staff.db").stat().st_mode & 0o077 == 0


def test_a_start_that_dies_while_it_makes_tables_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are one transaction: the next start begins with nothing, not with half."""
    path = tmp_path / "staff.db"
    monkeypatch.setattr("alembic.op.add_column", _dies)  # in the second of the steps
    with pytest.raises(AccountsUnavailable):
        StaffLedger(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as found:
        assert found.execute("SELECT name FROM sqlite_master").fetchall() == []


def _dies(*_: object) -> None:
    raise OSError


class Fake:
    """A server without TLS that hears how a connection begins, and lets nobody in."""

    def __init__(self, host: str) -> None:
        self.heard: list[bytes] = []
        self._listening = sockets.create_server((host, 0))
        self._listening.settimeout(5)
        self.url = f"postgresql://ada@{host}:{self._listening.getsockname()[1]}/staff"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        with self._listening.accept()[0] as caller:
            for answer in (NO_TLS, ASKS_PASSWORD, b""):
                if not (said := caller.recv(1024)):
                    return
                self.heard.append(said)
                caller.sendall(answer)


def test_beyond_this_machine_there_is_tls_or_nothing() -> None:
    """Not even a name is said to a server that has none."""
    with Fake("127.0.0.2") as beyond, pytest.raises(AccountsUnavailable):
        StaffLedger(beyond.url)
    assert beyond.heard == [SSL_REQUEST]


def test_the_password_comes_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no settings file holds it; a file that is not there is told in one line."""
    monkeypatch.setenv(PASSWORD_FILE, str(tmp_path / "password"))
    with pytest.raises(AccountsUnavailable, match="cannot be opened") as caught:
        StaffLedger("postgresql://ada@127.0.0.1:1/staff")
    assert "\n" not in str(caught.value)
    (tmp_path / "password").write_text("of the file\n")
    with Fake("127.0.0.1") as here, pytest.raises(AccountsUnavailable):
        StaffLedger(here.url)
    assert here.heard[-1][5:] == b"of the file\0"


@pytest.mark.parametrize(
    "url", ["", "mysql://u@localhost/x", "postgresql://u:secret@127.0.0.1:1/x", "no url at all"]
)
def test_a_database_that_cannot_be_opened_is_one_line(url: str) -> None:
    """Whatever is wrong with it, and no secret is in the line."""
    with pytest.raises(AccountsUnavailable, match="cannot be opened") as caught:
        StaffLedger(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
