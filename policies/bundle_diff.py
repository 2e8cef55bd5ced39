"""What one version of a bundle changes against another: by rule, in words and in its text.

Texts are compared as Cedar prints them, so that layout and comments are no difference.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from policies.analysis import sources_in
from policies.bundle import Bundle
from policies.vocabulary import RuleId

_CONTEXT_LINES = 1_000  # a rule is short: the whole of it is shown


class Difference(StrEnum):
    """How a rule differs between two versions."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"  # it decides by another text
    REWORDED = "reworded"  # the same text, told in other words
    SAME = "same"


class Mark(StrEnum):
    """In which version a line of a text is."""

    OLD = "-"
    NEW = "+"
    BOTH = " "


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDifference:
    """One rule: what became of it, its words for the officer (English), and its text by line."""

    rule: RuleId
    what: Difference
    words_before: str
    words_after: str
    lines: tuple[tuple[Mark, str], ...]


def differences(old: Bundle | None, new: Bundle | None) -> tuple[RuleDifference, ...]:
    """Return every rule of either version, in the order of their ids; None holds no rule.

    Raises:
        PolicyInvalid: A text does not parse; one that was admitted does.
    """
    before, after = _sources(old), _sources(new)
    return tuple(
        _difference(rule, before.get(rule), after.get(rule), _words(old, rule), _words(new, rule))
        for rule in sorted(before.keys() | after.keys())
    )


def _difference(
    rule: RuleId, old: str | None, new: str | None, words_old: str, words_new: str
) -> RuleDifference:
    if old is None or new is None:
        what = Difference.ADDED if old is None else Difference.REMOVED
    elif old != new:
        what = Difference.CHANGED
    else:
        what = Difference.SAME if words_old == words_new else Difference.REWORDED
    return RuleDifference(
        rule=rule,
        what=what,
        words_before=words_old,
        words_after=words_new,
        lines=_lines((old or "").splitlines(), (new or "").splitlines()),
    )


def _lines(old: list[str], new: list[str]) -> tuple[tuple[Mark, str], ...]:
    if old == new:
        return tuple((Mark.BOTH, line) for line in new)
    found = difflib.unified_diff(old, new, lineterm="", n=_CONTEXT_LINES)
    return tuple((Mark(line[0]), line[1:]) for line in list(found)[3:])  # without its heading


def _sources(bundle: Bundle | None) -> Mapping[RuleId, str]:
    return {} if bundle is None else sources_in(bundle.rules)


def _words(bundle: Bundle | None, rule: RuleId) -> str:
    said = {} if bundle is None else bundle.words.get(rule, {})
    return said.get("officer", {}).get("en", "")
