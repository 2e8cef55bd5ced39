"""The node's copy of standings: verified envelopes of the trust service, and nothing else.

An envelope is applied in this order:
1. its signature holds; 2. it is for this node, and well formed; 3. it is not older than what
is here, and leaves no gap; 4. in memory, so that the gate closes; 5. keys that it tells to
destroy are destroyed; 6. on disk, so that a crash before this repeats 4 and 5; 7. it vouches.
What was applied survives a restart as the signed bytes themselves and is verified again then,
so that neither an older envelope nor a changed row is ever believed.

A fresh envelope vouches for everybody it does not mention: `as_of` of every standing is the
newest envelope's `issued_at`. A page that has another behind it vouches for nobody yet: what
was withdrawn may be on the next. Where nothing fresh comes, standings age, and the rules
refuse them by `standing_max_age_s`; this module never decides.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, delete, select

from audit.errors import AuditError
from audit.hold import Hold, hold_from_dict
from audit.signing import VerifyKey, unseal
from client_node.errors import StandingRejected
from client_node.tables import StandingEntry, StandingEnvelope, open_store
from policies.canonical import digest_bytes
from policies.clock import Clock
from policies.rollout import Assignment, assignment_from_dict
from policies.standing import (
    Governance,
    Standing,
    erased,
    governance_from_dict,
    standing_from_dict,
    without,
)
from policies.vocabulary import Digest, NodeId, Purpose, SubjectId

KIND = "standing"
MAX_AHEAD_S = 60
_APPROVAL = re.compile(r"[A-Za-z0-9._:/@+=~-]{1,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One verified envelope: what changed up to `sequence`, and what is asked of the log.

    `withdrawn` are the keys to destroy, purpose None for an erasure, even where a new grant
    has followed meanwhile.
    """

    sequence: int
    after: int | None
    issued_at: int
    governance: Governance
    standings: tuple[Standing, ...]
    withdrawn: tuple[tuple[SubjectId, Purpose | None], ...]
    more: bool
    challenge: tuple[int, ...]
    digest: Digest
    requests: tuple[Mapping[str, Any], ...] = ()
    approvals: tuple[str, ...] = ()
    rules: Assignment = field(default_factory=Assignment)
    holds: tuple[Hold, ...] | None = None


