"""The database of a store of rows, by URL: a SQLite file, or PostgreSQL by pg8000.

SQLite runs with WAL, synchronous=FULL and secure_delete, its file of mode 0600. PostgreSQL is
`postgresql://USER@HOST/DATABASE`, or with `?socket=PATH` over a Unix socket; beyond this machine it
speaks TLS, verified, and the password comes from the file that `PASSWORD_FILE` names. Tables come
from the migrations alone. What a failed statement was about is in no message.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
from sqlalchemy import URL, Connection, Engine, ExceptionContext, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlmodel import create_engine

PASSWORD_FILE = "UNDERTONE_DATABASE_PASSWORD_FILE"  # noqa: S105 (the name of a variable)
BROKEN = (SQLAlchemyError, OSError)
"""How a database fails; pg8000 lets what a broken socket says through as it is."""

_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})
_NO_SUCH_TEXT = "22021"  # PostgreSQL holds no NUL (SQLSTATE, appendix A)
_PRAGMAS = (
    *("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"),
    "busy_timeout=5000",
)


def open_database(url: str, migrations: Path) -> Engine:
    """Connect, and bring the tables up to date in one transaction.

    Raises:
        SQLAlchemyError, ImportError, OSError, UnicodeError: It, or the file of its password,
            cannot be opened, or its tables cannot be migrated.
    """
    engine = _engine(make_url(url))
    with engine.begin() as connection:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
    return engine


def is_text_refused(error: BaseException) -> bool:
    """Return whether a statement failed for a text that this database cannot hold."""
    said = error.orig.args[:1] if isinstance(error, DBAPIError) and error.orig else ()
    return any(isinstance(part, dict) and part.get("C") == _NO_SUCH_TEXT for part in said)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).touch(mode=0o600)
        engine = create_engine(url, hide_parameters=True)
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        return engine
    engine = create_engine(_by_pg8000(url), connect_args=_secrets(url), hide_parameters=True)
    event.listen(engine, "handle_error", _note_broken)
    return engine


def _by_pg8000(url: URL) -> URL:
    query = {("unix_sock" if n == "socket" else n): value for n, value in url.query.items()}
    return url.set(drivername="postgresql+pg8000", query=query)


def _secrets(url: URL) -> dict[str, Any]:
    """Return the password of a URL without one, and how to know a server beyond this machine."""
    local = bool({"socket", "unix_sock"} & set(url.query)) or (url.host or "") in _LOCAL
    found: dict[str, Any] = {} if local else {"ssl_context": ssl.create_default_context()}
    path = os.environ.get(PASSWORD_FILE)
    if path is not None and url.password is None:
        found["password"] = Path(path).read_text(encoding="utf-8").strip()
    return found


def _begin(connection: Connection) -> None:
    """Begin for ourselves: Python's driver begins no transaction before a CREATE TABLE.

    Without this a process that is killed while it migrates leaves half of the tables.
    """
    connection.exec_driver_sql("BEGIN")


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # see `_begin`
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _note_broken(context: ExceptionContext) -> None:
    """Let a connection whose socket broke go, with all that were made before it."""
    if isinstance(context.original_exception, OSError):
        context.is_disconnect = True
