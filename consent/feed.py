"""The feed of standing: signed envelopes in which a node hears of its company's people.

Body of the envelope (kind `standing`):

    node               whom it is for
    after, sequence    from where, exclusive, up to where it covers the ledger
    issued_at          Unix second; all standing the node holds is vouched for at this second
    governance         what the organisation has approved
    approvals          by which envelopes, and who sealed or approved them (`consent.notice`)
    rules              the profiles and bundles that the node decides by (`policies.rollout`)
    standings          each person whose standing changed after the asked sequence
    withdrawn          [{subject, purpose}] in order, of consents that ended (withdrawn, refused,
                       revoked, invalidated), purpose null for an erasure: keys to destroy even
                       where a new grant has followed meanwhile
    challenge          entries of the node's own log that it is to open for us
    more               true when the next page follows at once
    requests           what this node is asked and has not answered: by people
                       (`consent.rights_desk`), for a decision's facts (`consent.facts_desk`), and
                       which decisions are about somebody (`consent.search_desk`)

`issued_at` is always fresh, changes or not: an envelope with nothing new still says that
nothing was withdrawn until then.
"""

from __future__ import annotations

from typing import Any, Protocol

from audit.hold_book import HoldBook
from audit.signing import SigningKey, seal
from consent.bundles import Bundles
from consent.challenge import Challenges
from consent.ledger import Ledger, Page
from consent.officer import Officer
from consent.records import Erased, purposes_ended, standing_of
from consent.tables import NodeRow
from policies.clock import Clock
from policies.rollout import assignment_to_dict
from policies.standing import Standing, governance_to_dict, standing_to_dict
from policies.vocabulary import NodeId, SubjectId


class Tasks(Protocol):
    """What is asked of nodes with their standing."""

    def tasks(self, node: NodeRow) -> list[dict[str, Any]]:
        """Return what is asked of a node and not answered."""
        ...

    def has_news(self, node: NodeRow) -> bool:
        """Return whether there is a task that the node has not heard of yet."""
        ...


class AllTasks:
    """Everything that nodes are asked with their standing, by whoever asks."""

    def __init__(self, *parts: Tasks) -> None:
        self._parts = parts

    def tasks(self, node: NodeRow) -> list[dict[str, Any]]:
        """Return what is asked of a node and not answered."""
        return [task for part in self._parts for task in part.tasks(node)]

    def has_news(self, node: NodeRow) -> bool:
        """Return whether there is a task that the node has not heard of yet."""
        return any(part.has_news(node) for part in self._parts)


class Feed:
    """What each node is told, computed from the ledger whenever it asks."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        officer: Officer,
        bundles: Bundles,
        challenges: Challenges,
        key: SigningKey,
        clock: Clock,
        most: int,
        requests: Tasks,
        holds: HoldBook,
    ) -> None:
        self._ledger = ledger
        self._officer = officer
        self._bundles = bundles
        self._challenges = challenges
        self._key = key
        self._clock = clock
        self._most = most
        self._requests = requests
        self._holds = holds

    def has_news(self, node: NodeRow, *, after: int) -> bool:
        """Return whether anything this node must hear of came after a sequence."""
        return self._ledger.head(node.company) > after or self._requests.has_news(node)

    def envelope(self, node: NodeRow, *, after: int) -> bytes:
        """Return the sealed page of changes after a sequence, freshly dated.

        1. time; 2. changes: what is recorded between the two is vouched for too early,
        never too late.

        Raises:
            LedgerUnavailable: The ledger did not answer; the node's standing ages.
        """
        issued_at = int(self._clock())  # 1
        governance = self._officer.governance()
        page = self._ledger.page(node.company, after=after, most=self._most)  # 2
        body = {
            "node": node.node,
            "after": after,
            "sequence": page.sequence,
            "issued_at": issued_at,
            "governance": governance_to_dict(governance),
            "approvals": list(self._officer.approvals()),
            "rules": assignment_to_dict(self._bundles.assignment(NodeId(node.node))),
            "standings": _standings(page, issued_at),
            "withdrawn": _withdrawn(page),
            "challenge": self._challenges.ask(NodeId(node.node)),
            "more": page.more,
            "requests": self._requests.tasks(node),
            "holds": self._holds.told(lambda who: self._concerns(node, who)),
        }
        return seal("standing", body, self._key)

    def _concerns(self, node: NodeRow, subject: SubjectId) -> bool:
        """Return whether a person is of the node's company, or of none that we know."""
        return self._ledger.owners([subject]).get(subject, node.company) == node.company

    def standing(self, company: str, subject: SubjectId) -> Standing | None:
        """Return one person's standing now, None where the company has recorded no such person.

        Raises:
            LedgerUnavailable: The ledger did not answer.
        """
        as_of = int(self._clock())
        records = self._ledger.records_of([subject]).get(subject, [])
        if not records or records[0].company != company:
            return None
        return standing_of(records, subject=subject, as_of=as_of)


def _standings(page: Page, as_of: int) -> list[dict[str, Any]]:
    return [
        standing_to_dict(standing_of(records, subject=subject, as_of=as_of))
        for subject, records in sorted(page.records.items())
    ]


def _withdrawn(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for record in page.changes:
        if isinstance(record.act, Erased):
            found.append({"subject": record.subject, "purpose": None})
        found += [
            {"subject": record.subject, "purpose": purpose.value}
            for purpose in sorted(purposes_ended(record.act))
        ]
    return found