class StandingCache:
    """Holds the newest verified standings; thread-safe."""

    def __init__(self, path: Path, *, node: NodeId, key: VerifyKey, clock: Clock) -> None:
        """Load what was applied before, verifying every byte again.

        Raises:
            StandingRejected: The file cannot be read, or what is in it is not what was signed.
        """
        self._node, self._key, self._clock = node, key, clock
        self._lock = threading.RLock()
        self._standings: dict[SubjectId, Standing] = {}
        self._vouched: dict[SubjectId, Standing] = {}
        self._governance: Governance | None = None
        self._newest: Feed | None = None
        self._vouched_at = 0
        self._held_back: dict[SubjectId, frozenset[Purpose] | None] = {}
        try:
            self._engine = open_store(path, [StandingEnvelope, StandingEntry])
            self._load()
        except (SQLAlchemyError, OSError) as error:
            raise StandingRejected(f"{path.name} cannot be read: {type(error).__name__}") from error

    @property
    def sequence(self) -> int:
        """The last sequence applied, 0 before the first: ask the feed for what came after."""
        return 0 if self._newest is None else self._newest.sequence

    @property
    def governance(self) -> Governance | None:
        """What the organisation approved, as of the newest envelope; None before the first."""
        return self._governance

    @property
    def envelope_digest(self) -> Digest | None:
        """The newest envelope, which vouches for every standing here; None before the first."""
        newest = self._newest
        return None if newest is None else newest.digest

    @property
    def rules(self) -> Assignment:
        """The rules that the newest envelope assigned, none of our own before the first."""
        newest = self._newest
        return Assignment() if newest is None else newest.rules

    def standing(self, subject: SubjectId) -> Standing | None:
        """Return the person's standing as the trust service last vouched for it, or None.

        The very same object until something new is heard: what is computed from it once
        (`Standing.encoded`) serves all that person's turns.
        """
        with self._lock:
            found = self._vouched.get(subject)
            if found is None and (standing := self._standings.get(subject)) is not None:
                found = self._less(standing.vouched(self._vouched_at))
                self._vouched[subject] = found
            return found

    def hold_back(self, withdrawn: Sequence[tuple[SubjectId, Purpose | None]]) -> None:
        """Let these withdrawals, purpose None for everything, count here before they are heard.

        They stand in the place of those before; a standing says less by them, never more.
        """
        held: dict[SubjectId, frozenset[Purpose] | None] = {}
        for subject, purpose in withdrawn:
            before = held.get(subject, frozenset())
            held[subject] = None if purpose is None or before is None else before | {purpose}
        with self._lock:
            self._held_back = held
            self._vouched.clear()

    def _less(self, standing: Standing) -> Standing:
        purposes = self._held_back.get(standing.subject, frozenset())
        if purposes is None:
            return erased(standing.subject, standing.as_of)
        return without(standing, purposes) if purposes else standing

    def standings(self) -> tuple[Standing, ...]:
        """Return everybody's standing, as in `standing`."""
        with self._lock:
            return tuple(s for s in map(self.standing, self._standings) if s is not None)

    @property
    def people(self) -> int:
        """How many people's standing is here; for the branch's own eyes."""
        return len(self._standings)

    def age_s(self) -> float | None:
        """Return how long ago the trust service last vouched; None before the first time."""
        return None if self._newest is None else self._clock() - self._vouched_at

    def apply(self, data: bytes, *, obey: Callable[[Feed], None] = lambda _: None) -> Feed:
        """Verify an envelope and make it count; return what it said.

        Args:
            data: The sealed envelope.
            obey: Destroys the keys that the feed names; what it raises leaves the envelope
                unapplied on disk, so that it is asked for again.

        Raises:
            StandingRejected: Not signed by the trust service, for another node, malformed,
                older than what is here, or with a gap before it; nothing changes then.
        """
        feed = self._verify(data)  # 1, 2
        with self._lock:
            self._check_order(feed)  # 3
            self._take({s.subject: s for s in feed.standings})  # 4
        obey(feed)  # 5
        with self._lock:
            self._write(feed, data)  # 6
            self._remember(feed)  # 7
        return feed

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _verify(self, data: bytes) -> Feed:
        try:
            body = unseal(KIND, data, self._key)
        except AuditError as error:
            raise StandingRejected(
                f"standing was not vouched for by the trust service: {error}"
            ) from error
        try:
            feed = _feed(body, digest_bytes(data))
        except (KeyError, TypeError, ValueError) as error:
            raise StandingRejected(
                f"standing is not of the agreed form ({type(error).__name__}): versions differ?"
            ) from error
        if body.get("node") != self._node:
            raise StandingRejected(f"standing is for another node than {self._node}")
        return feed

    def _check_order(self, feed: Feed) -> None:
        newest = self._newest
        if feed.issued_at > self._clock() + MAX_AHEAD_S:
            raise StandingRejected("standing comes from the future: compare the two clocks")
        if newest is not None and (
            feed.sequence < newest.sequence or feed.issued_at < newest.issued_at
        ):
            raise StandingRejected(
                f"standing {feed.sequence} is older than {newest.sequence}, which was applied"
            )
        if feed.after is not None and feed.after > self.sequence:
            raise StandingRejected(
                f"standing starts after {feed.after}, but this node knows up to {self.sequence}"
            )

    def _load(self) -> None:
        with Session(self._engine) as session:
            order = (col(StandingEnvelope.sequence), col(StandingEnvelope.issued_at))
            rows = session.exec(select(StandingEnvelope).order_by(*order)).all()
            entries = {e.subject: e.digest for e in session.exec(select(StandingEntry))}
        for row in rows:
            feed = self._verify(row.data)
            mine = {s.subject: s for s in feed.standings if entries.get(s.subject) == feed.digest}
            self._take(mine)
            self._remember(feed)
        if set(entries) - set(self._standings):
            raise StandingRejected(
                "a standing on disk has lost its signed envelope: delete standing.db and restart"
            )

    def _take(self, standings: Mapping[SubjectId, Standing]) -> None:
        self._standings |= standings
        for subject in standings:
            self._vouched.pop(subject, None)

    def _remember(self, feed: Feed) -> None:
        self._newest = feed
        if not feed.more:
            self._vouched_at = feed.issued_at
            self._vouched.clear()
        self._governance = dataclasses.replace(feed.governance, as_of=self._vouched_at)

    def _write(self, feed: Feed, data: bytes) -> None:
        """Keep the envelope, and drop those that nobody's standing rests on any more."""
        row = StandingEnvelope(
            digest=feed.digest, sequence=feed.sequence, issued_at=feed.issued_at, data=data
        )
        try:
            with Session(self._engine) as session:
                session.merge(row)
                for standing in feed.standings:
                    session.merge(StandingEntry(subject=standing.subject, digest=feed.digest))
                session.flush()
                needed = select(StandingEntry.digest)
                session.exec(
                    delete(StandingEnvelope)
                    .where(col(StandingEnvelope.digest).not_in(needed))
                    .where(col(StandingEnvelope.digest) != feed.digest)
                )
                session.commit()
        except SQLAlchemyError as error:
            raise StandingRejected(f"standing cannot be kept: {type(error).__name__}") from error


def _feed(body: dict[str, Any], digest: Digest) -> Feed:
    after = body.get("after")
    return Feed(
        sequence=int(body["sequence"]),
        after=None if after is None else int(after),
        issued_at=int(body["issued_at"]),
        governance=governance_from_dict(body["governance"]),
        standings=tuple(standing_from_dict(s) for s in body["standings"]),
        withdrawn=tuple(
            (SubjectId(w["subject"]), None if w["purpose"] is None else Purpose(w["purpose"]))
            for w in body.get("withdrawn", ())
        ),
        more=bool(body.get("more", False)),
        challenge=tuple(int(index) for index in body.get("challenge", ())),
        digest=digest,
        requests=tuple(dict(task) for task in body.get("requests", ())),
        holds=None if body.get("holds") is None else tuple(map(hold_from_dict, body["holds"])),
        approvals=_approvals(body.get("approvals", ())),
        rules=assignment_from_dict(body["rules"]) if "rules" in body else Assignment(),
    )


def _approvals(words: Sequence[object]) -> tuple[str, ...]:
    """Return who approved what, as the log can carry it."""
    if not all(isinstance(word, str) and _APPROVAL.fullmatch(word) for word in words):
        raise ValueError("an approval is no word")
    return tuple(str(word) for word in words)
