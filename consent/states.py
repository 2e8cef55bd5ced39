"""The state of one consent, by the names of DPV: what it is, what may follow, what is valid.

One consent is one person's for one purpose and one modality. DPV has twelve terms below
`dpv:ConsentStatus`: ten states that a consent is in, and two classes that say of each whether
it is valid for processing (w3id.org/dpv, module consent_status). `Cell` is that state machine;
`state_of` walks it over a person's records and the clock.

A state becomes valid by `Step.GIVE` alone, and a grant is that step only where the person did
something (GDPR recital 32). Refusing and withdrawing are possible from everywhere: a no is
never turned away. Expiry is the clock's step: it has no record of its own, because nobody did
anything, and is computed whenever somebody looks, so that it is never late.

Objection and restriction (GDPR 18, 21) lie beside consent, in the Standing: they close the
gate whatever the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from consent.errors import Conflict
from consent.records import (
    DAY_S,
    Act,
    Deferred,
    Erased,
    Granted,
    Invalidated,
    Record,
    Refused,
    Requested,
    Revoked,
    Unconfirmed,
    Withdrawn,
    is_explicit,
    purposes_ended,
)
from policies.vocabulary import Modality, Purpose


class ConsentState(StrEnum):
    """The ten states of a consent, by the names of DPV."""

    UNKNOWN = "ConsentUnknown"
    REQUESTED = "ConsentRequested"
    DEFERRED = "ConsentRequestDeferred"  # asked, and went away without an answer
    REFUSED = "ConsentRefused"
    GIVEN = "ConsentGiven"
    RENEWED = "RenewedConsentGiven"
    EXPIRED = "ConsentExpired"
    WITHDRAWN = "ConsentWithdrawn"  # by the person
    REVOKED = "ConsentRevoked"  # by somebody else: the company stops relying on it
    INVALIDATED = "ConsentInvalidated"  # found never to have been good


class Validity(StrEnum):
    """The two classes that DPV divides those states into."""

    VALID = "ConsentStatusValidForProcessing"
    INVALID = "ConsentStatusInvalidForProcessing"


class Step(StrEnum):
    """What moves a consent from one state to the next."""

    REQUEST = "request"
    DEFER = "defer"
    REFUSE = "refuse"
    GIVE = "give"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"
    REVOKE = "revoke"
    INVALIDATE = "invalidate"


_S = ConsentState
_VALID = frozenset({_S.GIVEN, _S.RENEWED})
_ONCE_GIVEN = _VALID | {_S.EXPIRED, _S.WITHDRAWN, _S.REVOKED}


def _transitions() -> dict[tuple[ConsentState, Step], ConsentState]:
    table = {}
    for state in _S:
        table[state, Step.REQUEST] = state if state in _VALID else _S.REQUESTED
        table[state, Step.GIVE] = _S.GIVEN
        table[state, Step.REFUSE] = _S.REFUSED
        table[state, Step.WITHDRAW] = _S.WITHDRAWN
    for state in _VALID:
        table[state, Step.GIVE] = _S.RENEWED
        table[state, Step.EXPIRE] = _S.EXPIRED
        table[state, Step.REVOKE] = _S.REVOKED
        table[state, Step.DEFER] = state
    table[_S.EXPIRED, Step.GIVE] = _S.RENEWED
    table[_S.REQUESTED, Step.DEFER] = _S.DEFERRED
    for state in _ONCE_GIVEN:
        table[state, Step.INVALIDATE] = _S.INVALIDATED
    return table


TRANSITIONS: Mapping[tuple[ConsentState, Step], ConsentState] = MappingProxyType(_transitions())
"""Every step that there is; what is not here is refused."""


def validity(state: ConsentState) -> Validity:
    """Return which of DPV's two classes a state belongs to."""
    return Validity.VALID if state in _VALID else Validity.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One consent as it stands.

    `expires_at` is the Unix second at which a valid state ends; `lapsed` that the person was
    asked anew after a consent of theirs ran out, so that a yes renews it.
    """

    state: ConsentState = ConsentState.UNKNOWN
    expires_at: int | None = None
    lapsed: bool = False

    def after(self, step: Step, *, expires_at: int | None = None) -> Cell:
        """Return the consent after a step.

        Raises:
            Conflict: No such step from this state.
        """
        following = TRANSITIONS.get((self.state, step))
        if following is None:
            raise Conflict(f"a consent in state {self.state} has no step {step}")
        if step is Step.GIVE:
            renews = self.lapsed or following is ConsentState.RENEWED
            state = ConsentState.RENEWED if renews else ConsentState.GIVEN
            return Cell(state=state, expires_at=expires_at)
        if following in _VALID:
            return self
        asked = step in {Step.REQUEST, Step.DEFER}
        lapsed = asked and (self.lapsed or self.state is ConsentState.EXPIRED)
        return Cell(state=following, lapsed=lapsed)

    def at(self, now: float) -> Cell:
        """Return the consent at a Unix second: expired where its time is over."""
        if self.state in _VALID and self.expires_at is not None and now >= self.expires_at:
            return self.after(Step.EXPIRE)
        return self


_STEPS: Mapping[type[Act], Step] = MappingProxyType(
    {
        Granted: Step.GIVE,
        Requested: Step.REQUEST,
        Unconfirmed: Step.REQUEST,
        Deferred: Step.DEFER,
        Refused: Step.REFUSE,
        Withdrawn: Step.WITHDRAW,
        Erased: Step.WITHDRAW,
        Revoked: Step.REVOKE,
        Invalidated: Step.INVALIDATE,
    }
)


def state_of(
    records: Iterable[Record], purpose: Purpose, modality: Modality, *, now: float
) -> ConsentState:
    """Return the state of one person's consent at a Unix second.

    The order in which the records are handed over does not matter; an erasure is final.

    Raises:
        Conflict: A record is no step from the state before it; none is recorded so.
    """
    return _walk(records, purpose, modality).at(now).state


def states_of(
    records: Iterable[Record], *, now: float
) -> dict[Purpose, dict[Modality, ConsentState]]:
    """Return the states of all of one person's consents; errors as in `state_of`."""
    kept = tuple(records)
    return {p: {m: state_of(kept, p, m, now=now) for m in Modality} for p in Purpose}


