"""The closed set of events: ids, counts and digests, never content.

A string in an event is one word: letters, digits and the few signs that ids, versions,
digests, keys and addresses need. A sentence does not pass, so neither does what a person
said. What a decision considered goes to the private payload (`audit.log`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from audit.errors import EventInvalid
from audit.trace_context import TRACE_ID, is_trace_id

Value = str | int | bool | float | list[str] | None
"""What a field may hold."""

_WORD = re.compile(r"[A-Za-z0-9._:/@+=~-]{0,256}")
_LARGEST = 2**53 - 1


class EventKind(StrEnum):
    """What can be recorded; the design's journeys say when."""

    SERVICE_STARTED = "service-started"
    DECISION = "decision"
    BATCH_DECISION = "batch-decision"
    BUDGET_RESERVED = "budget-reserved"
    BUDGET_SPENT = "budget-spent"
    BUDGET_REFUSED = "budget-refused"
    STANDING_APPLIED = "standing-applied"
    KEYS_DESTROYED = "keys-destroyed"
    TURN_SEALED = "turn-sealed"
    LABEL_RECORDED = "label-recorded"
    TERMS_PUBLISHED = "terms-published"
    TERMS_ANSWERED = "terms-answered"
    RELEASE_PUBLISHED = "release-published"
    RELEASE_LOADED = "release-loaded"
    RELEASE_REFUSED = "release-refused"
    NODE_ENROLLED = "node-enrolled"
    NOTICE_PUBLISHED = "notice-published"
    DPIA_APPROVED = "dpia-approved"
    STOP_SET = "stop-set"
    GRANT_RECORDED = "grant-recorded"
    WITHDRAWAL_RECORDED = "withdrawal-recorded"
    CONSENT_MOVED = "consent-moved"
    ERASURE_ACKNOWLEDGED = "erasure-acknowledged"
    CHALLENGE_ANSWERED = "challenge-answered"
    PLAN_ACCEPTED = "plan-accepted"
    RUN_STARTED = "run-started"
    RUN_ENDED = "run-ended"
    ROUND_CLOSED = "round-closed"
    EVALUATION_CLOSED = "evaluation-closed"
    BUNDLE_PUBLISHED = "bundle-published"
    BUNDLE_STAGED = "bundle-staged"
    JURISDICTION_PLACED = "jurisdiction-placed"
    RULES_ADOPTED = "rules-adopted"
    LOCAL_HEAD_FITTED = "local-head-fitted"
    LOCAL_HEAD_DROPPED = "local-head-dropped"
    WITNESSED = "witnessed"
    WITNESS_ALARM = "witness-alarm"
    REQUEST_STEP = "request-step"
    REQUEST_ANSWERED = "request-answered"
    REGISTER_STEP = "register-step"
    SIGNED_IN = "signed-in"
    SIGNED_OUT = "signed-out"
    SIGN_IN_REFUSED = "sign-in-refused"
    SIGN_IN_BLOCKED = "sign-in-blocked"
    SIGN_ON = "sign-on"
    STAFF_CHANGED = "staff-changed"
    STAFF_ACTED = "staff-acted"
    INPUT_REFUSED = "input-refused"
    RETENTION_APPLIED = "retention-applied"
    ARCHIVE_SEALED = "archive-sealed"
    HOLD_STEP = "hold-step"
    KEY_INTRODUCED = "key-introduced"
    KEY_RETIRED = "key-retired"
    APPROVAL_STEP = "approval-step"
    WEBHOOK_STEP = "webhook-step"
    REVIEW_STEP = "review-step"


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields that an event of one kind has, and those that it may have."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


def _shape(required: str, optional: str = "") -> Shape:
    return Shape(frozenset(required.split()), frozenset(optional.split()))


_DECISION_IDS = "decision_id node action purpose modality policy_digest"
_BASIS = "envelope_digest release_digest governance_digest approvals local_head_digest"

