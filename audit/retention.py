"""Expiry: payload and salt of an entry go when their period has passed and no hold covers them.

The leaf stays, so every root and proof stays. A run is, for each part of at most `PART` entries:
1. planned, while no hold can be placed; 2. logged, by range, count and policy digest, never by
person; 3. removed, in one transaction. A crash between 2 and 3 removes nothing: the next run does.

**Nothing expires early, whatever the clock does.** An entry counts as recorded at the latest
time that the log had seen by then, so a clock that went back makes no entry older. A run on its
own takes a clock that leapt ahead of the last run by more than `LEAP_S` at its word only when the
next run still finds it there. A person who runs it (`clock_is_right`) vouches for the clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from audit.events import Event, EventKind, Value
from audit.hold import Hold, Holds
from audit.hold_book import people_of
from audit.keystore import Keystore
from audit.leaf import decode_leaf, times_of
from audit.log import EvidenceLog
from audit.log_store import SealedRow
from audit.retention_policy import DAY_S, RetentionPolicy
from policies.clock import Clock
from policies.vocabulary import SubjectId

PART = 10_000
"""Entries whose payloads go in one transaction."""

LEAP_S = 31.0 * DAY_S
CLOCK_SKEW_S = 60.0
"""How far entries that overtake one another may differ; as in `audit.verify`."""

_AT_A_TIME = 1000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would go: `due` are entries, counted in `kinds`; `held` are due and a hold stops them.

    `now` is the second up to which periods have passed.
    """

    now: float
    due: tuple[int, ...]
    kinds: Mapping[str, int]
    held: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "until": self.now if math.isfinite(self.now) else None,
            "entries": len(self.due),
            "first": self.due[0] if self.due else None,
            "last": self.due[-1] if self.due else None,
            "kinds": dict(self.kinds),
            "held": dict(self.held),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Removes what its period says, from one log."""

    log: EvidenceLog
    policy: RetentionPolicy
    holds: Holds
    clock: Clock
    keystore: Keystore | None = None
    _part: int = field(default=PART)

    def plan(self, *, clock_is_right: bool = False) -> Plan:
        """Return what a run would remove now.

        Raises:
            EvidenceUnavailable: Log or keystore cannot be read.
        """
        with self.holds.standing() as held:
            return self._plan(held, self._now(clock_is_right=clock_is_right))

    def run(self, *, clock_is_right: bool = False, progress: Progress = lambda *_: None) -> Plan:
        """Remove what is due, and return what went; a run that removes nothing is logged too.

        Raises:
            EvidenceUnavailable: Log or keystore cannot be read or written; the rest stays.
        """
        with self.holds.standing() as held:
            plan = self._plan(held, self._now(clock_is_right=clock_is_right))  # 1
            parts = [plan.due[at : at + self._part] for at in range(0, len(plan.due), self._part)]
            done = 0
            for part in parts or [()]:
                self._record(part, sum(plan.held.values()), plan.now)  # 2
                self.log.store.expire(part)  # 3
                done += len(part)
                progress(done, len(plan.due))
        return plan

    def last_run(self) -> Event | None:
        """Return the newest entry of a run, None where there was none."""
        found = self.log.find(EventKind.RETENTION_APPLIED, limit=1)
        return found[0].event if found else None

    def _now(self, *, clock_is_right: bool) -> float:
        """Return the second up to which periods may have passed."""
        now, last = self.clock(), self.last_run()
        if clock_is_right:
            return now
        if last is None:
            return -math.inf  # the first run notes the clock, the next one believes it
        return now if now - last.at <= LEAP_S else last.at

    def _plan(self, held: list[Hold], now: float) -> Plan:
        due, kinds, stopped = list[int](), Counter[str](), Counter[str]()
        people = people_of(self.keystore) if any(h.scope.person for h in held) else {}
        for aged in self._aged(now):
            kind = aged.event.kind
            if aged.counted_at + self.policy.kept_s(kind) > now:
                continue
            whose = None if aged.key_id is None else people.get(aged.key_id)
            if any(_stops(hold, aged, whose) for hold in held):
                stopped[kind.value] += 1
                continue
            due.append(aged.entry)
            kinds[kind.value] += 1
        return Plan(now=now, due=tuple(due), kinds=kinds, held=stopped)

    def _aged(self, now: float) -> Iterator[_Aged]:
        """Yield the entries with payloads that may be due."""
        times, start = _Times(self.log), 0
        oldest = now - self.policy.shortest_s()
        while rows := self.log.store.payload_entries(start, _AT_A_TIME):
            for index, leaf, key_id in rows:
                event, _ = decode_leaf(leaf)
                counted = times.of(index, event.at)
                if counted > oldest and index >= times.sealed_until:
                    return  # from here on the log's time only grows
                yield _Aged(index, event, counted, key_id)
            start = rows[-1][0] + 1

    def _record(self, part: tuple[int, ...], held: int, now: float) -> None:
        fields: dict[str, Value] = {
            "policy_digest": self.policy.digest,
            "first": part[0] if part else None,
            "last": part[-1] if part else None,
            "count": len(part),
            "held": held,
            "until": now if math.isfinite(now) else None,
        }
        event = Event(kind=EventKind.RETENTION_APPLIED, at=self.clock(), fields=fields)
        self.log.append(event)


class _Aged(NamedTuple):
    """An entry with a payload, and the second at which it counts as recorded."""

    entry: int
    event: Event
    counted_at: float
    key_id: bytes | None


class _Times:
    """At what second each entry counts as recorded: the latest that the log had seen by then.

    In a sealed range, whose leaves may be gone, its row says enough never to be early: where time
    went forward an entry's own second is right within a minute; else the range's end counts.
    """

    def __init__(self, log: EvidenceLog) -> None:
        self._log, self._seals = log, log.store.seals()
        self.sealed_until = self._seals[-1].end if self._seals else 0
        self._next = self.sealed_until
        self._latest = self._seals[-1].latest if self._seals else -math.inf

    def of(self, index: int, at: float) -> float:
        """Return the second that counts; ask for growing indices."""
        if index < self.sealed_until:
            return max(at + CLOCK_SKEW_S, self._seal_of(index).floor)
        while self._next <= index:
            end = min(self._next + _AT_A_TIME, index + 1)
            leaves = [leaf for _, leaf in self._log.store.leaves(self._next, end)]
            self._latest = max([self._latest, *times_of(leaves)])
            self._next = end
        return self._latest

    def _seal_of(self, index: int) -> SealedRow:
        while self._seals[0].end <= index:
            self._seals.pop(0)
        return self._seals[0]


def _stops(hold: Hold, aged: _Aged, whose: SubjectId | None) -> bool:
    """Return whether a hold covers an entry; whom it is about is kept for as long as it holds."""
    event = aged.event
    if event.kind is EventKind.HOLD_STEP and event.fields["hold"] == hold.hold:
        return True
    return hold.scope.covers(event.kind, (event.at, aged.counted_at), whose)
