"""The cards of releases, as the coordinator's own log vouches for them.

The coordinator brings each card with its entry and receipt. 1. it is who the settings name;
2. the entry is in its log, by its own key; 3. the entry commits to this card; only then it is
logged here and kept. So no card is taken on anybody's word.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from typing import Any

from audit.errors import AuditError
from audit.events import EventKind
from audit.keys import LogKeys
from audit.leaf import decode_leaf
from audit.receipt import open_receipt
from audit.signing import VerifyKey
from consent.errors import Conflict, NotAuthenticated, RequestInvalid
from consent.register import Register
from consent.register_desk import RegisterDesk
from consent.tables import NodeRow
from policies.canonical import digest


class ReleaseCards:
    """Takes cards in and has them ready; thread-safe."""

    def __init__(
        self,
        registers: RegisterDesk,
        *,
        coordinator: str | None,
        keys_of: Callable[[VerifyKey], LogKeys],
    ) -> None:
        """Prepare.

        Args:
            registers: Keeps the cards.
            coordinator: Whose cards are taken, by the name it is enrolled under; nobody's if None.
            keys_of: The keys of a log, by the first of them.
        """
        self._registers, self._coordinator, self._keys_of = registers, coordinator, keys_of
        self._lock = threading.Lock()

    def take(self, node: NodeRow, said: Mapping[str, Any]) -> dict[str, Any]:
        """Take a card; the same again changes nothing.

        Raises:
            NotAuthenticated: It does not come from the coordinator that the settings name.
            RequestInvalid: The coordinator's log does not show this card.
            Conflict: Another card is known for that release.
        """
        if self._coordinator is None or node.node != self._coordinator:  # 1
            raise NotAuthenticated("cards come from the coordinator that the settings name")
        card, shown = dict(said["card"]), _shown(node, said, self._keys_of)  # 2
        card_digest = digest(card)
        if shown.get("card_digest") != card_digest:  # 3
            raise RequestInvalid("the log entry is not of this card", field="card")
        release = str(shown["release"])
        with self._lock:
            known = {row["release"]: row for row in self.every()}.get(release)
            if known is not None and known["card_digest"] != card_digest:
                raise Conflict(f"another card is known for {release}: a release has one")
            if known is None:
                details = {
                    "digest": card_digest,
                    "release_digest": shown["digest"],
                    "card": card,
                    "published_at": shown["at"],
                }
                self._registers.record(Register.RELEASE, release, "told", details, by=node.node)
        return {"release": release, "card_digest": card_digest}

    def every(self) -> list[dict[str, Any]]:
        """Return the known cards, in the order of their publication."""
        rows = [
            {
                "release": release,
                "digest": step.details["release_digest"],
                "card_digest": step.details["digest"],
                "card": step.details["card"],
                "published_at": step.details["published_at"],
            }
            for release, (step, *_) in self._registers.entries(Register.RELEASE).items()
        ]
        return sorted(rows, key=lambda row: (row["published_at"], row["release"]))


def _shown(
    node: NodeRow, said: Mapping[str, Any], keys_of: Callable[[VerifyKey], LogKeys]
) -> dict[str, Any]:
    """Return what the coordinator's log entry says, and when, once its key has shown it there."""
    try:
        leaf = base64.b64decode(said["leaf"], validate=True)
        key = VerifyKey.parse(node.vkey)
        open_receipt(said["receipt"], leaf, keys_of(key), origin=key.name)
        event, _ = decode_leaf(leaf)
    except (AuditError, ValueError) as error:
        raise RequestInvalid("the coordinator shows no entry of its log", field="leaf") from error
    if event.kind is not EventKind.RELEASE_PUBLISHED:
        raise RequestInvalid("the coordinator shows an entry of another kind", field="leaf")
    return dict(event.fields) | {"at": event.at}
