"""What a person may ask this node about themselves, answered with proofs and naming nobody else.

    uses      every decision about their data, with its receipt, the rounds they were in included
    releases  which models learned from them, and what bound holds on what those can tell
    state     that they were, or were not, in a round: signed, for whoever they show it to

Only payloads sealed with the person's own key are opened. After an erasure those keys are gone:
the decisions stay in the log, and nobody can say any more whose they were. The rounds can still
be answered for, because a pseudonym's place in a batch is computed anew.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from audit.errors import EntryMissing
from audit.events import Event, EventKind
from audit.gate import Gate
from audit.leaf import decode_leaf
from audit.log import Entry, EvidenceLog
from audit.signing import SigningKey
from audit.statement import evaluation_of_batch, make_statement, round_of_batch
from client_node.budget_ledger import BudgetLedger
from client_node.releases import Releases
from client_node.round_answers import RoundAnswers
from client_node.training import Training
from models.accounting import NOTHING_SPENT, epsilon
from policies.budget import percent, right_percent
from policies.vocabulary import RunId, SubjectId

_SAID = ("action", "purpose", "modality", "use", "allowed", "rules", "notice_version")
_PROVEN = ("release_digest", "policy_digest", "decision_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnData:
    """Answers a person about themselves."""

    log: EvidenceLog
    gate: Gate
    training: Training
    answers: RoundAnswers
    ledger: BudgetLedger
    releases: Releases
    key: SigningKey
    delta: float

    def uses(self, subject: SubjectId) -> dict[str, Any]:
        """Return every decision about the person, oldest first, each with leaf and receipt.

        Raises:
            EvidenceUnavailable: The log or the keystore cannot be read.
        """
        alone = [self.log.entry(index) for index in self.log.sealed_for(subject)]
        decided = [entry for entry in alone if entry.event.kind is EventKind.DECISION]
        found = sorted([*decided, *self._batches(subject)], key=lambda entry: entry.index)
        return {
            "subject": subject,
            "log": self.log.origin,
            "uses": [self._use(e) for e in found],
            "rounds_past_retention": len(self._past_retention()),
        }

    def learned(self, subject: SubjectId) -> dict[str, Any]:
        """Return the releases that learned from the person, and the bound that holds.

        The bound composes what was spent on every computation the person was in, those whose
        result never left included; a release that builds on one of them learns no more. One of
        which it is no longer kept who was in it counts as if they had been.

        Raises:
            EvidenceUnavailable, LedgerRolledBack: Log or ledger cannot be read.
        """
        together = self._batches(subject)
        batches = {e.index: r for e in together if (r := _computation(e.event))}
        stayed, unknown = len(together) - len(batches), self._past_retention()
        runs = sorted({run for run, _ in batches.values()})
        told = [self._run(run, [i for i, (r, _) in batches.items() if r == run]) for run in runs]
        bound = self._epsilon([*batches, *unknown])
        releases = self._releases(frozenset(runs))
        return {
            "subject": subject,
            "runs": told,
            "releases": releases,
            "stayed_here": stayed,
            "epsilon": bound,
            "delta": self.delta,
            "right_percent": right_percent(bound, self.delta),
            "past_retention": len(unknown),
            "words": _words(
                releases, len(batches), bound, self.delta, unknown=len(unknown), stayed=stayed
            ),
        }

    def state(self, run: RunId, round_number: int, subject: SubjectId) -> bytes:
        """Return the signed statement on whether the person was in a round (`audit.statement`).

        Raises:
            EntryMissing: This node opened no batch for that round.
        """
        shown = self.training.prove(run, round_number, subject)
        return make_statement(subject, run, round_number, shown, self.key)

    def batch_key(self, decision_id: str) -> bytes:
        """Return the key of one batch, for an auditor who holds a statement against it.

        Raises:
            EntryMissing: There is no such batch.
        """
        for entry in self.log.find(EventKind.BATCH_DECISION, self.log.size):
            if entry.event.fields["decision_id"] == decision_id:
                return self.gate.batches.key(entry.index)
        raise EntryMissing("no batch was decided here under this id")

    def _batches(self, subject: SubjectId) -> list[Entry]:
        """Return the batches that let the person in, oldest first."""
        entries = self.log.find(EventKind.BATCH_DECISION, self.log.size)
        return [e for e in reversed(entries) if self._is_in(e.index, subject)]

    def _is_in(self, index: int, subject: SubjectId) -> bool:
        return self._is_kept(index) and self.gate.batches.holds(index, subject)

    def _is_kept(self, index: int) -> bool:
        return self.log.payload(index) is not None

    def _past_retention(self) -> list[int]:
        """Return the batches of which it is no longer kept who was in them."""
        entries = self.log.find(EventKind.BATCH_DECISION, self.log.size)
        return [entry.index for entry in entries if not self._is_kept(entry.index)]

    def _use(self, entry: Entry) -> dict[str, Any]:
        fields = entry.event.fields
        about = {name: fields[name] for name in (*_SAID, *_PROVEN) if name in fields}
        found = round_of_batch(entry.event)
        if entry.event.kind is EventKind.BATCH_DECISION:
            about["allowed"] = True
        return about | {
            "at": entry.event.at,
            "round": None if found is None else {"run": found[0], "round": found[1]},
            "log_index": entry.index,
            "leaf": base64.b64encode(entry.leaf).decode(),
            "receipt": self.log.receipt(entry.index),
        }

    def _run(self, run: str, indices: list[int]) -> dict[str, Any]:
        entries = [self.log.entry(index) for index in indices]
        rounds = sorted(found[1] for e in entries if (found := round_of_batch(e.event)))
        return {
            "run": run,
            "rounds": rounds,
            "evaluations": sorted(f[1] for e in entries if (f := evaluation_of_batch(e.event))),
            "epsilon": self._epsilon(indices),
            "batches": [{"log_index": i, "receipt": self.log.receipt(i)} for i in indices],
        }

    def _epsilon(self, indices: list[int]) -> float:
        """Return what the computations over these batches cost a person in them, composed."""
        numbers = self.answers.spendings(indices)
        curves = [self.ledger.curve_of(e) for e in self.ledger.entries() if e.number in numbers]
        spent = sum(curves, start=NOTHING_SPENT)
        return epsilon(spent, delta=self.delta) if curves else 0.0

    def _releases(self, runs: frozenset[str]) -> list[dict[str, Any]]:
        """Return the releases loaded here that a run of the person's made, or that came after."""
        told: list[dict[str, Any]] = []
        for foreign in self.releases.all_published():
            fields = decode_leaf(foreign.leaf)[0].fields
            direct = fields.get("run") in runs
            if direct or (told and fields.get("run") is not None):
                told.append(
                    {
                        "release": fields["release"],
                        "digest": fields["digest"],
                        "run": fields["run"],
                        "learned": "from a round" if direct else "by building on an earlier one",
                        "approved_by": fields.get("approved_by"),
                        "log": foreign.origin,
                        "leaf": base64.b64encode(foreign.leaf).decode(),
                        "receipt": foreign.receipt,
                    }
                )
        return told


