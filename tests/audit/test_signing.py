"""Keys, envelopes and signed requests: what is signed holds, and nothing else does."""

from __future__ import annotations

import json
import pickle
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from audit.errors import EnvelopeInvalid, KeyInvalid, RequestExpired, SignatureInvalid
from audit.signing import (
    ReplayGuard,
    SigningKey,
    VerifyKey,
    envelope_key_name,
    seal,
    sign_request,
    unseal,
    verify_request,
)
from policies.canonical import canonical

KEY = SigningKey.generate("coordinator.example")
OTHER = SigningKey.generate("coordinator.example")
BODY = {"round": 3, "weights": "AAAA", "nested": {"b": [1, 2.5, None], "a": "ü"}}
SEALED = seal("terms", BODY, KEY)
NOW = 1_800_000_000.0

# golang.org/x/mod/sumdb: the key of the Go checksum database
GO_SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


def test_verify_key_reads_a_published_vkey() -> None:
    """A vkey in the wild is read, its key id recomputed, and written back the same."""
    assert str(VerifyKey.parse(GO_SUMDB)) == GO_SUMDB


@pytest.mark.parametrize(
    "text",
    ["", "a+b", GO_SUMDB.replace("033de0ae", "033de0af"), GO_SUMDB[:-4], "a b" + GO_SUMDB[14:]],
)
def test_verify_key_refuses_a_damaged_vkey(text: str) -> None:
    """A wrong key id, a short key or a name with a space is no key."""
    with pytest.raises(KeyInvalid):
        VerifyKey.parse(text)


def test_signing_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    """A saved key has mode 0600, loads to the same key, and a second save is refused."""
    path = tmp_path / "node.key"
    KEY.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).verify_key == KEY.verify_key
    with pytest.raises(KeyInvalid, match="never overwritten"):
        OTHER.save(path)
    path.chmod(0o640)
    with pytest.raises(KeyInvalid, match="other users"):
        SigningKey.load(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"undertone-signing-key-v1\nx\nAAAA\n"])
def test_signing_key_refuses_a_file_that_is_no_key(tmp_path: Path, content: bytes) -> None:
    """A file that is no key is one clear error."""
    path = tmp_path / "bad.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyInvalid):
        SigningKey.load(path)


def test_signing_key_is_neither_printed_nor_pickled() -> None:
    """No way of writing the object down shows the secret."""
    assert "_key" not in repr(KEY)
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


def test_envelope_returns_what_was_sealed() -> None:
    """The body comes back, from the right key and kind."""
    assert unseal("terms", SEALED, KEY.verify_key) == BODY
    assert envelope_key_name(SEALED) == "coordinator.example"


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_envelope_with_any_bit_flipped_is_refused(bit: int) -> None:
    """No single changed bit goes unnoticed."""
    damaged = bytearray(SEALED)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises((EnvelopeInvalid, SignatureInvalid)):
        unseal("terms", bytes(damaged), KEY.verify_key)


def test_envelope_of_another_kind_or_key_is_refused() -> None:
    """Neither relabelling the kind nor another key of the same name passes."""
    with pytest.raises(EnvelopeInvalid):
        unseal("release", SEALED, KEY.verify_key)
    relabelled = SEALED.replace(b'"kind":"terms"', b'"kind":"update"')
    with pytest.raises(SignatureInvalid):
        unseal("update", relabelled, KEY.verify_key)
    with pytest.raises(SignatureInvalid):
        unseal("terms", SEALED, OTHER.verify_key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        SEALED + b"\n",
        b" " + SEALED,
        json.dumps(json.loads(SEALED)).encode(),
        canonical({**json.loads(SEALED), "more": 1}),
        canonical({**json.loads(SEALED), "body": [1]}),
        b"[" * 100_000,
        SEALED.replace(b'"round":3', b'"round":3,"round":4'),
    ],
)
def test_envelope_that_is_not_canonical_is_refused(data: bytes) -> None:
    """Other spellings of the same JSON, duplicate keys and deep nesting are no envelopes."""
    with pytest.raises(EnvelopeInvalid):
        unseal("terms", data, KEY.verify_key)


def test_envelope_beyond_its_size_is_refused_unparsed() -> None:
    """A size limit is checked before anything is parsed."""
    with pytest.raises(EnvelopeInvalid, match="at most 10"):
        unseal("terms", SEALED, KEY.verify_key, max_bytes=10)


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": 2**60}, {"x": {1, 2}}])
def test_envelope_of_what_is_not_json_is_refused(body: dict[str, object]) -> None:
    """What two parties could read differently is not signed."""
    with pytest.raises(EnvelopeInvalid):
        seal("terms", body, KEY)


def _verify(
    headers: Mapping[str, str],
    *,
    method: str = "POST",
    path: str = "/v1/grants?x=1",
    body: bytes = b"{}",
    now: float = NOW,
    replay: ReplayGuard | None = None,
) -> str:
    return verify_request(
        headers,
        method=method,
        path=path,
        body=body,
        find_key={"coordinator.example": KEY.verify_key}.get,
        now=now,
        replay=replay,
    )


def _signed() -> dict[str, str]:
    return sign_request(KEY, method="POST", path="/v1/grants?x=1", body=b"{}", now=NOW)


def test_request_signed_just_now_names_its_key() -> None:
    """A good request is good within its seconds, whatever the case of its header names."""
    assert _verify(_signed(), now=NOW + 59) == "coordinator.example"
    assert _verify({name.lower(): v for name, v in _signed().items()}) == "coordinator.example"


def test_request_with_anything_changed_is_refused() -> None:
    """Method, path, query, body, time and nonce are all signed."""
    for change in ({"method": "GET"}, {"path": "/v1/grants?x=2"}, {"body": b"{ }"}):
        with pytest.raises(SignatureInvalid):
            _verify(_signed(), **change)
    for header in ("Undertone-Time", "Undertone-Nonce", "Undertone-Key", "Undertone-Signature"):
        for value in ("", "1", "nan", "coordinator.example2"):
            with pytest.raises(SignatureInvalid):
                _verify(_signed() | {header: value})


def test_request_with_a_header_twice_is_refused() -> None:
    """One reader takes the first, another the last: neither may be of what was not signed."""
    signed = [(name.lower().encode(), value.encode()) for name, value in _signed().items()]
    assert _verify(Headers(raw=signed)) == "coordinator.example"
    for name, value in signed:
        for again in ([(name, b"1.0"), *signed], [*signed, (name, value)]):
            with pytest.raises(SignatureInvalid, match="once"):
                _verify(Headers(raw=again))


def test_request_replayed_or_off_in_time_is_refused() -> None:
    """A request is good for a minute, and once."""
    guard, headers = ReplayGuard(), _signed()
    _verify(headers, replay=guard)
    with pytest.raises(RequestExpired, match="seen before"):
        _verify(headers, replay=guard)
    _verify(_signed(), replay=guard)
    for now in (NOW + 61, NOW - 61):
        with pytest.raises(RequestExpired):
            _verify(_signed(), now=now)


def test_replay_guard_forgets_old_nonces_and_closes_when_full() -> None:
    """Memory is bounded: old nonces go, and a full guard refuses rather than forgets."""
    guard = ReplayGuard(window_s=10, most=2)
    guard.accept("a", "1", now=0)
    guard.accept("a", "2", now=1)
    with pytest.raises(RequestExpired, match="too many"):
        guard.accept("a", "3", now=2)
    guard.accept("a", "3", now=11.5)
