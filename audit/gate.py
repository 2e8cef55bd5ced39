"""The gate: the one way to a permit, and the only module that builds one.

For every use, in this order, and no permit unless each step succeeds:

1. standing: given by the caller, as the consent service vouched for it; a release of a
   model, which concerns no person, has none;
2. policy: the rules decide on standing, governance and request;
3. evidence: the decision, yes or no, is durable in the log;
4. permit: for exactly this use, for some seconds.

What was considered goes sealed beside the log, so that the decision can be made again. Callers
who come together are decided and recorded together (`audit.together`), each for itself. Not
here: the rules (`policies`), where standing comes from (`consent`), what a permit opens.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import asdict
from typing import NamedTuple, NoReturn

from audit.batch import commit, key_digest
from audit.decided import batch_facts, decided, facts_of, ids_of, notice_of
from audit.errors import EnvelopeInvalid
from audit.events import Event, EventKind, Value
from audit.kept_batches import KeptBatches
from audit.keys import VerifyKey
from audit.log import Draft, EvidenceLog
from audit.once import Work
from audit.recorder import Recorder
from audit.signing import seal, unseal
from audit.together import Together
from policies.clock import Clock
from policies.decision import Decides, Decision, UseRequest
from policies.errors import PolicyUnavailable, Refused, UndertoneError
from policies.permit import Permit
from policies.standing import Governance, Standing
from policies.vocabulary import (
    Action,
    DecisionId,
    Digest,
    Modality,
    NodeId,
    Purpose,
    SubjectId,
    Use,
)

BATCH_SUBJECT = SubjectId("batch")
"""Placeholder in the request of a batch: the people are in the standings."""

_PERMIT = "permit"

Basis = Callable[[], Mapping[str, Value]]
"""Returns what is in force beside standing and rules, by digest: fields of a decision's event."""


def _nothing_more() -> Mapping[str, Value]:
    return {}


class Outcome(NamedTuple):
    """What the gate said to one request; without a permit it said no."""

    decision: Decision
    permit: Permit | None


class _Ask(NamedTuple):
    """What one caller asks, and in which trace."""

    requests: Sequence[UseRequest]
    standing: Standing | None
    governance: Governance | None
    context: Context


class _Drawn(NamedTuple):
    """What was decided for one caller, and its record, not durable yet."""

    pairs: Sequence[tuple[UseRequest, Decision]]
    work: Work
    now: float


