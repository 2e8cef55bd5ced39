"""The errors of the node.

NodeError
├── StartRefused            the node cannot start safely; one line says why
├── TurnInvalid             a turn, label or use that is not well formed
│   ├── TurnEmpty           no text
│   ├── TurnTooLong         more text than a turn may carry
│   ├── TurnUndecodable     bytes that are not UTF-8
│   ├── TurnGarbled         characters that no conversation has
│   └── LabelUnknown        a label the node's policy does not map
├── PersonTwice             a customer who is known under two pseudonyms
├── Overloaded              as many turns are under way as may be
├── TooManyWatchers         as many watch the alerts as may
├── TurnUnknown             no such turn is sealed here, or not for that purpose
├── AccessDenied            no integration has that key
├── ConnectionForbidden     a host that the node's policy does not name (promise 10)
├── NodeUnreachable         a running node that does not answer its command line, or says no
├── NodeProblem             a node that says no to its client, or does not answer it
├── TrustUnavailable        the trust service cannot be reached or answers wrongly
│   └── TrustRefused        it answered, and says no
├── DeliveryUnknown         no webhook of that id is kept here
├── WithdrawalUnknown       no withdrawal of that name is kept here
├── StandingRejected        an envelope of standing that may not be applied
├── VaultError              a sealed record that cannot be opened or stored
├── LedgerRolledBack        the budget ledger is older than the log says (promise 6)
├── RedactionUnavailable    personal data cannot be removed, so nothing is read
├── HintsRejected           a list of hints that is not approved, or that the guard blocks
├── ArticlesRejected        articles that cannot be read
├── RepliesRejected         a list of replies that is not approved, or that the guard blocks
├── ReplyModelFailed        a reply model that gives no text in time
├── ApprovalUnknown         nothing of that id waits for approval any more
├── ApprovalRefused         an approval by somebody who did not look, or of what is over
├── ReleaseRejected         a release that is not signed, logged or whole (promise 9)
├── RecalibrationRefused    too few labels, or none that may be used
├── LocalHeadRefused        no head of this node's own is fitted now
├── RoundRefused            this node does not take part; carries a closed reason
└── UpdateRejected          an update that no spent round stands behind
"""

from __future__ import annotations

from enum import StrEnum

from policies.errors import UndertoneError


class NodeError(UndertoneError):
    """Stand at the root of this package's errors."""


class StartRefused(NodeError):  # noqa: N818
    """Report in one line why the node cannot start safely."""


class TurnInvalid(NodeError):  # noqa: N818
    """Reject a turn, label or use that is not well formed."""


class PersonTwice(NodeError):  # noqa: N818
    """Report that a customer is known under two pseudonyms: nothing says which to obey."""


class TurnEmpty(TurnInvalid):
    """Reject a turn without text."""


class TurnTooLong(TurnInvalid):
    """Reject a turn with more text than one turn may carry."""


class TurnUndecodable(TurnInvalid):
    """Reject bytes that are not UTF-8 text."""


class TurnGarbled(TurnInvalid):
    """Reject characters that nobody types or sees, and words turned round."""


class CohortRefused(TurnInvalid):
    """Refuse a cohort that is not defined by ordinary attributes alone."""


class LabelUnknown(TurnInvalid):
    """Reject a label that the node's policy does not map to a regulated family."""


class TurnUnknown(NodeError):  # noqa: N818
    """Report that no such turn is sealed here for that purpose."""


class Overloaded(NodeError):  # noqa: N818
    """Report that as many turns are under way as may be; nothing of this one was read."""

    retry_after_s = 1


class TooManyWatchers(NodeError):  # noqa: N818
    """Report that as many watch the alerts as may."""


class AccessDenied(NodeError):  # noqa: N818
    """Report that no integration has that key."""


class ConnectionForbidden(NodeError):  # noqa: N818
    """Report a host that the node's policy does not name."""


class NodeUnreachable(NodeError):  # noqa: N818
    """Report that a running node did not answer its command line, or refused."""


class NodeProblem(NodeError):  # noqa: N818
    """Report what a node answered to its client in place of what was asked."""


class TrustUnavailable(NodeError):  # noqa: N818
    """Report that the trust service cannot be reached or answers wrongly."""


class TrustRefused(TrustUnavailable):
    """Report that the trust service answered and said no: sent again, it says no again."""


class WithdrawalUnknown(NodeError):  # noqa: N818
    """Report that no withdrawal of that name is kept here, or not any more."""


class DeliveryUnknown(NodeError):  # noqa: N818
    """Report that no webhook of that id is kept here, or not any more."""


class TelephoneEventInvalid(NodeError):  # noqa: N818
    """Report a telephone event that no enrolled system signed just now."""


class TelephoneEventReplayed(NodeError):  # noqa: N818
    """Report a telephone event that was taken before."""


class StandingRejected(NodeError):  # noqa: N818
    """Reject an envelope of standing that may not be applied."""


class VaultError(NodeError):
    """Report a sealed record that cannot be opened or stored."""


class LedgerRolledBack(NodeError):  # noqa: N818
    """Report a budget ledger that is older than the log says; the node will not train."""


class RedactionUnavailable(NodeError):  # noqa: N818
    """Report that personal data cannot be removed; nothing is read."""


class RepliesRejected(NodeError):  # noqa: N818
    """Reject a list of replies that nobody approved, or with a phrase that the guard blocks."""


class ReplyModelFailed(NodeError):  # noqa: N818
    """Report a reply model that gives no text in time; an approved text stands in."""


class ApprovalUnknown(NodeError):  # noqa: N818
    """Report that nothing of that id waits for approval: it never did, or is over."""


class ApprovalRefused(NodeError):  # noqa: N818
    """Refuse an approval by somebody who did not look, or of what is decided already."""


class HintsRejected(NodeError):  # noqa: N818
    """Reject a list of hints that nobody approved, or with a phrase that the guard blocks."""


class ArticlesRejected(NodeError):  # noqa: N818
    """Reject a folder of articles that cannot be read."""


class ReleaseRejected(NodeError):  # noqa: N818
    """Reject a release that is not signed, not logged, not whole or older than the one here."""


class RecordRefused(NodeError):  # noqa: N818
    """Too little was recorded of a queue to be told."""


class ScenarioInvalid(NodeError):  # noqa: N818
    """Reject a scenario of the queue that cannot be played."""


class RecalibrationRefused(NodeError):  # noqa: N818
    """Report that there is nothing to calibrate, or too little to do it with."""


class LocalHeadRefused(NodeError):  # noqa: N818
    """Report why no head of this node's own is fitted now."""


class RoundRefusal(StrEnum):
    """Why a node does not take part. Closed, and free of anything about people or numbers."""

    SIGNATURE = "signature"  # not the coordinator's, or changed on the way
    TERMS = "terms"  # more than the node's policy allows
    MODEL = "model"  # weights or encoder are not those the terms name
    STOPPED = "stopped"  # the rules say no to the whole batch
    BUDGET = "budget"  # the privacy budget does not cover it, or cannot be trusted
    NOT_READY = "not_ready"  # enrolment was not passed, or the node cannot serve now


class RoundRefused(NodeError):  # noqa: N818
    """Carry the closed reason for which this node does not take part."""

    def __init__(self, reason: RoundRefusal, detail: str) -> None:
        super().__init__(f"round refused ({reason.value}): {detail}")
        self.reason = reason


class UpdateRejected(NodeError):  # noqa: N818
    """Reject an update that no spent and unanswered round stands behind."""
