"""The tree of this package's errors.

    UndertoneError
    └── ConsentError
        ├── SettingsInvalid     the settings file, or a file or key that it names
        ├── RequestInvalid      a request whose content cannot be accepted
        ├── NotAuthenticated    a caller that is not who it must be
        ├── NotFound            no such notice, node or entry
        │   └── LinkUnknown     a person's token that opens nothing, whatever the reason
        ├── ReceiptInvalid      a receipt that somebody holds is not what was given out
        ├── Conflict            it contradicts what is already recorded
        │   └── EvidenceMissing a request or register entry that cannot be closed yet
        ├── Busy                enough of this is being done already: later again
        ├── LedgerUnavailable   the ledger cannot be read or written: the act did not happen
        ├── RemoteRefused       (command line) the trust service said no
        └── RemoteUnreachable   (command line) no trust service answers

A message says what happened and the remedy; it names ids and digests, never personal text.
"""

from __future__ import annotations

from policies.errors import UndertoneError


class ConsentError(UndertoneError):
    """Stand at the root of this package's errors."""


class SettingsInvalid(ConsentError):  # noqa: N818 (reads as the fact it states, as in policies)
    """Reject a settings file, or a file or key that it names."""


class RequestInvalid(ConsentError):  # noqa: N818
    """Reject a request whose content cannot be accepted; `field` is the first that is wrong."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotAuthenticated(ConsentError):  # noqa: N818
    """Reject a caller that is not enrolled, or that shows no valid token or signature."""


class NotFound(ConsentError):  # noqa: N818
    """Report that a notice, node or log entry is not known here."""


class LinkUnknown(NotFound):
    """Report that a person's token opens nothing; who sends many waits."""


class ReceiptInvalid(ConsentError):  # noqa: N818
    """Reject a receipt file that is not, to the byte that counts, what was given out."""


class Conflict(ConsentError):  # noqa: N818
    """Reject an act that contradicts what is already recorded."""


class EvidenceMissing(Conflict):
    """Refuse to close what is not shown to be done; the message says what is missing."""


class Busy(ConsentError):  # noqa: N818
    """Report that enough of this is being done already; ask again later."""


class LedgerUnavailable(ConsentError):  # noqa: N818
    """Report that the ledger cannot be read or written; the act did not happen."""


class RemoteRefused(ConsentError):  # noqa: N818
    """Carry what the trust service answered instead of doing it."""


class RemoteUnreachable(ConsentError):  # noqa: N818
    """Report that no trust service answers at the address."""
