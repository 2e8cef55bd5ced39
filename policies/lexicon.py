"""The lexicon of manipulation: expressions that name their pattern, kept as data.

`manipulation.toml` holds for each pattern its rule, its name at the EDPB or the OECD, a plain
sentence, an honest way to say it, and the expressions. They are matched on every folded view
of the text (`policies.folding`), so that a disguise hides nothing from them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from policies.errors import PolicyInvalid
from policies.folding import View, disguises, joined, views
from policies.law import LAW
from policies.messages import Audience, Finding, FoundBy, Pattern, RuleNumber

_BEFORE = re.compile(r"\(\?<!.*?\)")
_FILE = resources.files("policies").joinpath("manipulation.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is said of a pattern, and how it is found: in text as written, or spaced out."""

    pattern: Pattern
    rule: RuleNumber
    named: str
    sentence: str
    suggestion: str
    audiences: frozenset[Audience]
    statute: str = ""
    written: tuple[re.Pattern[str], ...] = ()
    spaced: tuple[re.Pattern[str], ...] = ()

    def finding(self, start: int, end: int, found_by: FoundBy) -> Finding:
        """Return a finding of this pattern at a range of characters."""
        return Finding(
            start=start,
            end=end,
            pattern=self.pattern,
            rule=self.rule,
            named=self.named,
            sentence=self.sentence,
            suggestion=self.suggestion,
            found_by=found_by,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """Every pattern with its note; safe to share between threads."""

    notes: Mapping[Pattern, Note]

    def find(self, text: str, audience: Audience) -> Iterator[Finding]:
        """Yield each pattern that the text shows by its wording, and each disguised word."""
        for view in views(text):
            for note in self.notes.values():
                if audience in note.audiences:
                    yield from _matches(note, note.written, view)
                    for run in joined(view):
                        yield from _matches(note, note.spaced, run)
        for start, end in disguises(text):
            yield self.notes[Pattern.DISGUISED].finding(start, end, FoundBy.LEXICON)


def _matches(note: Note, expressions: tuple[re.Pattern[str], ...], view: View) -> Iterator[Finding]:
    for expression in expressions:
        for match in expression.finditer(view.text):
            if match.end() > match.start():
                yield note.finding(*view.original(*match.span()), FoundBy.LEXICON)


@cache
def load_lexicon() -> Lexicon:
    """Return the shipped lexicon, compiled once.

    Raises:
        PolicyInvalid: The installation is damaged.
    """
    return parse_lexicon(_FILE.read_text("utf-8"))


def parse_lexicon(text: str) -> Lexicon:
    """Read a lexicon from TOML.

    Raises:
        PolicyInvalid: It is not TOML, an expression does not compile, a source is unknown to the
            law, or a pattern lacks its note.
    """
    try:
        data = tomllib.loads(text)
        rows = {**data["pattern"], **data["guard"]}
        notes = {Pattern(name): _note(Pattern(name), row) for name, row in rows.items()}
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise PolicyInvalid(f"manipulation.toml: {type(error).__name__}: {error}") from error
    if missing := set(Pattern) - set(notes):
        raise PolicyInvalid(f"manipulation.toml has no note on {', '.join(sorted(missing))}")
    return Lexicon(notes=MappingProxyType(notes))


def _note(pattern: Pattern, row: Mapping[str, Any]) -> Note:
    expressions = row.get("expressions", [])
    only = row.get("audience")
    return Note(
        pattern=pattern,
        rule=RuleNumber(row["rule"]),
        named=row["named"],
        sentence=row["sentence"],
        suggestion=row["suggestion"],
        audiences=frozenset({Audience(only)} if only else Audience),
        statute="; ".join(LAW.provisions[source].title for source in row.get("sources", [])),
        written=tuple(re.compile(e) for e in expressions),
        spaced=tuple(re.compile(_without_spaces(e)) for e in expressions),
    )


def _without_spaces(expression: str) -> str:
    """Return the expression for text whose words run together: spaces may be absent, edges too."""
    plain = _BEFORE.sub("", expression).replace("\\b", "")
    return plain.replace(" ?", " ").replace(" ", " ?")
