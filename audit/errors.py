"""The tree of this package's errors; the root of all is `policies.errors.UndertoneError`.

AuditError
├── KeyInvalid              a key, key name or key file that cannot be used
├── SignatureInvalid        a signature that does not hold
│   ├── RequestExpired      a signed request that is too old, too new, or seen before
│   └── KeyChangeInvalid    a change of a log's key that its keys did not sign
├── EnvelopeInvalid         bytes that are no sealed envelope of the expected kind
├── EventInvalid            an event outside the closed set, or with content in it
│   └── EntryRepeated       an id that the log has already
├── KeyChangeRefused        a rotation or retirement that cannot be made now
├── EvidenceUnavailable     the log cannot record or answer: the use does not happen
│   └── ArchiveOffline      entries lie in an archive that is not at hand
├── EntryMissing            an entry, size or person that is not there to be proven
├── ProofInvalid            a Merkle proof or receipt that does not hold
├── CheckpointInvalid       text that is no signed checkpoint
├── LogTampered             the log is not what was signed; says what and where
├── RetentionInvalid        a retention policy that is none, or shorter than the law
├── HoldRefused             a step of a legal hold that cannot be taken now
│   └── HoldUnknown         no such hold
├── ErasureHeld             an erasure that a legal hold stops; tells why, and until when
├── WitnessRefused          a checkpoint that a witness does not cosign; says why
├── PeerUnavailable         another service's witness that does not answer: asked again later
├── NotSignedIn             a request for staff by nobody known
├── NotPermitted            a member of staff in a role that may not do this
├── SignInRefused           name, password or code that do not belong together
├── TooManyAttempts         it was wrong too often: wait
├── RequestForged           a form or script that is not of our own pages
├── PasswordRefused         a new password that is too short, or tried first by everybody
├── AccountUnknown          no account or token of that name
├── AccountConflict         an account that is there already
├── AccountInvalid          a name, role or span that an account or token cannot have
├── AccountsUnavailable     the store of accounts cannot be read or written
├── ProviderUnavailable     an identity provider that does not answer as it should
├── KeystoreError
│   ├── KeystoreUnavailable the keystore cannot be opened, read or written
│   ├── KeyDestroyed        the key is gone, and with it what it sealed
│   └── SealBroken          sealed bytes that were changed, or belong elsewhere
├── CertificateInvalid      a certificate or its key that cannot be used
│   └── CertificateExpired  a certificate outside its days
├── AttributeNotAllowed     a telemetry attribute outside the allow-list
└── ServeFailed             a service that cannot listen
    └── PortTaken           because another process does
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from policies.errors import UndertoneError


class AuditError(UndertoneError):
    """Stand at the root of this package's errors."""


class KeyInvalid(AuditError):  # noqa: N818 (these names read as the fact they state)
    """Reject a key, key name or key file that cannot be used."""


class SignatureInvalid(AuditError):  # noqa: N818
    """Reject a signature that does not hold."""


class RequestExpired(SignatureInvalid):
    """Reject a signed request that is too old, from the future, or seen before."""


class KeyChangeInvalid(SignatureInvalid):
    """Reject an entry that changes a log's key without the word of the keys it had."""


class KeyChangeRefused(AuditError):  # noqa: N818
    """Report that a log's key cannot be rotated or retired now; says why."""


class EnvelopeInvalid(AuditError):  # noqa: N818
    """Reject bytes that are no sealed envelope of the expected kind."""


