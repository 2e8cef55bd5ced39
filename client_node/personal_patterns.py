"""What personal data looks like in a customer's words: patterns and cues, as plain values.

Covers what Presidio's own recognisers leave out when no language model is installed: names,
addresses, postcodes, references, secrets, dates of birth, user names. The words and
expressions are data (`personal_patterns.toml`); each has one group `value`, which is what is
removed. They lean towards removing too much: a word too many costs the reading of a cue
little, a word too few costs a person. Nothing here knows Presidio.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

PLACEHOLDER = re.compile(r"<<(\w+)>>")


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalPattern:
    """One kind of personal data and the expression whose group `value` finds it."""

    kind: str
    score: float
    expression: re.Pattern[str]

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the half-open character range of each value in the text."""
        for match in self.expression.finditer(text):
            if match.end("value") > match.start("value"):
                yield match.span("value")


def load_patterns() -> tuple[PersonalPattern, ...]:
    """Compile every shipped pattern; call once for each process."""
    text = (files("client_node") / "personal_patterns.toml").read_text(encoding="utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    known = _alternatives(data["words"])
    for name, fragment in data["fragments"].items():
        known[name] = _fill(fragment, known)
    return tuple(
        PersonalPattern(
            kind=entry["kind"],
            score=entry["score"],
            expression=re.compile(_fill(entry["expression"], known), re.IGNORECASE | re.MULTILINE),
        )
        for entry in data["patterns"]
    )


def _alternatives(words: dict[str, str]) -> dict[str, str]:
    """Return each list as one alternation, longest first, so that no prefix wins."""
    lists = {name: set(value.split()) for name, value in words.items()}
    lists["sure_names"] = lists["given_names"] - lists["ambiguous_names"]
    return {
        name: "|".join(sorted(map(re.escape, entries), key=lambda w: (-len(w), w)))
        for name, entries in lists.items()
    }


def _fill(expression: str, known: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: known[found[1]], expression)
