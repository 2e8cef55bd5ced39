"""A head of this node's own, beside the release: fitted here, used here, gone when it must be.

A fit, in the order that promises 1 and 11 ask for:
1. gate(train)  everybody with a labelled turn, as one batch, recorded like a round's
2. vault        opens the labelled turns of those whom the gate allowed
3. fit          share, temperature and gain by people held apart (`models.personal`)
4. look again   who said no meanwhile is not in it, or it is not kept
5. keep         logged by a digest that hides it, sealed, and only then in force

It is charged to no budget, so nothing of it may leave. It changes the reading that the branch is
shown, and nothing else: decisions, what is sealed, courses, alerts and answers to a challenge
are the release's own, because they are told to the trust service and to people. A fit leaves the
same traces whether or not it found a gain: too few people is a head with share 0.

It is dropped before any key is destroyed when somebody who is in it says no, in whatever form;
with a newer release; when the first consent in it ends; and when the operator says so. Then it is
fitted anew from those who are left.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.events import Event, EventKind, Value
from audit.gate import BATCH_SUBJECT, Gate
from audit.log import EvidenceLog
from client_node.errors import LocalHeadRefused
from client_node.local_head import LocalHead, LocalHeadFile, head_of, new_body
from client_node.recalibration import MOST_TURNS
from client_node.releases import Releases
from client_node.round_inputs import bags_of
from client_node.standing_cache import Feed, StandingCache
from client_node.vault import Vault
from models.personal import personal_head
from models.release import VerifiedRelease
from policies.clock import Clock
from policies.decision import Decides, Facts, UseRequest
from policies.errors import PolicyError
from policies.permit import Permit
from policies.standing import Governance, Standing
from policies.vocabulary import Action, Modality, NodeId, Purpose, SubjectId

LONGEST_S = 6 * 3600.0
"""A head is fitted anew after it, whatever it found: labels come in, and time alone ends rights."""
PAUSE_S = 60.0
"""Between the starts of two fits that nobody asked for."""
LONGEST_END_S = 15.0
"""A fit that is not done by then ends with the process: nothing was kept of it."""


class Dropped(StrEnum):
    """Why a head is no more; one word in the log, about nobody."""

    CONSENT = "consent"  # somebody in it, or the organisation, says no
    RELEASE = "release"  # another release is in force
    EXPIRED = "expired"  # the first consent in it ended, or its time is over
    OPERATOR = "operator"  # the operator said so: none is fitted until they ask for one
    OFF = "off"  # the setting is off
    STALE = "stale"  # what lay there at the start is not what the log names last


class Personalisation:
    """Fits, holds and drops the local head; thread-safe."""

    def __init__(
        self,
        *,
        on: bool,
        node: NodeId,
        gate: Gate,
        engine: Decides,
        cache: StandingCache,
        vault: Vault,
        releases: Releases,
        file: LocalHeadFile,
        log: EvidenceLog,
        clock: Clock,
    ) -> None:
        """Take up the head that the log names last; destroy any other, and all when off.

        Raises:
            VaultError: What should not be there cannot be destroyed.
        """
        self._on, self._node, self._gate, self._engine = on, node, gate, engine
        self._cache, self._vault, self._releases = cache, vault, releases
        self._file, self._log, self._clock = file, log, clock
        self._lock, self._fitting = threading.RLock(), threading.Lock()
        self._said_no: set[SubjectId] = set()
        self._tried_at = float("-inf")
        self._thread: threading.Thread | None = None
        fitted, dropped = (self._last(kind) for kind in _STEPS)
        self._waits = _reason(dropped) == Dropped.OPERATOR and not _after(fitted, dropped)
        self._head = file.read() if on and _after(fitted, dropped) else None
        if self._head is not None and self._head.digest != _digest(fitted):
            self._head = None
        if self._head is None and file.exists:
            self._drop(Dropped.STALE if on else Dropped.OFF)

    @property
    def current(self) -> LocalHead | None:
        """The head that is in force for the release in force; None where there is none."""
        head, release = self._head, self._releases.current
        if head is None or release is None or head.release != release.digest:
            return None
        return head if self._clock() < head.good_until else None

    def basis(self) -> Mapping[str, Value]:
        """Return what decisions name: the digest of the head in force, whatever its share."""
        head = self.current
        return {} if head is None else {"local_head_digest": head.digest}

    def status(self) -> dict[str, Any]:
        """Return what the operator, and nobody else, may see."""
        head = self.current
        if head is None:
            return {"on": self._on, "state": "none", "waits_for_fit": self._waits}
        told = head.personal
        return {
            "on": self._on,
            "state": "takes part" if head.takes_part else "release alone",
            "digest": head.digest,
            "release": head.release,
            "share": told.share,
            "temperature": told.temperature,
            "fitted_at": head.fitted_at,
            "good_until": head.good_until,
            "gain": None if told.gain is None else asdict(told.gain),
        }

    def fit(self) -> LocalHead:
        """Fit a head on those who allow training, and put it in force.

        Raises:
            LocalHeadRefused: It is off, there is nothing to start from, another fit is under
                way, or somebody said no meanwhile.
            Refused: The organisation stopped, or did not approve training.
            PermitInvalid, PolicyUnavailable, EvidenceUnavailable, VaultError: None is kept.
        """
        release, weights = self._release()
        if not self._fitting.acquire(blocking=False):
            raise LocalHeadRefused("a fit is under way: ask again when it is done")
        try:
            self._said_no, self._tried_at = set(), self._clock()
            permit = self._permit()  # 1
            records = self._vault.open_batch(
                permit=permit, max_turns=MOST_TURNS, now=self._clock()
            )  # 2
            names = [name for name, _ in release.release.labels]
            personal = personal_head(weights, bags_of(records, names))  # 3
            now = self._clock()
            body = new_body(
                personal,
                release=release.digest,
                people=permit.subjects,
                fitted_at=now,
                good_until=self._good_until(permit.subjects, now=now),
            )
            return self._keep(body, permit)
        finally:
            self._fitting.release()

    def drop(self) -> bool:
        """Drop the head as the operator's; return whether there was one."""
        with self._lock:
            found, self._waits = self._head is not None or self._file.exists, True
            self._drop(Dropped.OPERATOR)
        return found

    def hear(self, feed: Feed) -> None:
        """Drop the head where a page of standing says no to it, before any key is destroyed.

        Raises:
            VaultError, EvidenceUnavailable: It is out of use, but not all of it is destroyed or
                logged: the page does not count and comes again.
        """
        if not self._on:
            return
        no = {s for s, purpose in feed.withdrawn if purpose in {None, Purpose.TRAINING}}
        fresh = {s.subject: replace(s, as_of=feed.issued_at) for s in feed.standings}
        with self._lock:
            self._said_no |= no
            head = self._head
            if head is None:
                return
            asked = [standing for person, standing in fresh.items() if person in head.people]
            if no & head.people or not self._all_allowed(asked, feed.governance):
                self._drop(Dropped.CONSENT)

    def keep_fresh(self) -> None:
        """Drop a head whose time is over, and begin a fit where one is missing."""
        with self._lock:
            if self._head is not None and self.current is None:
                over = self._clock() >= self._head.good_until
                self._drop(Dropped.EXPIRED if over else Dropped.RELEASE)
            busy = self._thread is not None and self._thread.is_alive()
            early = self._clock() < self._tried_at + PAUSE_S
            if not self._on or self._waits or busy or early or self.current is not None:
                return
            self._tried_at = self._clock()
            self._thread = threading.Thread(
                target=self._fit_quietly, name="local-head", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Wait a little for a fit that was begun; what is kept stays."""
        if self._thread is not None:
            self._thread.join(LONGEST_END_S)

    def _fit_quietly(self) -> None:
        """Fit; whatever fails is tried again after the pause, and `fit` says what it is."""
        with suppress(Exception):
            self.fit()

    def _release(self) -> tuple[VerifiedRelease, NDArray[np.float32]]:
        """Return the release to start from, and its weights."""
        if not self._on:
            raise LocalHeadRefused(
                "personalisation is off at this node: set `personal = true` in its settings"
            )
        release = self._releases.current
        weights = None if release is None else release.release.weights
        if release is None or weights is None:
            raise LocalHeadRefused("no release that answers is in force: nothing to start from")
        if release.release.width:
            raise LocalHeadRefused(
                "the release in force has a hidden layer; a local head stands beside a linear one"
            )
        return release, weights

    def _permit(self) -> Permit:
        return self._gate.open_batch(
            self._request(),
            self._standings(self._vault.trainable()),
            self._cache.governance,
            context={"for": "local-head"},
        )

    def _request(self) -> UseRequest:
        return UseRequest(
            node=self._node,
            action=Action.TRAIN,
            purpose=Purpose.TRAINING,
            subject=BATCH_SUBJECT,
            facts=Facts(leaves_node=False),
        )

    def _standings(self, people: Iterable[SubjectId]) -> list[Standing]:
        found = (self._cache.standing(person) for person in people)
        return [standing for standing in found if standing is not None]

    def _keep(self, body: dict[str, Any], permit: Permit) -> LocalHead:
        """Look again, then put a head in force."""
        head = head_of(body)
        with self._lock:
            standings = self._standings(head.people)  # 4
            known = len(standings) == len(head.people) and not self._said_no & head.people
            if not (known and self._all_allowed(standings, self._cache.governance)):
                raise LocalHeadRefused("somebody in it said no meanwhile: ask again")
            self._head = None  # 5
            self._record(
                EventKind.LOCAL_HEAD_FITTED,
                digest=head.digest,
                release=head.release,
                decision_id=permit.decision_id,
            )
            self._file.write(body)
            self._head, self._waits = head, False
        return head

    def _all_allowed(self, standings: Collection[Standing], governance: Governance | None) -> bool:
        """Ask the rules whether all of them might be in a fit now; what cannot answer is a no."""
        if governance is None or Purpose.TRAINING not in governance.dpia_purposes:
            return False
        try:
            allowed, _ = self._engine.decide_batch(
                self._request(), standings, governance, now=self._clock()
            )
        except PolicyError:
            return False
        return len(allowed) == len(standings)

    def _good_until(self, people: Iterable[SubjectId], *, now: float) -> float:
        grants = (
            standing.grant_for(Purpose.TRAINING, Modality.TEXT)
            for standing in self._standings(people)
        )
        return min([now + LONGEST_S, *(g.expires_at for g in grants if g is not None)])

    def _drop(self, reason: Dropped) -> None:
        """Take the head out of use, destroy it, and say so, in this order."""
        self._head = None
        self._file.destroy()
        self._record(EventKind.LOCAL_HEAD_DROPPED, reason=reason.value)

    def _last(self, kind: EventKind) -> Any:
        found = self._log.find(kind, limit=1)
        return found[0] if found else None

    def _record(self, kind: EventKind, **fields: Value) -> None:
        self._log.append(Event(kind=kind, at=self._clock(), fields=fields))


_STEPS = (EventKind.LOCAL_HEAD_FITTED, EventKind.LOCAL_HEAD_DROPPED)


def _after(fitted: Any, dropped: Any) -> bool:
    """Tell whether the log's last word is that a head was fitted."""
    return fitted is not None and (dropped is None or dropped.index < fitted.index)


def _reason(dropped: Any) -> str | None:
    return None if dropped is None else str(dropped.event.fields["reason"])


def _digest(fitted: Any) -> str | None:
    return None if fitted is None else str(fitted.event.fields["digest"])