class EventInvalid(AuditError):  # noqa: N818
    """Reject an event outside the closed set, or one that could carry content; names the field."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class EntryRepeated(EventInvalid):
    """Reject an id that the log has already, and under which something else was recorded."""


class EvidenceUnavailable(AuditError):  # noqa: N818
    """Report that the log cannot record or answer; the use does not happen."""


class ArchiveOffline(EvidenceUnavailable):
    """Report that entries lie in an archive that is not at hand."""


class RetentionInvalid(AuditError):  # noqa: N818
    """Reject a retention policy that is none, or that keeps less than the law asks."""


class HoldRefused(AuditError):  # noqa: N818
    """Reject a step of a legal hold that cannot be taken, or not by this person."""


class HoldUnknown(HoldRefused):
    """Report that there is no such hold."""


class ErasureHeld(AuditError):  # noqa: N818
    """Refuse an erasure that a legal hold stops; says why and when that is looked at again."""


class EntryMissing(AuditError):  # noqa: N818
    """Report an entry, size or person that is not there to be proven."""


class ProofInvalid(AuditError):  # noqa: N818
    """Reject a Merkle proof or receipt that does not hold."""


class CheckpointInvalid(AuditError):  # noqa: N818
    """Reject text that is no signed checkpoint."""


class Tampering(StrEnum):
    """What was done to a log."""

    EDITED = "edited"  # a leaf is not the one that was hashed
    REORDERED = "reordered"  # a leaf stands where another stood
    MISSING = "missing"  # an entry in the middle is gone
    TRUNCATED = "truncated"  # the log ends below a signed checkpoint
    FORKED = "forked"  # another history than the one that was signed
    NODE = "node"  # a stored tree node is wrong, missing or too many
    SIGNATURE = "signature"  # a checkpoint without a good signature
    PAYLOAD = "payload"  # a payload is not the one the leaf committed to
    FORMAT = "format"  # not an evidence log
    ARCHIVE = "archive"  # a file of an archive is not the one that was signed


class LogTampered(AuditError):  # noqa: N818
    """Say what was done to a log, and at which entry or size (`index`)."""

    def __init__(self, what: Tampering, message: str, *, index: int | None = None) -> None:
        super().__init__(f"{what}: {message}")
        self.what = what
        self.message = message
        self.index = index

    def __reduce__(self) -> tuple[object, ...]:
        """Let a process that helps to verify hand it over."""
        return _tampered, (self.what, self.message, self.index)


def _tampered(what: Tampering, message: str, index: int | None) -> LogTampered:
    return LogTampered(what, message, index=index)


class Refusal(IntEnum):
    """Why a witness does not cosign; the value is the HTTP status of C2SP tlog-witness."""

    MALFORMED = 400  # no submission, or an old size beyond the new one
    UNTRUSTED = 403  # not signed by a key of its log
    UNKNOWN_LOG = 404  # the origin is none that this witness knows
    CONFLICT = 409  # the old size is not the one cosigned last
    INCONSISTENT = 422  # not shown to continue the one cosigned last


class WitnessRefused(AuditError):  # noqa: N818
    """Say why a checkpoint is not cosigned; `size` is the one cosigned last, in a conflict."""

    def __init__(self, why: Refusal, message: str, *, size: int | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.size = size


class PeerUnavailable(AuditError):  # noqa: N818
    """Report that another service's witness does not answer; it is asked again later."""


class NotSignedIn(AuditError):  # noqa: N818
    """Reject a request for staff by nobody who is known."""


class NotPermitted(AuditError):  # noqa: N818
    """Reject a member of staff whose role may not do this."""


class SignInRefused(NotSignedIn):
    """Reject a name, password and code that do not belong together; never says which."""


class SecondFactorMissing(SignInRefused):
    """Report that an identity provider does not say that it asked for a second factor."""


class NotAdmitted(SignInRefused):
    """Report that an identity provider knows somebody whose roles open nothing here."""


class TooManyAttempts(AuditError):  # noqa: N818
    """Report that signing in, or a key, was wrong too often; `retry_after_s` must pass."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"it was wrong too often: wait {max(1, round(wait_s))} s")
        self.retry_after_s = wait_s


class RequestForged(NotPermitted):
    """Reject a form or script that was not sent by a page of ours."""


class FormInvalid(AuditError):  # noqa: N818
    """Refuse a form that no page of ours could have sent."""


class PasswordRefused(AuditError):  # noqa: N818
    """Reject a new password; says why and never what it was."""


class AccountUnknown(AuditError):  # noqa: N818
    """Report that there is no account or token of that name."""


class AccountConflict(AuditError):  # noqa: N818
    """Reject an account that is there already."""


class AccountInvalid(AuditError):  # noqa: N818
    """Reject a name, role or span that an account or token cannot have."""


class AccountsUnavailable(AuditError):  # noqa: N818
    """Report that the store of accounts cannot be read or written."""


class ProviderUnavailable(AuditError):  # noqa: N818
    """Report that the identity provider does not answer, or not as the standard says."""


class KeystoreError(AuditError):
    """Stand at the root of the keystore's errors."""


class KeystoreUnavailable(KeystoreError):  # noqa: N818
    """Report that the keystore cannot be opened, read or written."""


class KeyDestroyed(KeystoreError):  # noqa: N818
    """Report that the key is gone, and with it what it sealed."""


class SealBroken(KeystoreError):  # noqa: N818
    """Reject sealed bytes that were changed or belong to something else."""


class CertificateInvalid(AuditError):  # noqa: N818
    """Reject a certificate or its private key."""


class CertificateExpired(CertificateInvalid):
    """Reject a certificate outside its days."""


class AttributeNotAllowed(AuditError):  # noqa: N818
    """Reject a telemetry attribute outside the allow-list."""


class ServeFailed(AuditError):  # noqa: N818
    """Report that a service cannot listen."""


class PortTaken(ServeFailed):
    """Report that another process listens there."""
