"""What can go wrong when a whole federation is started on one machine.

    UndertoneError
    └── DeployError
        ├── Misuse          the options or the data file are wrong: exit code 2
        ├── PartFailed      a service did not start or ended; names it and its last line
        └── SampleInvalid   the built-in sample is broken

A message says what to do next, because a newcomer reads it.
"""

from __future__ import annotations

from policies.errors import UndertoneError


class DeployError(UndertoneError):
    """Stand at the root of this folder's errors."""


class Misuse(DeployError):  # noqa: N818 (reads as the fact it states)
    """Reject options or a data file; the message says which and what to give instead."""


class PartFailed(DeployError):  # noqa: N818
    """Report a part of the federation that did not start, did not answer, or ended."""


class SampleInvalid(DeployError):  # noqa: N818
    """Reject a line of the built-in sample."""
