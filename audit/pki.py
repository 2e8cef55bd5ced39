"""Certificates for the services of one organisation, and keys for Flower's SuperNodes.

One authority (ECDSA P-256) signs short-lived server certificates with the names that clients
check (subject alternative names). SuperNode keys are the OpenSSH ECDSA P-384 pairs that
Flower's `--auth-supernode-private-key` takes. All private files have mode 0600. An operator
with a PKI of their own uses that one; nothing asks where a certificate comes from.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from audit.errors import CertificateExpired, CertificateInvalid
from audit.private_files import create_private
from policies.clock import Clock

AUTHORITY_DAYS = 3650
_BACKDATE = timedelta(minutes=5)  # a client's clock may be a little behind


def create_authority(folder: Path, *, clock: Clock = time.time) -> Path:
    """Make `authority.crt` and `authority.key`; return the certificate's path.

    Raises:
        CertificateInvalid: They exist already, or the folder does not take them.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Undertone authority")
    builder = _builder(name, name, key.public_key(), days=AUTHORITY_DAYS, clock=clock)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    return _write(folder, "authority", builder.sign(key, hashes.SHA256()), key)


def issue_server(
    folder: Path,
    name: str,
    *,
    hosts: Sequence[str] = ("localhost", "127.0.0.1"),
    days: float = 30,
    clock: Clock = time.time,
) -> Path:
    """Make `NAME.crt` and `NAME.key` for a server; return the certificate's path.

    Args:
        folder: Where `create_authority` left the authority.
        name: The service.
        hosts: DNS names and IP addresses under which clients reach it.
        days: Days for which it is good.
        clock: Unix seconds.

    Raises:
        CertificateInvalid: No authority there, or the files exist or cannot be written.
    """
    authority, authority_key = _load_authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), authority.subject, key.public_key(), days=days, clock=clock)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(authority=False), critical=True)
    server_auth = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(server_auth, critical=False)
    alternatives = x509.SubjectAlternativeName([_host(host) for host in hosts])
    builder = builder.add_extension(alternatives, critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    return _write(folder, name, builder.sign(authority_key, hashes.SHA256()), key)


def issue_supernode_key(folder: Path, name: str) -> Path:
    """Make the OpenSSH pair `NAME` and `NAME.pub` for a SuperNode; return the private path.

    Raises:
        CertificateInvalid: The files exist or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    _create(folder / name, private)
    _create(folder / f"{name}.pub", public + f" {name}\n".encode())
    return folder / name


def check_certificate(path: Path, now: float) -> float:
    """Return the seconds for which a certificate is still good.

    Raises:
        CertificateExpired: It is over, or has not begun.
        CertificateInvalid: Not a readable certificate.
    """
    certificate = _load_certificate(path)
    begins = certificate.not_valid_before_utc.timestamp()
    ends = certificate.not_valid_after_utc.timestamp()
    if now >= ends:
        when = certificate.not_valid_after_utc.date().isoformat()
        raise CertificateExpired(f"{path.name} expired on {when}: issue a new one")
    if now < begins:
        raise CertificateExpired(f"{path.name} is not valid yet: check this machine's clock")
    return ends - now


def server_context(certificate: Path, private_key: Path, *, now: float) -> ssl.SSLContext:
    """Return a TLS context (1.2 and later) for a server.

    Raises:
        CertificateExpired: The certificate is outside its days.
        CertificateInvalid: It or the key is unreadable, or they do not belong together.
    """
    check_certificate(certificate, now)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, private_key)
    except (OSError, ssl.SSLError) as error:
        raise CertificateInvalid(
            f"{certificate.name} and {private_key.name} do not belong together, "
            "or the key cannot be read"
        ) from error
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    *,
    days: float,
    clock: Clock,
) -> x509.CertificateBuilder:
    begins = datetime.fromtimestamp(clock(), tz=UTC) - _BACKDATE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + _BACKDATE + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _load_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate = _load_certificate(folder / "authority.crt")
    try:
        pem = (folder / "authority.key").read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CertificateInvalid("authority.key cannot be read: create the authority") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateInvalid("authority.key is not an elliptic-curve key")
    return certificate, key


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateInvalid(f"{path.name} is not a readable certificate") from error


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> Path:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _create(folder / f"{name}.key", private)
    _create(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
    return folder / f"{name}.crt"


def _create(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(path, data)
    except FileExistsError as error:
        raise CertificateInvalid(f"{path.name} exists: it is never overwritten") from error
    except OSError as error:
        raise CertificateInvalid(f"{path.name} cannot be written: {error.strerror}") from error
