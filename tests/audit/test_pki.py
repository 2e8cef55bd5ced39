"""Certificates: names checked, days checked, private files private."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from audit.errors import CertificateExpired, CertificateInvalid
from audit.pki import (
    check_certificate,
    create_authority,
    issue_server,
    issue_supernode_key,
    server_context,
)

NOW = 1_800_000_000.0
DAY_S = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an authority."""
    create_authority(tmp_path / "pki", clock=lambda: NOW)
    return tmp_path / "pki"


def test_pki_server_certificate_is_trusted_for_its_names_only(folder: Path) -> None:
    """A client that trusts the authority accepts the named hosts and refuses another."""
    path = issue_server(folder, "trust", hosts=("localhost", "127.0.0.1"), clock=lambda: NOW)
    authority = x509.load_pem_x509_certificate((folder / "authority.crt").read_bytes())
    leaf = x509.load_pem_x509_certificate(path.read_bytes())
    when = leaf.not_valid_before_utc.replace(tzinfo=None)
    builder = PolicyBuilder().store(Store([authority])).time(when)
    builder.build_server_verifier(x509.DNSName("localhost")).verify(leaf, [])
    with pytest.raises(VerificationError):
        builder.build_server_verifier(x509.DNSName("elsewhere")).verify(leaf, [])


def test_pki_certificate_outside_its_days_is_refused(folder: Path) -> None:
    """A certificate is good within its days, and says how long."""
    path = issue_server(folder, "trust", days=2, clock=lambda: NOW)
    assert check_certificate(path, NOW) == 2 * DAY_S
    with pytest.raises(CertificateExpired, match="expired on"):
        check_certificate(path, NOW + 2 * DAY_S)
    with pytest.raises(CertificateExpired, match="not valid yet"):
        check_certificate(path, NOW - DAY_S)
    with pytest.raises(CertificateExpired):
        server_context(path, folder / "trust.key", now=NOW + 3 * DAY_S)


def test_pki_key_of_another_certificate_is_refused(folder: Path) -> None:
    """Certificate and key that do not belong together are one clear error."""
    path = issue_server(folder, "trust", clock=lambda: NOW)
    issue_server(folder, "node", clock=lambda: NOW)
    with pytest.raises(CertificateInvalid, match="do not belong together"):
        server_context(path, folder / "node.key", now=NOW)
    (folder / "bad.crt").write_text("x")
    with pytest.raises(CertificateInvalid):
        check_certificate(folder / "bad.crt", NOW)


def test_pki_files_are_private_and_never_overwritten(folder: Path) -> None:
    """Every file has mode 0600; nothing is replaced; without an authority nothing is issued."""
    issue_server(folder, "trust", clock=lambda: NOW)
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    attempts: tuple[Callable[[], Path], ...] = (
        lambda: create_authority(folder),
        lambda: issue_server(folder, "trust"),
        lambda: issue_server(folder / "none", "trust"),
    )
    for again in attempts:
        with pytest.raises(CertificateInvalid):
            again()


def test_pki_supernode_pair_is_openssh_p384(folder: Path) -> None:
    """Flower reads an OpenSSH pair on P-384, and the halves belong together."""
    path = issue_supernode_key(folder, "node-1")
    private = load_ssh_private_key(path.read_bytes(), password=None)
    public = load_ssh_public_key((folder / "node-1.pub").read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert private.public_key() == public
    assert private.curve.name == "secp384r1"
    server = load_pem_private_key((folder / "authority.key").read_bytes(), password=None)
    assert isinstance(server, ec.EllipticCurvePrivateKey)
