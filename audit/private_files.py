"""Files for one user's eyes: written durably with mode 0600, destroyed by overwriting.

Overwriting reaches the blocks that the file system maps to the file today; a copy-on-write
file system, a snapshot or a flash controller may keep older blocks. Keystore folders
therefore belong on a volume without snapshots (documented for operators), and hold only
wrapping keys that are replaced at each erasure.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from audit.errors import EvidenceUnavailable


def create_private(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600 and make it durable.

    It has its name only once it is whole, so that a process that is killed leaves none half
    written under it.

    Raises:
        FileExistsError: The file is already there; it is left as it is.
        OSError: The disk or folder does not take it; nothing half-written stays.
    """
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)  # of a process that was killed here
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path, follow_symlinks=False)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def destroy_file(path: Path) -> None:
    """Overwrite a file with random bytes, make that durable, and unlink it.

    Raises:
        OSError: The disk does not take the overwrite; the file is still there.
    """
    with path.open("r+b") as file:
        file.write(os.urandom(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (POSIX fsync of a directory)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Ownership:
    """Hold a folder or database for one process, until closed or the process ends.

    A second owner is refused, so that two writers cannot fork one log. Held by flock(2) on
    a file beside the database: SQLite's own locks are dropped when any descriptor of the
    database file is closed, ours must not touch them.
    """

    def __init__(self, path: Path) -> None:
        """Take the ownership.

        Raises:
            EvidenceUnavailable: Another owner holds it, or the file cannot be made.
        """
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EvidenceUnavailable(f"cannot open {path.name}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise EvidenceUnavailable(
                f"{path.name} is held by another owner: stop the other service, or close it first"
            ) from error

    def release(self) -> None:
        """Give the ownership back; more than once does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
