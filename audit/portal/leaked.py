"""Passwords that leaked, from a file of the operator's: nobody outside is asked.

The file is that of Pwned Passwords (Hunt), as its downloader makes it: one line for each password,
SHA-1 in hexadecimal, a colon and how often it was seen, ordered by hash. It has some 40 GB and is
searched where it lies, in about forty reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from audit.errors import AccountsUnavailable

_LINE = re.compile(rb"([0-9A-Fa-f]{40})(?::[0-9]+)?\r?\n?")
_LONGEST_LINE = 80
_SAMPLES = 64
_Told = TypeVar("_Told")
_REMEDY = "give the file of Pwned Passwords with SHA-1, ordered by hash"


class LeakedPasswords:
    """Looks passwords up in the file."""

    def __init__(self, path: Path) -> None:
        """Take a file, after looking at a sample of it.

        Raises:
            AccountsUnavailable: It cannot be read, is of another kind, or is not in order.
        """
        self._path = path
        seen = self._reading(_sample)
        if seen != sorted(seen):
            raise AccountsUnavailable(f"leaked_passwords {path}: not in order: {_REMEDY}")

    def __contains__(self, password: str) -> bool:
        """Tell whether a password is among them.

        Raises:
            AccountsUnavailable: The file cannot be read any more.
        """
        wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
        return self._reading(lambda file: _found(file, wanted))

    def _reading(self, look: Callable[[BinaryIO], _Told]) -> _Told:
        try:
            with self._path.open("rb") as file:
                return look(file)
        except OSError as error:
            raise AccountsUnavailable(
                f"leaked_passwords {self._path}: cannot be read ({type(error).__name__})"
            ) from error
        except ValueError as error:
            raise AccountsUnavailable(f"leaked_passwords {self._path}: {_REMEDY}") from error


def _found(file: BinaryIO, wanted: bytes) -> bool:
    """Halve the stretch in which the line begins until nothing is left of it."""
    low, high = 0, _size(file)
    while low < high:
        middle = (low + high) // 2
        start, found = _line_from(file, middle)
        if found == wanted:
            return True
        if found is not None and found < wanted:
            low = start + 1
        else:
            high = middle
    return False


def _line_from(file: BinaryIO, offset: int) -> tuple[int, bytes | None]:
    """Return where the first line at or after an offset begins, and its hash; None at the end.

    Raises:
        ValueError: It is no such line.
    """
    file.seek(max(0, offset - 1))
    if offset:
        file.readline(_LONGEST_LINE)  # the rest of the line before
    start, line = file.tell(), file.readline(_LONGEST_LINE)
    if not line:
        return start, None
    matched = _LINE.fullmatch(line)
    if matched is None:
        raise ValueError("no line of a hash")
    return start, matched[1].upper()


def _sample(file: BinaryIO) -> list[bytes]:
    """Return hashes from the whole length of a file.

    Raises:
        ValueError: It has none, or something else.
    """
    size = _size(file)
    found = [_line_from(file, size * part // _SAMPLES)[1] for part in range(_SAMPLES)]
    if found[0] is None:
        raise ValueError("an empty file")
    return [each for each in found if each is not None]


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)
