"""The root of every error Undertone raises, and the tree of this package.

    UndertoneError
    ├── NotBuilt                a part that a later version brings
    └── PolicyError
        ├── PolicyInvalid       rules, schema or policy data that cannot be loaded
        ├── RuleUnknown         no rule of that id
        ├── PolicyUnavailable   the engine could not answer: the answer is no
        ├── Refused             the rules said no; carries the Decision
        ├── MessageBlocked      the message guard said no; carries the Verdict
        ├── PermitInvalid       a permit that does not cover the use it is shown for
        ├── TermsRefused        a round's terms ask for more than the node's policy allows
        └── BudgetExhausted     the privacy budget does not cover the next computation

Each package has one tree below this root. A message says what happened, what was expected,
what came, and the remedy. It names ids and digests, never personal text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.decision import Decision
    from policies.messages import Verdict


class UndertoneError(Exception):
    """Stand at the root: everything Undertone raises on purpose."""


class NotBuilt(UndertoneError):  # noqa: N818 (reads as the fact it states)
    """Name a part of the design that is not built yet."""


class PolicyError(UndertoneError):
    """Stand at the root of this package's errors."""


class PolicyInvalid(PolicyError):  # noqa: N818
    """Reject rules, schema or policy data that cannot be loaded."""


class RuleUnknown(PolicyError):  # noqa: N818
    """Report that no rule has that id."""


class PolicyUnavailable(PolicyError):  # noqa: N818
    """Report that the engine could not answer; the use does not happen."""


class Refused(PolicyError):  # noqa: N818
    """Carry the decision by which the rules refused a use."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(
            f"refused by {', '.join(decision.rules) or 'default deny'} "
            f"(decision {decision.decision_id})"
        )
        self.decision = decision


class MessageBlocked(PolicyError):  # noqa: N818
    """Carry the verdict by which the guard blocked a message."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"message blocked: {verdict}")
        self.verdict = verdict


class PermitInvalid(PolicyError):  # noqa: N818
    """Reject a permit that does not cover the use it is shown for."""


class TermsRefused(PolicyError):  # noqa: N818
    """Reject a round's terms that go beyond the node's own policy."""


class BudgetExhausted(PolicyError):  # noqa: N818
    """Report that the privacy budget does not cover the next computation."""
