"""Passwords: Argon2id (RFC 9106), and the rules of NIST SP 800-63B section 3.1.1.2.

Length counts, composition does not; a password that everybody tries first is refused. Hashing
takes 64 MiB and a tenth of a second, so only two run at a time.
"""

from __future__ import annotations

import threading
import unicodedata
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from audit.errors import PasswordRefused

LEAST, MOST = 12, 128
_AT_ONCE = threading.Semaphore(2)
_OF_NOBODY = "a password that no account has"

_TRIED_FIRST = frozenset(
    """
    password passwort motdepasse contrasena welcome willkommen bienvenue letmein iloveyou admin
    administrator qwerty qwertz azerty qwertyuiop asdfghjkl monkey dragon football baseball
    superman batman master sunshine princess shadow trustno changeme secret default login hello
    undertone officer operator auditor compliance consent privacy summer winter spring autumn
    """.split()  # noqa: SIM905 (a list of words reads best as words)
)
_RUNS = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")


class Passwords:
    """Hashes and checks; `hasher` has the parameters (RFC 9106's for little memory by default)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()

    @cached_property
    def _nobodys(self) -> str:
        """Return what is compared where there is no account; made when somebody first signs in."""
        return self._hasher.hash(_OF_NOBODY)

    def hash(self, password: str, *, name: str) -> str:
        """Check a new password by the rules and return its hash.

        Raises:
            PasswordRefused: Too short, too long, or one of those tried first.
        """
        plain = _normal(password)
        check_password(plain, name=name)
        with _AT_ONCE:
            return self._hasher.hash(plain)

    def fits(self, password: str, known: str | None) -> bool:
        """Say whether a password has this hash; without one it takes as long and is False."""
        with _AT_ONCE:
            nobodys = self._nobodys  # before the choice, so that the first question tells nothing
            try:
                fits = self._hasher.verify(known or nobodys, _normal(password)[:MOST])
            except (VerificationError, InvalidHashError):
                return False
        return fits and known is not None


def check_password(password: str, *, name: str) -> None:
    """Return if a password may be taken.

    Raises:
        PasswordRefused: It may not; the line says why and never what it was.
    """
    if not LEAST <= len(password) <= MOST:
        raise PasswordRefused(
            f"a password has {LEAST} to {MOST} characters, of any kind: take a sentence"
        )
    bare = "".join(c for c in password.lower() if c.isalpha())
    words = _TRIED_FIRST | {name.lower(), "".join(c for c in name.lower() if c.isalpha())}
    halves = {bare, bare[: len(bare) // 2] if bare == bare[: len(bare) // 2] * 2 else bare}
    if halves & words or len(set(password)) < 5 or _is_run(password.lower()):  # noqa: PLR2004
        raise PasswordRefused("this is among the passwords tried first: take a sentence")


def _is_run(password: str) -> bool:
    """Say whether it is a row of keys or the alphabet, once or twice, forwards or back."""
    return any(password in order * 2 or password[::-1] in order * 2 for order in _RUNS)


def _normal(password: str) -> str:
    """Return the password as Unicode NFKC, so that another keyboard types the same."""
    return unicodedata.normalize("NFKC", password)
