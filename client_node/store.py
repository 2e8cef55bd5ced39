"""One SQLite file of the node's, read and written in whole steps; each write is on disk on return.

What the disk refuses comes out as one line that names the file's matter and the kind of failure,
and nothing of what a row says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, SQLModel

from client_node.errors import VaultError
from client_node.tables import open_store


class Store:
    """The file; thread-safe, as each step has a session of its own."""

    def __init__(self, path: Path, tables: Sequence[type[SQLModel]]) -> None:
        """Open or make the file; its name says what it is about.

        Raises:
            VaultError: It cannot be opened.
        """
        self._what = path.stem
        try:
            self._engine = open_store(path, tables)
        except (SQLAlchemyError, OSError) as error:
            raise VaultError(f"{path.name} cannot be opened: {type(error).__name__}") from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session to look with.

        Raises:
            VaultError: The disk refuses.
        """
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                yield session
        except SQLAlchemyError as error:
            raise VaultError(f"{self._what} cannot be read: {type(error).__name__}") from error

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session whose changes are on disk, all of them, once the step ends without error.

        Raises:
            VaultError: The disk refuses: nothing was changed.
        """
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                yield session
                session.commit()
        except SQLAlchemyError as error:
            raise VaultError(f"{self._what} cannot be written: {type(error).__name__}") from error

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()
