"""Passwords: Argon2id (RFC 9106), and the rules of NIST SP 800-63B section 3.1.1.2.

Length counts, composition does not; a password that is guessed early is refused, by zxcvbn's
lists of passwords that leaked and its patterns (Wheeler 2016), and by our own words. Hashing
takes 64 MiB and a tenth of a second, so only two run at a time.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Container
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn

from audit.errors import PasswordRefused

LEAST, MOST = 12, 128
_AT_ONCE = threading.Semaphore(2)
_OF_NOBODY = "a password that no account has"

_LEAST_GUESSES = 10**8
"""With the waits of `throttle`, about three thousand years at one account."""

_OUR_WORDS = (
    "undertone",
    *("officer", "operator", "auditor", "admin", "compliance", "consent", "privacy", "emotion"),
    *("welcome", "willkommen", "bienvenue", "passwort", "motdepasse", "changeme"),
)
"""What somebody who knows the product tries first."""


class Passwords:
    """Hashes and checks; `hasher` has the parameters (RFC 9106's for little memory by default).

    `leaked` are passwords that nobody may take besides.
    """

    def __init__(
        self, hasher: PasswordHasher | None = None, *, leaked: Container[str] = ()
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._leaked = leaked

    @cached_property
    def _nobodys(self) -> str:
        """Return what is compared where there is no account; made when somebody first signs in."""
        return self._hasher.hash(_OF_NOBODY)

    def hash(self, password: str, *, name: str) -> str:
        """Check a new password by the rules and return its hash.

        Raises:
            PasswordRefused: Too short, too long, one of those tried first or that leaked.
            AccountsUnavailable: The operator's file of those that leaked cannot be read.
        """
        plain = _normal(password)
        check_password(plain, name=name)
        if plain in self._leaked:
            raise PasswordRefused("this password leaked somewhere: take a sentence of your own")
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
    words = [*_OUR_WORDS, *re.findall(r"[^\W_]+", name.lower()), name.lower()]
    if zxcvbn(password, user_inputs=words, max_length=MOST)["guesses"] < _LEAST_GUESSES:
        raise PasswordRefused("this is among the passwords tried first: take a sentence")


def _normal(password: str) -> str:
    """Return the password as Unicode NFKC, so that another keyboard types the same."""
    return unicodedata.normalize("NFKC", password)
