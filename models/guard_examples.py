"""The messages that the guard's head is taught from: written for it, none taken from a data set.

`guard_examples.jsonl` has a line for each: the kind of company, the pattern (`none` for an honest
message), the text. Honest ones are near misses on purpose: deadlines with their date, stock that
was asked for, apologies, an assistant that says what it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from models.errors import TrainingInvalid
from policies.messages import Pattern

FILE = Path(__file__).with_name("guard_examples.jsonl")
HONEST = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A message, the kind of company that might send it, and its pattern; None where honest."""

    domain: str
    pattern: Pattern | None
    text: str


def read_examples(path: Path = FILE) -> tuple[Example, ...]:
    """Return the examples in their order.

    Raises:
        TrainingInvalid: The file cannot be read, or a line is no example; says which.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingInvalid(f"{path} cannot be read: {type(error).__name__}") from error
    return tuple(_example(line, f"{path.name}, line {at}") for at, line in enumerate(lines, 1))


def _example(line: str, place: str) -> Example:
    try:
        row = json.loads(line)
        named = row["pattern"]
        pattern = None if named == HONEST else Pattern(named)
        return Example(domain=row["domain"], pattern=pattern, text=row["text"])
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingInvalid(
            f"{place}: {type(error).__name__}, expected domain, pattern (one of "
            f"{HONEST}, {', '.join(Pattern)}) and text"
        ) from error
