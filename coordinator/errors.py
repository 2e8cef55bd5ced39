"""The coordinator's errors, one tree below the root of all.

CoordinatorError
├── SettingsInvalid      the settings file, a key or a certificate cannot be used
├── PlanRejected         a plan that the mathematics or the vocabulary does not allow
├── PlanUnknown          no accepted plan has that digest
├── RunUnknown           no run has that name
├── RunConflict          another run is in progress
├── RunStopped           a person stopped the run, or the rules did
├── BudgetRefused        the central ledger does not cover the run or its next round
├── NodeUnknown          no registered node has that name
├── NodeConflict         the name is taken by another key
├── NodeKeyInvalid       a node's key that is not what it must be
├── CohortTooSmall       fewer nodes are ready than the plan needs
├── ReplyRejected        a node's reply that does not count; says why
├── AggregationRejected  updates that cannot be averaged
├── ReleaseRejected      a run that cannot be released
├── ReleaseUnknown       no release has that name
├── ApprovalForeign      an approval in the name of somebody who is not signed in
├── CourierClosed        the courier's queue was shut while somebody waited
├── GovernanceRejected   an envelope of the trust service that does not count
├── TrustUnavailable     the trust service does not answer
├── FlowerUnavailable    the SuperLink does not answer, or answers with an error
└── ServiceUnavailable   the coordinator's own API answered with a problem (SDK)
"""

from __future__ import annotations

from policies.errors import UndertoneError


class CoordinatorError(UndertoneError):
    """Stand at the root of this package's errors."""


class SettingsInvalid(CoordinatorError):  # noqa: N818
    """Reject a settings file, key or certificate that cannot be used."""


class PlanRejected(CoordinatorError):  # noqa: N818
    """Reject a plan that the mathematics or the vocabulary does not allow."""


class PlanUnknown(CoordinatorError):  # noqa: N818
    """Report that no accepted plan has this digest."""


class RunUnknown(CoordinatorError):  # noqa: N818
    """Report that no run has this name."""


class RunConflict(CoordinatorError):  # noqa: N818
    """Refuse a second run while one is in progress."""


class RunStopped(CoordinatorError):  # noqa: N818
    """End a run because a person stopped it, or the rules did."""


class BudgetRefused(CoordinatorError):  # noqa: N818
    """Report that the central ledger does not cover the next step."""


class NodeUnknown(CoordinatorError):  # noqa: N818
    """Report that no registered node has this name."""


class NodeConflict(CoordinatorError):  # noqa: N818
    """Refuse to bind another key to a node's name."""


class NodeKeyInvalid(CoordinatorError):  # noqa: N818
    """Reject a node's key that is not of the expected form."""


class CohortTooSmall(CoordinatorError):  # noqa: N818
    """Report that fewer nodes are ready than the plan needs."""


class ReplyRejected(CoordinatorError):  # noqa: N818
    """Reject a node's reply; it counts as absent."""


class AggregationRejected(CoordinatorError):  # noqa: N818
    """Reject updates that cannot be averaged."""


class ReleaseRejected(CoordinatorError):  # noqa: N818
    """Refuse to release what is not there to release."""


class ApprovalForeign(CoordinatorError):  # noqa: N818
    """Refuse an approval in the name of somebody else."""


class ReleaseUnknown(CoordinatorError):  # noqa: N818
    """Report that no release has this name."""


class CourierClosed(CoordinatorError):  # noqa: N818
    """Report that the courier's queue was shut while somebody waited."""


class GovernanceRejected(CoordinatorError):  # noqa: N818
    """Reject an envelope of the trust service; what was heard before stays, and ages."""


class TrustUnavailable(CoordinatorError):  # noqa: N818
    """Report that the trust service does not answer, or not with success."""


class FlowerUnavailable(CoordinatorError):  # noqa: N818
    """Report that the SuperLink does not answer, or answers with an error."""


class ServiceUnavailable(CoordinatorError):  # noqa: N818
    """Carry the problem with which the coordinator's API answered the SDK."""
