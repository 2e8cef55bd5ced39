"""API keys: they end, the next is taken without a restart, and one that ended says so."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client_node.access import ApiKeys, last_day, new_key
from client_node.cli import app
from client_node.errors import AccessDenied, StartRefused

NOON = datetime(2026, 12, 30, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400


def _write(path: Path, *lines: str) -> Path:
    """Put lines into a file that only its owner may read, as an editor does."""
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n")
    new.chmod(0o600)
    return new.rename(path)


def _asked(keys: ApiKeys, key: str) -> str:
    return keys.integration(f"Bearer {key}", address="198.51.100.1")


def test_a_key_is_good_to_the_end_of_its_day_and_then_says_so(tmp_path: Path) -> None:
    """It ends by itself; who holds it learns why, who guesses does not."""
    key, digest = new_key()
    now = [NOON]
    path = _write(tmp_path / "keys", f"crm:sha256:{digest}:2026-12-31")
    keys = ApiKeys.load(path, clock=lambda: now[0])
    now[0] = NOON + DAY_S * 1.49
    assert _asked(keys, key) == "crm"
    now[0] = NOON + DAY_S * 1.5
    with pytest.raises(AccessDenied, match="good until 2026-12-31: ask the operator"):
        _asked(keys, key)
    with pytest.raises(AccessDenied, match="send a valid API key"):
        _asked(keys, "b" * 43)


def test_the_next_key_is_taken_beside_the_last_without_a_restart(tmp_path: Path) -> None:
    """Both are good while both are in the file; a key that was taken out is out at once."""
    (old, old_digest), (new, new_digest) = new_key(), new_key()
    path = _write(tmp_path / "keys", f"crm:sha256:{old_digest}:2026-12-31")
    keys = ApiKeys.load(path, clock=lambda: NOON)
    with pytest.raises(AccessDenied):
        _asked(keys, new)
    lines = f"crm:sha256:{old_digest}:2026-12-31", f"crm:sha256:{new_digest}:2027-03-31"
    _write(path, *lines)
    assert (_asked(keys, old), _asked(keys, new)) == ("crm", "crm")
    _write(path, lines[1])
    assert _asked(keys, new) == "crm"
    with pytest.raises(AccessDenied):
        _asked(keys, old)


def test_a_file_that_no_longer_holds_changes_nothing_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip of the operator's shuts nobody out, and says where it is."""
    key, digest = new_key()
    path = _write(tmp_path / "keys", f"crm:sha256:{digest}:2026-12-31")
    keys = ApiKeys.load(path, clock=lambda: NOON)
    with caplog.at_level(logging.ERROR, "undertone"):
        _write(path, "crm:sha256:zz")
        assert _asked(keys, key) == "crm"
        assert "line 1 is not" in caplog.text
        caplog.clear()
        path.unlink()
        assert _asked(keys, key) == "crm"
        assert "the keys that were read before stay" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "crm:sha256:" + "a" * 64 + ":2026-02-30",
        "crm:sha256:" + "a" * 64 + ":soon",
        "crm:sha256:" + "a" * 64 + ":",
        "crm:sha256:" + "a" * 63,
        "crm:short",
    ],
)
def test_a_line_that_is_no_key_refuses_the_start(tmp_path: Path, line: str) -> None:
    """A mistyped end is no key without an end, and a mistyped digest no plain key."""
    with pytest.raises(StartRefused, match="line 1 is not name:sha256:HEX:DAY"):
        ApiKeys.load(_write(tmp_path / "keys", line), clock=lambda: NOON)


def test_a_key_without_an_end_is_told_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It works, as before; by name and never by key."""
    (key, _), (_, digest) = new_key(), new_key()
    path = _write(tmp_path / "keys", f"crm:{key}", f"kiosk:sha256:{digest}:2026-12-31")
    with caplog.at_level(logging.WARNING, "undertone"):
        assert _asked(ApiKeys.load(path, clock=lambda: NOON), key) == "crm"
    assert "crm has a key without an end" in caplog.text
    assert "kiosk" not in caplog.text
    assert key not in caplog.text


def test_the_command_makes_a_key_that_ends(monkeypatch: Any) -> None:
    """Ninety days unless said, a year at most."""
    monkeypatch.setattr("time.time", lambda: NOON)
    made = CliRunner().invoke(app, ["key", "new", "crm"])
    assert made.stdout.strip().endswith(f":{last_day(90, now=NOON)}") is True
    assert last_day(90, now=NOON).isoformat() == "2027-03-30"
    assert CliRunner().invoke(app, ["key", "new", "crm", "--days", "400"]).exit_code == 2