SHAPES: Mapping[EventKind, Shape] = MappingProxyType(
    {
        EventKind.SERVICE_STARTED: _shape(
            "service version policy_digest", "node key pseudonym_key"
        ),
        EventKind.DECISION: _shape(
            f"{_DECISION_IDS} use allowed rules request_digest standing_digest",
            f"caller {_BASIS} notice_version",
        ),
        EventKind.BATCH_DECISION: _shape(
            f"{_DECISION_IDS} batch_root context", f"{_BASIS} key_digest"
        ),
        EventKind.BUDGET_RESERVED: _shape("run epsilon delta", "ledger plan_digest head"),
        EventKind.BUDGET_SPENT: _shape(
            "ledger run round terms_digest epsilon_after delta head", "decision_id"
        ),
        EventKind.BUDGET_REFUSED: _shape(
            "ledger run", "round terms_digest epsilon_after epsilon delta head reason decision_id"
        ),
        EventKind.STANDING_APPLIED: _shape("sequence envelope_digest", "approvals"),
        EventKind.KEYS_DESTROYED: _shape("reason purpose count", "sequence record"),
        EventKind.TURN_SEALED: _shape("turn decision_id", "purpose release read_by"),
        EventKind.LABEL_RECORDED: _shape("turn provenance decision_id"),
        EventKind.TERMS_PUBLISHED: _shape("run round terms_digest", "asks"),
        EventKind.TERMS_ANSWERED: _shape("run round terms_digest answer"),
        EventKind.RELEASE_PUBLISHED: _shape(
            "release digest run approved_by", "card_digest plan_digest decision_id"
        ),
        EventKind.RELEASE_LOADED: _shape("release digest", "log_index"),
        EventKind.RELEASE_REFUSED: _shape("", "release digest reason"),
        EventKind.NODE_ENROLLED: _shape("node key", "company"),
        EventKind.NOTICE_PUBLISHED: _shape("version digest", "published_by"),
        EventKind.DPIA_APPROVED: _shape("dpia purposes digest approved_by"),
        EventKind.STOP_SET: _shape("stopped by", "reason"),
        EventKind.GRANT_RECORDED: _shape(
            "record", "notice_version receipt channel evidence answers confirms"
        ),
        EventKind.WITHDRAWAL_RECORDED: _shape("record", "erasure receipt"),
        EventKind.CONSENT_MOVED: _shape("record step", "receipt"),
        EventKind.ERASURE_ACKNOWLEDGED: _shape("node sequence", "keys_destroyed checkpoint"),
        EventKind.CHALLENGE_ANSWERED: _shape("node index agrees", "rules"),
        EventKind.PLAN_ACCEPTED: _shape("plan_digest name", "epsilon delta rounds"),
        EventKind.RUN_STARTED: _shape("run plan_digest", "approved_by base_digest"),
        EventKind.RUN_ENDED: _shape("run state", "rounds weights_digest"),
        EventKind.ROUND_CLOSED: _shape("run round state replies weights_digest"),
        EventKind.EVALUATION_CLOSED: _shape("run evaluation state replies table_digest"),
        EventKind.BUNDLE_PUBLISHED: _shape("bundle version digest"),
        EventKind.BUNDLE_STAGED: _shape("bundle version stage nodes percent by digest"),
        EventKind.JURISDICTION_PLACED: _shape("whom profiles by digest"),
        EventKind.RULES_ADOPTED: _shape("policy_digest profiles bundles", "proposed_digest"),
        EventKind.LOCAL_HEAD_FITTED: _shape("digest release decision_id"),
        EventKind.LOCAL_HEAD_DROPPED: _shape("reason"),
        EventKind.WITNESSED: _shape("origin size root"),
        EventKind.WITNESS_ALARM: _shape("origin what note_digest"),
        EventKind.REQUEST_STEP: _shape(
            "request right step by", "node digest reason outcome method evidence way decision"
        ),
        EventKind.REQUEST_ANSWERED: _shape(
            "request right outcome digest", "keys_left keys_destroyed_at"
        ),
        EventKind.REGISTER_STEP: _shape("register entry step by", "digest reason purpose until"),
        EventKind.SIGNED_IN: _shape("staff method", "roles"),
        EventKind.SIGNED_OUT: _shape("staff everywhere"),
        EventKind.SIGN_IN_REFUSED: _shape("staff method reason"),
        EventKind.SIGN_IN_BLOCKED: _shape("what staff wait_s"),
        EventKind.SIGN_ON: _shape("staff client step", "reason roles acr key"),
        EventKind.STAFF_CHANGED: _shape("staff change by", "roles token until"),
        EventKind.STAFF_ACTED: _shape("staff act allowed"),
        EventKind.INPUT_REFUSED: _shape("reason field count"),
        EventKind.RETENTION_APPLIED: _shape("policy_digest first last count held until"),
        EventKind.ARCHIVE_SEALED: _shape("start end root manifest"),
        EventKind.HOLD_STEP: _shape("hold step by", "reason since until kinds person review"),
        EventKind.KEY_INTRODUCED: _shape("origin key from_size until by signature accepted"),
        EventKind.APPROVAL_STEP: _shape("approval use step by", "decision_id hasty"),
        EventKind.REVIEW_STEP: _shape("request decision outcome step"),
        EventKind.WEBHOOK_STEP: _shape("delivery target step", "decision_id reason"),
        EventKind.KEY_RETIRED: _shape("origin key_id last_size reason by signature"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened; `at` is Unix seconds. Checked when it is made.

    Any may have a `trace_id`, which ties it to its trace (`audit.telemetry` says why that links
    nobody); one without has the bytes it always had.
    """

    kind: EventKind
    at: float
    fields: Mapping[str, Value]

    def __post_init__(self) -> None:
        """Check the event against the closed set, and freeze its fields.

        Raises:
            EventInvalid: A field is unknown, missing, or not a word, number, list or None.
        """
        shape, given = SHAPES[self.kind], set(self.fields)
        if unknown := given - shape.required - shape.optional - {TRACE_ID}:
            raise EventInvalid(f"{self.kind} has no field {_names(unknown)}", field="fields")
        if missing := shape.required - given:
            text = f"{self.kind} lacks {_names(missing)}: give it, or None"
            raise EventInvalid(text, field=min(missing))
        if wrong := {name for name, value in self.fields.items() if not _may_hold(value)}:
            text = f"{self.kind}: {_names(wrong)} is no id, number or list of ids"
            raise EventInvalid(text, field=min(wrong))
        if TRACE_ID in given and not is_trace_id(self.fields[TRACE_ID]):
            raise EventInvalid(f"{self.kind}: {TRACE_ID} is no id of a trace", field=TRACE_ID)
        if not _is_number(self.at):
            raise EventInvalid(f"{self.kind}: its time is not a finite number", field="at")
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return the event as JSON values."""
    return {"kind": event.kind.value, "at": event.at, "fields": dict(event.fields)}


def event_from_dict(value: Mapping[str, Any]) -> Event:
    """Rebuild an event.

    Raises:
        EventInvalid: Not an event of the closed set.
    """
    try:
        kind, at, fields = EventKind(value["kind"]), value["at"], value["fields"]
    except ValueError as error:
        raise EventInvalid("not an event of a kind that is known", field="kind") from error
    except (KeyError, TypeError) as error:
        raise EventInvalid(f"not an event: {type(error).__name__}") from error
    try:
        return Event(kind=kind, at=at, fields=fields)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise EventInvalid(f"not an event: {type(error).__name__}") from error


def _may_hold(value: object) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    if isinstance(value, list):
        return all(isinstance(v, str) and _WORD.fullmatch(v) is not None for v in value)
    return value is None or _is_number(value)


def _is_number(value: object) -> bool:
    """Say whether canonical JSON keeps the number (RFC 8785: finite, below 2**53).

    A float beyond that is written as an integer, which no reader takes back.
    """
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _LARGEST


def _names(names: set[str] | frozenset[str]) -> str:
    """Name fields for a message; an unknown field's name could itself be content."""
    return ", ".join(sorted(n if n.isidentifier() and len(n) <= 40 else "?" for n in names))  # noqa: PLR2004
