"""The key of single sign-on: private, logged before it is there, replaced at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.errors import AccountsUnavailable, EvidenceUnavailable
from audit.portal.cli import sign_on_app
from audit.portal.sign_on_key import SignOnKey
from tests.audit.portal.conftest import BOOTSTRAP_TOKEN
from tests.audit.portal.two_sites import Pair, pair

__all__ = ["pair"]


def test_the_key_is_private_and_is_replaced(pair: Pair) -> None:
    """By an operator, logged; the old one is gone, and whoever comes next is let in by the new."""
    folder = pair.authority.parent.parent / "home" / "sign-on"
    (before,) = folder.iterdir()
    assert before.stat().st_mode & 0o077 == 0
    old = pair.browser(pair.home).get("/sign-on/keys").json()
    bearer = {"Authorization": f"Bearer {BOOTSTRAP_TOKEN}"}
    answer = pair.browser(pair.home).post("/v1/sign-on-key/rotate", headers=bearer)
    (after,) = folder.iterdir()
    assert after != before
    (key,) = pair.browser(pair.home).get("/sign-on/keys").json()["keys"]
    assert key["kid"] == answer.json()["key"] != old["keys"][0]["kid"]
    assert pair.home.last("staff-acted")["act"] == "POST:/v1/sign-on-key/rotate"
    told = [e.event.fields for e in pair.home.log.entries(0, pair.home.log.size)]
    made = [(f["staff"], f["key"]) for f in told if f.get("step") == "key-made"]
    assert made == [(None, old["keys"][0]["kid"]), ("bootstrap", key["kid"])]
    assert SignOnKey(folder, record=_not_now).public() == {"keys": [key]}
    pair.wait(31)
    pair.at_both()


def test_a_command_replaces_the_key(pair: Pair, tmp_path: Path) -> None:
    """With an operator's token; what it prints is the id of the key that signs from then on."""

    def call(_: str, path: str, *, ca: Path | None, body: bytes, headers: dict[str, str]) -> Any:
        assert ca is None
        answer = pair.browser(pair.home).post(path, content=body, headers=headers)
        return answer.raise_for_status().json()

    (tmp_path / "admin.token").write_text(BOOTSTRAP_TOKEN)
    words = ["rotate-key", "--admin-token-file", str(tmp_path / "admin.token"), "--json"]
    printed = CliRunner().invoke(sign_on_app(call, url=pair.home_url), words)
    (key,) = pair.browser(pair.home).get("/sign-on/keys").json()["keys"]
    assert json.loads(printed.stdout) == {"key": key["kid"]}
    assert pair.home.last("sign-on")["key"] == key["kid"]


def test_a_key_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    """At the start, before anybody is signed in by it."""
    (tmp_path / "sign-on-1.pem").write_text("no key")
    with pytest.raises(AccountsUnavailable, match="key of single sign-on"):
        SignOnKey(tmp_path, record=_not_now)


def test_a_key_that_is_not_recorded_is_not_made(tmp_path: Path) -> None:
    """Neither the first nor a new one: the old goes on signing, and no file is there of the new."""
    with pytest.raises(EvidenceUnavailable):
        SignOnKey(tmp_path, record=_not_now)
    assert list(tmp_path.iterdir()) == []
    key = SignOnKey(tmp_path, record=lambda _: None)
    before = (key.public(), list(tmp_path.iterdir()))
    with pytest.raises(EvidenceUnavailable):
        key.rotate(record=_not_now)
    assert (key.public(), list(tmp_path.iterdir())) == before


def _not_now(key: str) -> None:
    raise EvidenceUnavailable(f"the log cannot record {key} now")
