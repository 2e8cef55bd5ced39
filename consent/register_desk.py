"""The desk of the registers: each step is 1. checked, 2. logged, 3. recorded, 4. in force.

The stop switch is set by one person. It is lifted by two: whoever proposes and whoever confirms
are different people, and an envelope sealed by the officer's key that clears it counts only
while a lifting by two is confirmed (`confirmed`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from consent.errors import NotFound
from consent.ledger import Ledger
from consent.register import (
    ABLE,
    LIFT_S,
    Appointment,
    Breach,
    Entry,
    Register,
    after_appointment,
    after_breach,
    appointment_of,
    breach_of,
    check_overseer,
    check_second,
)
from consent.register_store import RegisterStore
from consent.tokens import Randomness
from policies.clock import Clock


class RegisterDesk:
    """The one writer of the registers; thread-safe."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: EvidenceLog,
        clock: Clock,
        randomness: Randomness,
        account_of: Callable[[str], str],
    ) -> None:
        """Prepare; `account_of` says how the account of a name stands (`consent.register`)."""
        self._store = RegisterStore(ledger)
        self._log = log
        self._clock = clock
        self._randomness = randomness
        self._account_of = account_of
        self._lock = threading.Lock()

    # -- breaches -----------------------------------------------------------------------

    def register_breach(self, details: Mapping[str, Any], *, by: str) -> Breach:
        """Register a breach; the clock runs from when it was known. Errors as in `register`."""
        with self._lock:
            step = self._step(Register.BREACH, self._new_id(), "registered", by, details)
            found = after_breach(None, step)  # 1
            self._record(step)
            return found

    def on_breach(self, breach: str, name: str, details: Mapping[str, Any], *, by: str) -> Breach:
        """Take one step of a breach: told, assessed, closed."""
        with self._lock:
            steps = self._store.entries(Register.BREACH).get(breach)
            if steps is None:
                raise NotFound("no such breach")
            step = self._step(Register.BREACH, breach, name, by, details)
            found = after_breach(breach_of(steps), step)  # 1
            self._record(step)
            return found

    def breaches(self) -> list[dict[str, Any]]:
        """Return all breaches with their clocks, oldest first."""
        found = map(breach_of, self._store.entries(Register.BREACH).values())
        return [self.breach_state(breach) for breach in found]

    def breach_state(self, breach: Breach) -> dict[str, Any]:
        """Return a breach as JSON values."""
        left_s = breach.due_at() - self._clock()
        lacking = breach.missing()
        return {
            "breach": breach.breach,
            "known_at": breach.known_at,
            "part": breach.part.value,
            "risk": breach.risk.value,
            "digest": breach.digest,
            "due_at": breach.due_at(),
            "hours_left": round(left_s / 3600, 1),
            "told": {who.value: at for who, at in breach.told.items()},
            "why_late_missing": breach.lacks_why_late(),
            "missing": list(lacking),
            "overdue": left_s < 0 and bool(lacking) and breach.closed_at is None,
            "closed_at": breach.closed_at,
        }

    # -- the stop switch ----------------------------------------------------------------

    def propose_lift(self, *, by: str) -> dict[str, Any]:
        """Propose to lift the stop; it changes nothing by itself."""
        with self._lock:
            step = self._step(Register.LIFT, self._new_id(), "proposed", by, {})
            self._record(step)
            return {"proposal": step.entry, "lapses_at": step.at + LIFT_S}

    def confirm_lift(self, *, by: str) -> dict[str, Any]:
        """Confirm another's proposal; from here the officer's envelope may clear the stop.

        Raises:
            EvidenceMissing: Nobody else proposed it within the hour.
        """
        with self._lock:
            proposal = self._last_lift()
            check_second(proposal, by=by, now=self._clock())  # 1
            entry = "" if proposal is None else proposal.entry
            step = self._step(Register.LIFT, entry, "confirmed", by, {})
            self._record(step)
            return {"proposal": entry, "lapses_at": step.at + LIFT_S}

    def confirmed(self) -> bool:
        """Return whether two people have agreed to lift the stop, and it has not been used."""
        last = self._last_lift()
        return last is not None and last.step == "confirmed" and self._clock() <= last.at + LIFT_S

    def end_lift(self, step: str, *, by: str) -> None:
        """Note that the agreement was used (`lifted`) or is void, as a new stop came between."""
        with self._lock:
            last = self._last_lift()
            if last is not None and last.step in {"proposed", "confirmed"}:
                self._record(self._step(Register.LIFT, last.entry, step, by, {}))

    def _last_lift(self) -> Entry | None:
        return self._store.last(Register.LIFT)

    # -- oversight ----------------------------------------------------------------------

    def appoint(self, details: Mapping[str, Any], *, by: str) -> Appointment:
        """Appoint a named person, who can act, to oversee a purpose.

        Raises:
            RequestInvalid: A particular is missing or wrong, or that person could not stop a use.
        """
        with self._lock:
            step = self._step(Register.OVERSIGHT, self._new_id(), "appointed", by, details)
            found = after_appointment(None, step)  # 1
            check_overseer(self._account_of(found.person))
            self._record(step)
            return found

    def end_appointment(self, appointment: str, *, by: str) -> Appointment:
        """End an appointment now."""
        with self._lock:
            steps = self._store.entries(Register.OVERSIGHT).get(appointment)
            if steps is None:
                raise NotFound("no such appointment")
            step = self._step(Register.OVERSIGHT, appointment, "ended", by, {})
            found = after_appointment(appointment_of(steps), step)  # 1
            self._record(step)
            return found

    def appointments(self) -> list[dict[str, Any]]:
        """Return all appointments, oldest first."""
        found = map(appointment_of, self._store.entries(Register.OVERSIGHT).values())
        return [self.appointment_state(made) for made in found]

    def appointment_state(self, made: Appointment) -> dict[str, Any]:
        """Return an appointment as JSON values.

        It is in force within its term, while who is appointed can act; `account` says whether.
        """
        within, account = made.holds(self._clock()), self._account_of(made.person)
        return {
            "appointment": made.appointment,
            "person": made.person,
            "purpose": made.purpose.value,
            "since": made.since,
            "until": made.until,
            "competence": made.competence,
            "account": account,
            "within_term": within,
            "in_force": within and account == ABLE,
        }

    # -- what has a desk of its own -------------------------------------------------------

    def record(
        self, register: Register, entry: str, name: str, details: Mapping[str, Any], *, by: str
    ) -> None:
        """Log and record a step that another desk has checked."""
        with self._lock:
            self._record(self._step(register, entry, name, by, details))

    def entries(self, register: Register) -> dict[str, list[Entry]]:
        """Return the steps of each entry of a register, oldest first."""
        return self._store.entries(register)

    # -- inside -------------------------------------------------------------------------

    def _new_id(self) -> str:
        return self._randomness(8).hex()

    def _step(
        self, register: Register, entry: str, name: str, by: str, details: Mapping[str, Any]
    ) -> Entry:
        return Entry(
            register=register,
            entry=entry,
            step=name,
            at=self._clock(),
            by=by,
            details=details,
        )

    def _record(self, step: Entry) -> None:
        fields: dict[str, Value] = {
            "register": step.register.value,
            "entry": step.entry,
            "step": step.step,
            "by": step.by,
        }
        for name in ("digest", "reason", "purpose", "until"):
            if step.details.get(name) is not None:
                fields[name] = step.details[name]
        event = Event(kind=EventKind.REGISTER_STEP, at=step.at, fields=fields)
        index = self._log.append(event)  # 2
        self._store.add(step, index)  # 3, 4
