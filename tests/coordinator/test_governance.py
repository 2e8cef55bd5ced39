"""What the coordinator hears of governance: believed when fresh, signed and its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from audit.signing import SigningKey, verify_request
from coordinator.errors import GovernanceRejected, SettingsInvalid, TrustUnavailable
from coordinator.governance import GovernanceCopy
from coordinator.governance_keeper import GovernanceKeeper, TrustClient
from coordinator.settings import CoordinatorSettings
from policies.vocabulary import NodeId
from tests.coordinator.trust import APPROVED, MemoryTrust

NOW = 1_800_000_000.0


@pytest.fixture
def trust() -> MemoryTrust:
    """Return a trust service at a fixed time."""
    return MemoryTrust(lambda: NOW)


@pytest.fixture
def copy(trust: MemoryTrust) -> GovernanceCopy:
    """Return an empty copy that believes that trust service."""
    return GovernanceCopy(name=NodeId("coordinator"), key=trust.key.verify_key, clock=lambda: NOW)


def test_governance_is_as_old_as_its_envelope(trust: MemoryTrust, copy: GovernanceCopy) -> None:
    """Before the first envelope there is none; then it is as of the envelope's own second."""
    assert copy.governance is None
    copy.hear(trust.envelope(sequence=4, issued_at=int(NOW) - 7))
    assert copy.sequence == 4
    assert copy.governance is not None
    assert copy.governance.as_of == int(NOW) - 7
    assert copy.governance.dpia_purposes == APPROVED.dpia_purposes


FORGED: dict[str, Callable[[MemoryTrust], bytes]] = {
    "another's signature": lambda t: t.envelope(sequence=4, key=SigningKey.generate("trust")),
    "another's envelope": lambda t: t.envelope(sequence=4, node="branch-1"),
    "an older second": lambda t: t.envelope(sequence=4, issued_at=int(NOW) - 9),
    "an older sequence": lambda t: t.envelope(sequence=3),
    "the future": lambda t: t.envelope(sequence=4, issued_at=int(NOW) + 61),
    "no governance": lambda t: t.envelope(sequence=4, governance={}),
    "no time": lambda t: t.envelope(sequence=4, issued_at=None),
    "no envelope": lambda _: b"{}",
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_not_believed_changes_nothing(
    trust: MemoryTrust, copy: GovernanceCopy, name: str
) -> None:
    """Forged, foreign, replayed, malformed and premature envelopes are refused whole."""
    copy.hear(trust.envelope(sequence=4, issued_at=int(NOW) - 8))
    before = copy.governance
    trust.decree(stopped=True)
    with pytest.raises(GovernanceRejected):
        copy.hear(FORGED[name](trust))
    assert copy.governance == before


def test_fresh_envelope_counts(trust: MemoryTrust, copy: GovernanceCopy) -> None:
    """What those forgeries are copied from is believed, a stop included."""
    copy.hear(trust.envelope(sequence=4, issued_at=int(NOW) - 8))
    trust.decree(stopped=True)
    copy.hear(trust.envelope(sequence=4))
    assert copy.governance is not None
    assert copy.governance.stopped


def test_keeper_does_what_follows_even_where_the_answer_failed(
    trust: MemoryTrust, copy: GovernanceCopy
) -> None:
    """A trust service that is down lets what was heard age, and what follows still happens."""
    polled: list[bool] = []
    keeper = GovernanceKeeper(trust, copy, poll_s=0.01, also=lambda: polled.append(trust.down))
    keeper.poll()
    trust.down = True
    with pytest.raises(TrustUnavailable):
        keeper.poll()
    assert copy.governance is not None
    keeper._run_once()
    assert polled == [True]
    keeper.stop()
    assert trust.closed


def test_what_the_trust_service_says_forges_no_line_of_diagnostics(
    trust: MemoryTrust, copy: GovernanceCopy, caplog: pytest.LogCaptureFixture
) -> None:
    """Line ends and escape sequences of an answer are written out."""
    keeper = GovernanceKeeper(trust, copy, poll_s=0.01, also=lambda: None)
    keeper._failed(TrustUnavailable("zq\r\nall is well\x1b[2J"))
    (line,) = caplog.messages
    assert line == r"no fresh governance: zq\nall is well\x1b[2J"


def test_client_signs_its_request_and_bounds_the_answer() -> None:
    """The request carries the coordinator's signature over its very path and query."""
    key, seen = SigningKey.generate("coordinator"), []
    answers = iter([b"{}", b"x" * (2**20 + 1)])

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        found = verify_request(
            dict(request.headers),
            method="GET",
            path=path,
            body=b"",
            find_key=lambda _: key.verify_key,
            now=NOW,
        )
        seen.append((found, path))
        return httpx.Response(200, content=next(answers))

    client = TrustClient(
        "https://trust",
        authority=None,
        key=key,
        clock=lambda: NOW,
        transport=httpx.MockTransport(answer),
    )
    assert client.standing(after=3, wait_s=2.0) == b"{}"
    assert seen == [("coordinator", "/v1/standing?after=3&wait_s=2")]
    with pytest.raises(TrustUnavailable, match="too large"):
        client.standing(after=3, wait_s=2.0)
    client.close()


@pytest.mark.parametrize("missing", ["trust_url", "trust_ca", "trust_key"])
def test_settings_name_the_trust_service_whole(tmp_path: Path, missing: str) -> None:
    """Two of the three settings are refused when read: half a trust service is a mistake."""
    lines = {
        "folder": "f", "signing_key": "k", "admin_token_file": "t", "certificate": "c",
        "private_key": "p", "authority": "a", "trust_url": "https://trust", "trust_ca": "ca",
        "trust_key": "v",
    }  # fmt: skip
    whole = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    path = tmp_path / "coordinator.toml"
    path.write_text(f"{whole}[portal]\nleaked_passwords = 'leaked.txt'\n")
    read = CoordinatorSettings.load(path)
    assert read.trust_ca == tmp_path / "ca"
    assert read.portal.leaked_passwords == tmp_path / "leaked.txt"
    path.write_text(
        "".join(li for li in whole.splitlines(keepends=True) if not li.startswith(missing))
    )
    with pytest.raises(SettingsInvalid):
        CoordinatorSettings.load(path)
