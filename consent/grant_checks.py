"""What a yes must be, before it is recorded: of a published notice, informed, proven, one's own.

Each check names the law and the remedy, and nobody. Whether a consent may move from where it is
says `consent.states`; what becomes of a yes that holds, `consent.acts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consent.capture import check_captured
from consent.errors import Conflict, RequestInvalid
from consent.ledger import Ledger
from consent.officer import Officer
from consent.records import Erased, Granted, Objected
from policies.clock import Clock
from policies.vocabulary import AgeBand, Purpose, SubjectId

MOST_GUARDIAN_DAYS = 365
"""How long a guardian's yes lasts at most: a child grows up."""


class GrantChecks:
    """Every check of a yes; it changes nothing."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        officer: Officer,
        clock: Clock,
        takes_uncaptured: Callable[[float], bool],
    ) -> None:
        self._ledger = ledger
        self._officer = officer
        self._clock = clock
        self._takes_uncaptured = takes_uncaptured

    def check(self, company: str, wanted: Sequence[tuple[SubjectId, Granted]]) -> None:
        """Return if all of these consents may be recorded through a company's node.

        Raises:
            NotFound: A notice that is not published.
            RequestInvalid: A yes that lacks what makes it one.
            Conflict: A person who was erased, who objected, or whom another company recorded; a
                proof that was used before.
            LedgerUnavailable: The ledger did not answer.
        """
        for version in {granted.notice_version for _, granted in wanted}:
            self._officer.notice(version)
        subjects = [subject for subject, _ in wanted]
        if set(self._ledger.owners(subjects).values()) - {company}:
            raise Conflict("a pseudonym belongs to another company: it cannot be used here")
        self.check_not_erased(subjects)
        self._check_not_objected(wanted)
        for subject, granted in wanted:
            _check_informed(granted)
            check_captured(granted.act, granted.shown, granted.capture)
            self._check_proven(granted)
            self._check_shown(granted)
            _check_apart(granted)
            _check_guardian(subject, granted)
        self._check_proof_is_new(company, wanted)

    def _check_proven(self, granted: Granted) -> None:
        """Return if there is proof (GDPR 7(1)), or the time to do without it is not over."""
        proven = granted.capture is not None or granted.confirms is not None
        if not proven and not self._takes_uncaptured(self._clock()):
            raise RequestInvalid(
                "a consent comes with its channel and the proof of its capture (GDPR 7(1)): send "
                "`shown` and `capture`; the setting uncaptured_until gives time to change over",
                field="capture",
            )

    def _check_shown(self, granted: Granted) -> None:
        if granted.shown is None:
            return
        layer = granted.shown.layer
        texts = self._officer.notice(granted.notice_version).text_digests(layer)
        if texts.get(granted.shown.language) != granted.shown.text_digest:
            raise RequestInvalid(
                f"notice {granted.notice_version} has no {layer} text in that language with that "
                f"digest: show one of {' '.join(texts) or 'none'}, and send the digest of what was "
                "shown"
            )

    def _check_proof_is_new(
        self, company: str, wanted: Sequence[tuple[SubjectId, Granted]]
    ) -> None:
        """Return if no proof was used before: a yes of yesterday, brought again, is no yes."""
        proofs = [
            (granted.capture.evidence, purpose.value)
            for _, granted in wanted
            if granted.capture is not None and granted.confirms is None
            for purpose in granted.purposes
        ]
        used = self._ledger.captured(company, sorted({evidence for evidence, _ in proofs}))
        if used & set(proofs) or len(set(proofs)) < len(proofs):
            raise Conflict("this proof of capture was used before: a new consent is a new act")

    def _check_not_objected(self, wanted: Sequence[tuple[SubjectId, Granted]]) -> None:
        """Return if nobody objected to what they would agree to: that closes it for good."""
        records = self._ledger.records_of([subject for subject, _ in wanted])
        for subject, granted in wanted:
            acts = [record.act for record in records.get(subject, [])]
            if any(granted.purposes & act.purposes for act in acts if isinstance(act, Objected)):
                raise Conflict("a person objected to one of these purposes: that stays so")

    def check_not_erased(self, subjects: Sequence[SubjectId]) -> None:
        """Return if none of these people was erased: that is final.

        Raises:
            Conflict: One was.
        """
        for records in self._ledger.records_of(subjects).values():
            if any(isinstance(record.act, Erased) for record in records):
                raise Conflict("a pseudonym was erased: it stays so, and cannot be used again")


def _check_informed(granted: Granted) -> None:
    """Return if the person was told before they said yes (GDPR 4(11), 7).

    Raises:
        RequestInvalid: They were not: that is no consent.
    """
    if not granted.informed:
        raise RequestInvalid(
            "a consent is informed or it is none (GDPR 4(11)): show the notice first, and send "
            "`informed` true with the yes that follows it",
            field="informed",
        )


def _check_apart(granted: Granted) -> None:
    """Return if recording is not asked in one breath with analysing (ePrivacy 5(1)).

    Raises:
        RequestInvalid: It is: each needs an act of its own.
    """
    if Purpose.RECORDING in granted.purposes and len(granted.purposes) > 1:
        raise RequestInvalid("recording is a consent of its own: send it apart, with its own act")


def _check_guardian(subject: SubjectId, granted: Granted) -> None:
    """Return if a minor's yes is said by a verified guardian, and nobody else's by one.

    Raises:
        RequestInvalid: It is not.
    """
    guardian, minor = granted.guardian, granted.age is AgeBand.MINOR
    if guardian is None:
        if minor:
            raise RequestInvalid("a minor's consent is given by a verified guardian (GDPR 8)")
        return
    if not minor:
        raise RequestInvalid("a guardian says yes for a minor alone")
    if guardian.subject == subject:
        raise RequestInvalid("nobody is their own guardian")
    if granted.valid_days > MOST_GUARDIAN_DAYS:
        raise RequestInvalid(f"a guardian's consent lasts {MOST_GUARDIAN_DAYS} days at most")