def check_step(records: Iterable[Record], act: Act, *, now: float) -> None:
    """Return if an act is a step from the state of every consent that it names.

    A revocation or invalidation needs one modality at least that it ends.

    Raises:
        Conflict: It is not.
    """
    step = _STEPS.get(type(act))
    if step is None:
        return
    kept = tuple(records)
    for purpose in purposes_of(act):
        cells = [_walk(kept, purpose, modality).at(now) for modality in Modality]
        if not any((cell.state, step) in TRANSITIONS for cell in cells):
            states = sorted({cell.state.value for cell in cells})
            raise Conflict(f"{purpose}: no step {step} from {' or '.join(states)}")


def purposes_of(act: Act) -> frozenset[Purpose]:
    """Return the purposes whose consent an act moves; all of them for an erasure."""
    match act:
        case Withdrawn(purpose=purpose):
            return frozenset({purpose})
        case Erased():
            return frozenset(Purpose)
        case (
            Granted()
            | Requested()
            | Unconfirmed()
            | Deferred()
            | Refused()
            | Revoked()
            | Invalidated()
        ):
            return act.purposes
        case _:
            return frozenset()


def uninformed(records: Iterable[Record]) -> frozenset[Purpose]:
    """Return the purposes of one person to which the last yes, not ended since, was uninformed.

    The order in which the records are handed over does not matter.
    """
    found: set[tuple[Purpose, Modality]] = set()
    for record in sorted(records, key=lambda record: record.sequence):
        match record.act:
            case Granted() as granted if is_explicit(granted):
                agreed = {(p, m) for p in granted.purposes for m in granted.modalities}
                found = found - agreed if granted.informed else found | agreed
            case Erased():
                return frozenset()
            case ending:
                ended = purposes_ended(ending)
                found = {cell for cell in found if cell[0] not in ended}
    return frozenset(purpose for purpose, _ in found)


def _walk(records: Iterable[Record], purpose: Purpose, modality: Modality) -> Cell:
    cell = Cell()
    for record in sorted(records, key=lambda record: record.sequence):
        if purpose in purposes_of(record.act):
            cell = _moved(cell.at(record.at), record, modality)
        if isinstance(record.act, Erased):
            return replace(cell, lapsed=False)
    return cell


def _moved(cell: Cell, record: Record, modality: Modality) -> Cell:
    act = record.act
    step = _STEPS[type(act)]
    if isinstance(act, Granted):
        if modality not in act.modalities or not is_explicit(act):
            return cell
        return cell.after(step, expires_at=int(record.at) + act.valid_days * DAY_S)
    asked = act.granted if isinstance(act, Unconfirmed) else act
    if isinstance(asked, Requested | Granted) and modality not in asked.modalities:
        return cell
    return cell.after(step) if (cell.state, step) in TRANSITIONS else cell
