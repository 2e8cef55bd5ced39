"""Sentences whose personal data is marked, as the token classifier is taught from them.

Three openly licensed sets: MultiDoGO (what customers type; Peskov et al. 2019, CDLA-Permissive),
Presidio's made-up sentences (MIT), and GoEmotions (Apache-2.0), where annotators put a mark in
the place of names and religions: a made-up name goes back there, and what has no mark teaches
how people talk when they name nobody.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import TrainingInvalid
from models.token_classifier import KINDS

Spans = tuple[tuple[int, int, str], ...]

RENAMED = {
    "PERSON": "NAME",
    "STREET_ADDRESS": "ADDRESS",
    "GPE": "LOCATION",
    "CITY": "LOCATION",
    "ZIP": "POSTCODE",
    "ZIP_CODE": "POSTCODE",
    "EMAIL": "EMAIL_ADDRESS",
    "PHONE_NUMBER": "PHONE",
    "CARD_NUMBER": "CREDIT_CARD",
    "IBAN_CODE": "ACCOUNT",
    "SSN": "NATIONAL_ID",
    "US_SSN": "NATIONAL_ID",
    "US_DRIVER_LICENSE": "NATIONAL_ID",
    "DATE_TIME": "DATE",
    "PREFIX": "TITLE",
}
"""The sets' names of kinds, where they are not ours."""
FOUND_BY_PATTERNS = frozenset({"DOMAIN_NAME", "IP_ADDRESS"})
"""Kinds that need no context; their words teach nothing either way."""
MARK = re.compile(r"\[(NAME|RELIGION)\]")
BELIEFS = (
    *("Christian", "Catholic", "Protestant", "Orthodox", "Muslim", "Jewish", "Hindu", "Buddhist"),
    *("Sikh", "Mormon", "Baptist", "Methodist", "Shia", "Sunni", "atheist", "Islam"),
)
KEPT_APART, FOLDS = 0.1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A text, its personal data as `(start, end, kind)`, and what it must not be torn from.

    `group` is its conversation, template or comment: sentences of one group are all taught, or
    all kept apart. `weight` is what an error in it costs, against one in a customer's sentence.
    """

    text: str
    spans: Spans
    source: str
    group: str
    weight: float = 1.0

    @property
    def apart(self) -> bool:
        """Whether it is kept apart, for the choice of the threshold."""
        return self._draw() < KEPT_APART

    @property
    def fold(self) -> int:
        """Return which fifth it belongs to, when a figure is found by cross-validation."""
        return int(self._draw() * 1000) % FOLDS

    def _draw(self) -> float:
        name = f"{self.source}/{self.group}".encode()
        return int.from_bytes(hashlib.sha256(name).digest()[:4], "big") / 2**32


def customers(path: Path, split: str) -> list[Sentence]:
    """Return what MultiDoGO's customers typed in that split.

    Raises:
        TrainingInvalid: The file cannot be read or lacks a column; says which.
    """
    return [
        Sentence(text=row["text"], spans=_spans(row), source="customers", group=row["dialogue"])
        for row in _rows(path, "text", "spans", "split", "dialogue")
        if row["split"] == split
    ]


def templates(path: Path) -> list[Sentence]:
    """Return Presidio's made-up sentences, grouped by the template that they were made from.

    Raises:
        TrainingInvalid: The file cannot be read or lacks a column; says which.
    """
    return [
        Sentence(
            text=row["text"],
            spans=_spans(row),
            source="templates",
            group=row["template"],
            weight=2.0,
        )
        for row in _rows(path, "text", "spans", "template", "split")
        if row["split"] == "train"
    ]


def comments(path: Path, names: Sequence[str], draw: random.Random) -> list[Sentence]:
    """Return GoEmotions' comments of train, each mark replaced by a made-up name or a belief.

    Raises:
        TrainingInvalid: The file cannot be read or lacks a column; says which.
    """
    texts = [row["text"] for row in _rows(path, "text", "split") if row["split"] == "train"]
    return [_filled(text, names, draw) for text in dict.fromkeys(texts)]


def values(sentences: Sequence[Sentence], kind: str) -> list[str]:
    """Return every value of a kind in the sentences, each once, in order."""
    return sorted({s.text[a:b] for s in sentences for a, b, found in s.spans if found == kind})


def _filled(text: str, names: Sequence[str], draw: random.Random) -> Sentence:
    pieces, spans, length, at = list[str](), list[tuple[int, int, str]](), 0, 0
    for mark in MARK.finditer(text):
        kind, chosen = ("NAME", names) if mark[1] == "NAME" else ("NRP", BELIEFS)
        before, value = text[at : mark.start()], draw.choice(chosen)
        spans.append((length + len(before), length + len(before) + len(value), kind))
        pieces += [before, value]
        length, at = length + len(before) + len(value), mark.end()
    whole = "".join([*pieces, text[at:]])
    return Sentence(text=whole, spans=tuple(spans), source="comments", group=text, weight=0.5)


def _spans(row: Mapping[str, str]) -> Spans:
    found = [(a, b, RENAMED.get(kind, kind)) for a, b, kind in json.loads(row["spans"])]
    if unknown := {kind for _, _, kind in found} - {*KINDS, *FOUND_BY_PATTERNS}:
        raise TrainingInvalid(f"unknown kinds {sorted(unknown)}: known are {', '.join(KINDS)}")
    return tuple(found)


def _rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            if missing := set(columns) - set(reader.fieldnames or ()):
                raise TrainingInvalid(f"{path} has no column {', '.join(sorted(missing))}")
            yield from reader
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingInvalid(f"{path} cannot be read: {type(error).__name__}") from error