class Gate:
    """Decides, records, then permits; safe to share between threads."""

    def __init__(
        self,
        *,
        engine: Decides,
        log: EvidenceLog,
        clock: Clock,
        batch_key: bytes,
        permit_ttl_s: float = 30.0,
        basis: Basis = _nothing_more,
    ) -> None:
        """Join the parts.

        Args:
            engine: The rules.
            log: Where every decision is recorded before it counts.
            clock: Unix seconds.
            batch_key: 32 secret bytes, from which each batch's own key is derived.
            permit_ttl_s: Seconds for which a permit is good.
            basis: What else a decision rests on, by digest, for `audit.trace`. Another caller's
                thread may ask it: it takes no lock under which anybody asks the gate.
        """
        self._engine = engine
        self._log = log
        self._clock = clock
        self._permit_ttl_s = permit_ttl_s
        self._basis = basis
        self.batches = KeptBatches(log, secret=batch_key)
        self._recorder = Recorder(log)
        self._together = Together[_Ask, list[Outcome]](self._serve)

    def open(
        self, request: UseRequest, standing: Standing | None, governance: Governance | None
    ) -> Permit:
        """Return a permit for one use of one person's data, or for one release of a model.

        A release concerns no person: its request names the release as subject, and the
        standing argument is None.

        Raises:
            Refused: The rules said no; recorded, and the error carries the decision.
            PolicyUnavailable: The rules could not answer; nothing is permitted.
            EvidenceUnavailable: The decision could not be recorded; nothing is permitted.
        """
        decision, permit = self.open_many([request], standing, governance)[0]
        if permit is None:
            raise Refused(decision)
        return permit

    def open_many(
        self,
        requests: Sequence[UseRequest],
        standing: Standing | None,
        governance: Governance | None,
    ) -> list[Outcome]:
        """Decide several uses of one person's data at once, in order; a no is an outcome.

        Each is decided and recorded for itself; the records become durable together, or
        nothing is permitted.

        Raises:
            PolicyUnavailable: The rules could not answer; nothing is permitted.
            EvidenceUnavailable: A decision could not be recorded; nothing is permitted.
        """
        return self._together.ask(_Ask(requests, standing, governance, copy_context()))

    def _serve(self, asks: Sequence[_Ask]) -> list[list[Outcome] | Exception]:
        """Answer callers who came together: no error of one is another's."""
        drawn = [ask.context.run(self._draw, ask) for ask in asks]  # 1, 2
        ready = [one for one in drawn if isinstance(one, _Drawn)]
        recorded = iter(self._recorder.append([one.work for one in ready]) if ready else ())  # 3
        return [
            self._permits_of(one, next(recorded)) if isinstance(one, _Drawn) else one
            for one in drawn
        ]  # 4

    def _draw(self, ask: _Ask) -> _Drawn | Exception:
        """Decide what one caller asks, and prepare its record; an error is that caller's."""
        try:
            return self._drawn(ask)
        except Exception as error:  # noqa: BLE001 (raised to its caller)
            return error

    def _drawn(self, ask: _Ask) -> _Drawn:
        now, standing, governance = self._clock(), ask.standing, ask.governance
        decisions = [self._decide(r, standing, governance, now=now) for r in ask.requests]
        pairs = list(zip(ask.requests, decisions, strict=True))
        basis = self._basis_of(governance)
        drafts = [
            Draft(
                decided(request, decision, basis | notice_of(request, standing), now=now),
                facts_of(request, standing, governance, decision, now=now),
                None if _concerns_nobody(request, standing) else request.subject,
            )
            for request, decision in pairs
        ]
        return _Drawn(pairs, self._recorder.prepare(drafts), now)

    def _permits_of(self, one: _Drawn, recorded: range | Exception) -> list[Outcome] | Exception:
        """Return what one caller gets, once its record is durable; nothing where it is not."""
        if isinstance(recorded, Exception):
            return recorded
        return [
            Outcome(decision, self._permit_of(request, decision, index, now=one.now))
            for (request, decision), index in zip(one.pairs, recorded, strict=True)
        ]

    def open_batch(
        self,
        request: UseRequest,
        standings: Sequence[Standing],
        governance: Governance | None,
        *,
        context: Mapping[str, str],
    ) -> Permit:
        """Return a permit that names everybody whom the rules let into one computation.

        One entry records a commitment to who they are (`audit.batch`). Nobody allowed is a
        permit for nobody: what follows must not show how many there were.

        Args:
            request: The use, with `BATCH_SUBJECT` in the place of a person.
            standings: One for each person.
            governance: What the organisation approved.
            context: Ids of what the batch is for, such as run and round.

        Raises:
            Refused: The organisation stopped, or did not approve this purpose; recorded.
            PolicyUnavailable: The rules could not answer; nothing is permitted.
            EvidenceUnavailable: The decision could not be recorded; nothing is permitted.
        """
        now = self._clock()
        if governance is None or governance.stopped or _unapproved(request, governance):
            self._refuse_batch(request, governance, now=now)
        allowed, decisions = self._decide_batch(request, standings, governance, now=now)  # 1, 2
        # The rules may change over at any moment: the record names those that decided.
        rules = decisions[0].policy_digest if decisions else self._engine.policy_digest
        decision_id = DecisionId(secrets.token_hex(16))
        key = self.batches.key_of(decision_id)
        batch = commit(allowed, key=key)
        fields: dict[str, Value] = {
            **ids_of(request, decision_id, rules),
            **self._basis_of(governance),
            "batch_root": batch.root,
            "key_digest": key_digest(key),
            "context": [f"{name}={value}" for name, value in sorted(context.items())],
        }
        event = Event(kind=EventKind.BATCH_DECISION, at=now, fields=fields)
        facts = batch_facts(request, governance, decisions, batch)
        index = self._recorder.record(Draft(event, facts))  # 3
        return self._permit(request, allowed, decision_id, rules, index, now=now)  # 4

    def export_permit(self, permit: Permit) -> bytes:
        """Return a permit signed for the service's own executor; see `admit_permit`."""
        body = asdict(permit) | {"subjects": sorted(permit.subjects)}
        return seal(_PERMIT, body, self._log.key)

    def _decide(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        *,
        now: float,
    ) -> Decision:
        """Ask the rules; whatever breaks in them is a no."""
        try:
            decision = self._engine.decide(request, standing, governance, now=now)
        except UndertoneError:
            raise
        except Exception as error:
            raise PolicyUnavailable(f"the rules broke ({type(error).__name__}): no") from error
        if decision.allowed and not _concerns(request, standing):
            raise PolicyUnavailable("the rules allowed somebody without standing: no")
        return decision

    def _decide_batch(
        self,
        request: UseRequest,
        standings: Sequence[Standing],
        governance: Governance,
        *,
        now: float,
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Ask the rules about many; nobody is allowed who was not asked about."""
        try:
            allowed, decisions = self._engine.decide_batch(request, standings, governance, now=now)
        except UndertoneError:
            raise
        except Exception as error:
            raise PolicyUnavailable(f"the rules broke ({type(error).__name__}): no") from error
        if not allowed <= {standing.subject for standing in standings}:
            raise PolicyUnavailable("the rules allowed somebody who was not asked about: no")
        return allowed, decisions

    def _refuse_batch(
        self, request: UseRequest, governance: Governance | None, *, now: float
    ) -> NoReturn:
        """Record and raise the refusal of a whole batch, by rules about the organisation."""
        nobody = Standing(subject=request.subject, as_of=int(now))
        decision = self._decide(request, nobody, governance, now=now)
        if decision.allowed:
            raise PolicyUnavailable("the rules allow what the organisation stopped: no")
        event = decided(request, decision, self._basis_of(governance), now=now)
        self._recorder.record(Draft(event))
        raise Refused(decision)

    def _basis_of(self, governance: Governance | None) -> dict[str, Value]:
        """Return the digests of what a decision rests on, as its event carries them."""
        governed = None if governance is None else governance.encoded.digest
        return {**self._basis(), "governance_digest": governed}

    def _permit_of(
        self, request: UseRequest, decision: Decision, index: int, *, now: float
    ) -> Permit | None:
        """Return the permit for one person that a decision allows; None where it says no."""
        if decision.allowed is not True:
            return None
        people = frozenset({request.subject})
        rules = decision.policy_digest
        return self._permit(request, people, decision.decision_id, rules, index, now=now)

    def _permit(
        self,
        request: UseRequest,
        subjects: frozenset[SubjectId],
        decision_id: DecisionId,
        rules: Digest,
        index: int,
        *,
        now: float,
    ) -> Permit:
        return Permit(
            decision_id=decision_id,
            node=request.node,
            action=request.action,
            purpose=request.purpose,
            modality=request.modality,
            subjects=subjects,
            use=request.use,
            policy_digest=rules,
            log_index=index,
            issued_at=now,
            expires_at=now + self._permit_ttl_s,
        )


def admit_permit(data: bytes, key: VerifyKey) -> Permit:
    """Return the permit that the service of that key handed to its executor.

    Raises:
        EnvelopeInvalid: Not a sealed permit.
        SignatureInvalid: Not signed by that key.
    """
    body = unseal(_PERMIT, data, key)
    try:
        return Permit(
            decision_id=DecisionId(body["decision_id"]),
            node=NodeId(body["node"]),
            action=Action(body["action"]),
            purpose=Purpose(body["purpose"]),
            modality=Modality(body["modality"]),
            subjects=frozenset(SubjectId(s) for s in body["subjects"]),
            use=None if body["use"] is None else Use(body["use"]),
            policy_digest=Digest(body["policy_digest"]),
            log_index=int(body["log_index"]),
            issued_at=float(body["issued_at"]),
            expires_at=float(body["expires_at"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EnvelopeInvalid("the envelope holds no permit of this version") from error


def _concerns(request: UseRequest, standing: Standing | None) -> bool:
    """Return whether this is the person's standing, or nobody's where nobody is concerned."""
    if standing is None:
        return _concerns_nobody(request, standing)
    return request.action is not Action.RELEASE and standing.subject == request.subject


def _concerns_nobody(request: UseRequest, standing: Standing | None) -> bool:
    """Return whether a model is asked about: its facts are nobody's, and no key seals them."""
    return standing is None and request.action is Action.RELEASE


def _unapproved(request: UseRequest, governance: Governance) -> bool:
    return request.purpose not in governance.dpia_purposes
