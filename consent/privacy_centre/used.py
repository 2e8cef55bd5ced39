"""What the branches tell of a person, in plain words: from the gathered answer to lines to read.

Pure. A line says when, what was done or not done, why, by which rules, and what it helped with;
each sentence is one of `words.toml` or of the rules' own catalogue. A cue is told as what was
read, which can be wrong, never as what the person felt (rule 26).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consent.privacy_centre.frame import centre_words, minute_of
from policies.vocabulary import RuleId
from policies.words import Language, Reader, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One decision about a person. `helped` is empty where nobody acted on anything."""

    branch: str
    at: float
    when: str
    what: str
    why: str
    done: bool
    rules: tuple[str, ...]
    helped: str
    decision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One thing that is kept. `cue` is empty where none is shown; `can_correct` if one is."""

    branch: str
    when: str
    at: float
    turn: str
    why: str
    text: str
    cue: str
    notes: tuple[str, ...]
    can_correct: bool


def lines_of(by: Mapping[str, Any], language: Language) -> list[Line]:
    """Return every branch's decisions about the person, the newest first."""
    found = [
        _line(branch, decision, language)
        for branch, told in by.items()
        for decision in told.get("decisions", ())
    ]
    return sorted(found, key=lambda line: -line.at)


def copies_of(by: Mapping[str, Any], language: Language) -> list[Copy]:
    """Return what every branch keeps of the person, the newest first."""
    found = [
        _copy(branch, row, language) for branch, told in by.items() for row in told.get("kept", ())
    ]
    return sorted(found, key=lambda copy: -copy.at)


def learned_from(by: Mapping[str, Any], language: Language) -> list[tuple[str, str]]:
    """Return by branch what its rounds of learning can tell of the person at most."""
    words = centre_words()[language]["learned_from"]
    models = [(branch, told.get("models") or {}) for branch, told in by.items()]
    return [
        (branch, words.format(count=len(told["rounds"]), percent=told["right_percent"]))
        for branch, told in models
        if told.get("rounds")
    ]


def _line(branch: str, told: Mapping[str, Any], language: Language) -> Line:
    words = centre_words()[language]
    use = told.get("use")
    return Line(
        branch=branch,
        at=float(told["at"]),
        when=minute_of(float(told["at"]), language),
        what=words.get(f"act_{told['action']}", str(told["action"])),
        why=words.get(f"for_{told['purpose']}", str(told["purpose"])),
        done=bool(told["allowed"]),
        rules=tuple(
            say(RuleId(str(rule)), Reader.CUSTOMER, language) for rule in told.get("rules", ())
        ),
        helped=words.get(f"use_{use}", str(use)) if use else "",
        decision=str(told["decision_id"]),
    )


def _copy(branch: str, row: Mapping[str, Any], language: Language) -> Copy:
    words = centre_words()[language]
    family = words.get(f"feel_{row.get('family')}", str(row.get("family")))
    sure = row.get("family") is not None
    cue = words["cue"].format(family=family) if sure else words["unsure"]
    cue = cue if "expressed_cues_of" in row else ""
    notes = [
        words[name]
        for name, told in (("corrected", "corrected_by"), ("shut", "kept_shut_by"))
        if told in row
    ]
    if "what" in row:
        notes.append(words["figures"])
    return Copy(
        branch=branch,
        when=minute_of(float(row["at"]), language),
        at=float(row["at"]),
        turn=str(row["turn"]),
        why=words.get(f"for_{row['purpose']}", str(row["purpose"])),
        text=str(row.get("text", "")),
        cue=cue,
        notes=tuple(notes),
        can_correct=bool(cue) and "corrected_by" not in row,
    )
