"""Passwords that leaked, looked up in the operator's own file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import AccountsUnavailable
from audit.portal.leaked import LeakedPasswords
from audit.portal.settings import PortalSettings
from audit.staff import StaffRole
from tests.audit.portal.conftest import PASSWORD, Desk

LEAKED = "eight dull herons sleep"
"""Long and unusual enough for every other rule."""


def _hash(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def _file(folder: Path, *passwords: str, end: str = "\r\n") -> Path:
    """Write passwords as the downloader of Pwned Passwords does."""
    lines = sorted(f"{_hash(password)}:{3 + len(password)}" for password in passwords)
    path = folder / "pwned.txt"
    path.write_bytes(end.join(lines).encode())
    return path


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    inside=st.sets(st.text(max_size=9), min_size=1, max_size=40),
    outside=st.sets(st.text(max_size=9), max_size=40),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_in_the_file_is_found_and_nothing_else(
    tmp_path: Path, inside: set[str], outside: set[str], end: str
) -> None:
    """First, last and every other line, whatever the lengths of the counts."""
    found = LeakedPasswords(_file(tmp_path, *inside, end=end))
    assert all(password in found for password in inside)
    assert not any(password in found for password in outside - inside)


def test_a_large_file_is_searched_where_it_lies(tmp_path: Path) -> None:
    """Of a hundred thousand lines a few dozen are read."""
    found = LeakedPasswords(_file(tmp_path, *(f"password {n}" for n in range(100_000))))
    assert "password 99999" in found
    assert "password 100000" not in found


def test_a_password_that_leaked_is_nobodys(make_desk: Callable[..., Desk], tmp_path: Path) -> None:
    """Neither a first password nor a later one; the line says why and not what it was."""
    given_ = PortalSettings(leaked_passwords=_file(tmp_path, LEAKED, "x"))
    desk = make_desk(given_)
    desk.staff("ada", StaffRole.OFFICER)
    browser = desk.sign_in("ada")
    page = browser.get("/account/password").text
    form = {
        "csrf": page.split('name="csrf" value="')[1].split('"')[0],
        "password": PASSWORD,
        "new": LEAKED,
        "code": desk.code("ada"),
    }
    answer = browser.post("/account/password", data=form)
    assert answer.status_code == 422, answer.text
    assert "leaked somewhere" in answer.text
    assert LEAKED not in answer.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "give the file"),
        (b"password\nletmein\n", "give the file"),
        (b"0123456789ABCDEF0123456789ABCDEF:7\n" * 9, "give the file"),  # NTLM
        (b"".join(b"%040X:1\n" % n for n in range(900, 0, -1)), "not in order"),
    ],
)
def test_a_file_of_another_kind_refuses_the_start(
    tmp_path: Path, content: bytes, said: str
) -> None:
    """Empty, plain words, another hash, ordered by how often: one line with the remedy."""
    path = tmp_path / "pwned.txt"
    path.write_bytes(content)
    with pytest.raises(AccountsUnavailable, match=said) as refused:
        LeakedPasswords(path)
    assert "with SHA-1, ordered by hash" in str(refused.value)


def test_a_file_that_went_away_lets_no_password_pass(tmp_path: Path) -> None:
    """What cannot be checked is not taken."""
    path = _file(tmp_path, LEAKED)
    found = LeakedPasswords(path)
    path.unlink()
    with pytest.raises(AccountsUnavailable, match="cannot be read"):
        _ = PASSWORD in found
