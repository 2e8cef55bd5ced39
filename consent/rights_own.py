"""The trust service's own part in a request: put it in force, gather its records, destroy keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.errors import ErasureHeld
from audit.events import EventKind
from audit.keystore import Keystore
from audit.log import EvidenceLog
from consent.acts import Acts, Person
from consent.ledger import Ledger
from consent.records import Erased, Record, act_to_dict
from consent.rights import Case, EvidenceKind, Right
from consent.rights_answers import Answers
from consent.rights_steps import Steps
from policies.canonical import digest
from policies.vocabulary import Purpose, SubjectId

OWN = "trust-service"
_FEW = 16


class OwnPart:
    """Does for a request what no node can."""

    def __init__(
        self,
        *,
        steps: Steps,
        answers: Answers,
        ledger: Ledger,
        log: EvidenceLog,
        keystore: Keystore,
        acts: Acts,
    ) -> None:
        self._steps, self._answers = steps, answers
        self._ledger, self._log = ledger, log
        self._keystore, self._acts = keystore, acts

    def begin(self, case: Case) -> Case:
        """Do what the trust service itself does for a request, and let the nodes be asked."""
        person = Person(company=case.company, subject=case.subject, node=None)
        match case.right:
            case Right.ERASURE:
                case = self._erase(case, person)
            case Right.RESTRICTION:
                case = self._standing(case, self._acts.restrict(person, restricted=True))
            case Right.OBJECTION:
                purposes = frozenset(Purpose(p) for p in case.about["purposes"])
                case = self._standing(case, self._acts.object_to(person, purposes))
            case Right.ACCESS | Right.PORTABILITY:
                own = self._records(case)
                self._answers.keep(case, OWN, own)
                shown = digest(own)
                case = self._steps.evidence(case, EvidenceKind.OWN_RECORDS, by=OWN, shown=shown)
            case Right.RECTIFICATION | Right.REVIEW:
                pass
        self.wake(case)
        return case

    def wake(self, case: Case) -> None:
        """Let the nodes of the company ask at once."""
        self._acts.wake(case.company)

    def resume(self, subject: SubjectId) -> None:
        """Go on with the erasures of a person whom a legal hold no longer keeps."""
        with self._steps.lock:
            for case in self._steps.store.requests():
                waits = case.right is Right.ERASURE and case.subject == subject
                if waits and case.identity and not case.has(EvidenceKind.KEYS_DESTROYED):
                    self.begin(case)

    def held(self, case: Case) -> dict[str, str]:
        """Return why an open erasure waits, as the person is told; nothing where none does."""
        open_erasure = case.right is Right.ERASURE and case.outcome is None
        why = self._acts.held(case.subject) if open_erasure else None
        return {} if why is None else {"held": why}

    def is_erased(self, subject: SubjectId) -> bool:
        """Return whether everything of a person was erased."""
        return self._erasure(subject) is not None

    def _erasure(self, subject: SubjectId) -> Record | None:
        records = self._ledger.records_of([subject]).get(subject, [])
        return next((record for record in records if isinstance(record.act, Erased)), None)

    def _erase(self, case: Case, person: Person) -> Case:
        """Erase at once where that has not happened; destroyed keys are looked for, not taken."""
        if not self.is_erased(case.subject):
            try:
                done = self._acts.withdraw(person, None)
            except ErasureHeld:
                return case  # `state` says why; `resume` goes on once the hold is lifted
            case = self._standing(case, done)
        else:
            case = self._standing(case, {"log_index": self._erased_at(case.subject)[1]})
        if self._keystore.labels(case.subject):
            return case
        index = self._destroyed_at(*self._erased_at(case.subject))
        kind = EvidenceKind.KEYS_DESTROYED
        return self._steps.evidence(case, kind, by=OWN, log_index=index)

    def _erased_at(self, subject: SubjectId) -> tuple[str, int]:
        """Return the record of a person's erasure, and its entry in the log."""
        [(record, place)] = self._ledger.places_of(subject).items()
        return record, place

    def _destroyed_at(self, record: str, erased_at: int) -> int | None:
        """Return the entry that says that the keys of this erasure are destroyed.

        Entries of earlier versions name no record: the first after the erasure is the one.
        """
        limit = _FEW
        found = self._log.find(EventKind.KEYS_DESTROYED, limit)
        while len(found) == limit and found[-1].index > erased_at:
            limit *= _FEW
            found = self._log.find(EventKind.KEYS_DESTROYED, limit)
        after = [(e.index, e.event.fields) for e in reversed(found) if e.index > erased_at]
        return next((at for at, said in after if said.get("record", record) == record), None)

    def _standing(self, case: Case, receipt: Mapping[str, Any]) -> Case:
        index = int(receipt["log_index"])
        kind = EvidenceKind.STANDING_RECORDED
        return self._steps.evidence(case, kind, by=OWN, log_index=index)

    def _records(self, case: Case) -> dict[str, Any]:
        records = self._ledger.records_of([case.subject]).get(case.subject, [])
        return {
            "pseudonym": case.subject,
            "records": [
                {"record": r.record_id, "at": r.at, "through": r.node} | act_to_dict(r.act)
                for r in sorted(records, key=lambda record: record.sequence)
            ],
        }