def _computation(event: Event) -> tuple[str, int] | None:
    """Return run and number of a round's or an evaluation's batch."""
    return round_of_batch(event) or evaluation_of_batch(event)


def _words(
    releases: list[dict[str, Any]],
    rounds: int,
    bound: float,
    delta: float,
    *,
    unknown: int,
    stayed: int,
) -> list[str]:
    """Return the answer as a person reads it; `stayed` counts what was computed for here alone."""
    forgotten = (
        f"Of {unknown} older computations it is no longer kept who was in them: they are counted "
        "as if this person had been."
    )
    here = (
        f"For this branch alone, {stayed} times figures were made of this person's messages "
        "together with others'. They never leave it, and are dropped when one of those people "
        "withdraws."
    )
    aside = [words for count, words in ((unknown, forgotten), (stayed, here)) if count]
    if not (rounds or unknown):
        leaves = "that leaves this branch " if stayed else ""
        return [f"Nothing {leaves}was computed with this person's messages.", *aside]
    if not rounds:
        return aside
    names = ", ".join(str(r["release"]) for r in releases) or "no model that this branch was given"
    most = percent(right_percent(bound, delta))
    bounded = (
        "Withdrawing ends further learning. What was learned is not unlearned, and is bounded: "
        "whoever sees all that left this branch from those computations, and guesses whether this "
        f"person's messages were used, is right at most {most} times in 100; a coin is right 50."
    )
    return [
        f"This person was in {rounds} computations. From them learned: {names}.",
        bounded,
        *aside,
    ]
