"""The turns a demo replays: from the built-in sample or from a table of yours.

Consent, age and notice of a table's people are played by the demo and said to be made up.
A table is CSV or gzipped CSV with a header, UTF-8. Its split column says `train`, or one of
HELD_OUT (the first of them that the table uses is scored on; rows with another word are left
out). Where there is no such column, one customer in five is kept apart by a hash of their id.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from deploy.errors import Misuse
from deploy.sample import SampleTurn, load_sample
from policies.vocabulary import AgeBand, Emotion, Purpose, Vulnerability

MOST_BRANCHES = 12
LONGEST_TEXT_BYTES = 16 * 1024
LONGEST_FIELD = 16 * 2**20
"""The csv module stops at 128 KiB by itself; a longer text deserves its own complaint."""
HELD_OUT = ("dev", "validation", "valid", "val", "test")
_DEV_SHARE = 0.2

FAMILIES: dict[str, Emotion] = {
    "frustration": Emotion.ANGER,
    "anger": Emotion.ANGER,
    "annoyance": Emotion.ANGER,
    "negative": Emotion.ANGER,
    "anxiety": Emotion.FEAR,
    "fear": Emotion.FEAR,
    "disappointment": Emotion.SADNESS,
    "sadness": Emotion.SADNESS,
    "distress": Emotion.DISTRESS,
    "guilt": Emotion.SADNESS,
    "shame": Emotion.SADNESS,
    "disgust": Emotion.DISGUST,
    "confusion": Emotion.CONFUSION,
    "surprise": Emotion.SURPRISE,
    "joy": Emotion.JOY,
    "happiness": Emotion.JOY,
    "satisfaction": Emotion.JOY,
    "enthusiasm": Emotion.JOY,
    "empathy": Emotion.JOY,
    "positive": Emotion.JOY,
    "neutral": Emotion.NEUTRAL,
}
"""Well-known label words and their regulated family; `--families` adds others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of one customer to one branch. `marks` are (start, end, kind) to redact."""

    branch: str
    customer: str
    conversation: str
    text: str
    label: str
    dev: bool
    purposes: frozenset[Purpose]
    age: AgeBand = AgeBand.ADULT
    vulnerabilities: frozenset[Vulnerability] = frozenset()
    marks: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of the table mean what.

    `split` None means the column `split` where there is one, else people kept apart by hash.
    """

    text: str
    label: str
    tenant: str
    subject: str
    split: str | None


def sample_turns() -> tuple[Turn, ...]:
    """Return the built-in sample."""
    return tuple(_from_sample(turn) for turn in load_sample())


def _from_sample(turn: SampleTurn) -> Turn:
    return Turn(
        branch=turn.branch,
        customer=turn.customer,
        conversation=turn.conversation,
        text=turn.text,
        label=turn.label.value,
        dev=turn.split == "dev",
        purposes=_played(turn.consent),
        age=turn.age,
        vulnerabilities=turn.vulnerabilities,
        marks=turn.marks,
    )


def read_table(path: Path, columns: Columns, *, consent: float) -> tuple[Turn, ...]:
    """Return the turns of a table; a share `consent` of its people agreed to both purposes.

    Raises:
        Misuse: The file, a column, a text or the encoding is not usable; says where and why.
    """
    try:
        with _open(path) as lines:
            csv.field_size_limit(LONGEST_FIELD)
            reader = csv.DictReader(lines)
            columns = _usual_split(columns, reader.fieldnames or [])
            rows = _rows(reader, columns, path)
    except FileNotFoundError as error:
        raise Misuse(f"no such file: {path}: give DATA= the path of a CSV or CSV.GZ") from error
    except UnicodeDecodeError as error:
        raise Misuse(f"{path.name} is not UTF-8 (byte {error.start}): convert it first") from error
    except (OSError, EOFError, csv.Error) as error:
        raise Misuse(f"{path.name} cannot be read: {type(error).__name__}") from error
    held_out = _held_out_word(rows, columns)
    turns = tuple(
        _turn(row, columns, held_out, consent, f"{path.name}, record {number}")
        for number, row in rows
        if columns.split is None or row[columns.split] in {"train", held_out}
    )
    _check_whole(turns, path)
    return turns


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(
    reader: csv.DictReader[str], columns: Columns, path: Path
) -> list[tuple[int, dict[str, str]]]:
    present = reader.fieldnames or []
    wanted = [columns.text, columns.label, columns.tenant, columns.subject]
    wanted += [columns.split] if columns.split else []
    if missing := [name for name in wanted if name not in present]:
        raise Misuse(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(present)}: "
            "name yours with TEXT=, LABEL=, TENANT=, SUBJECT=, SPLIT="
        )
    return list(enumerate(reader, start=2))


def _usual_split(columns: Columns, present: Sequence[str]) -> Columns:
    """Take the column `split` where none was named and the table has one."""
    usual = columns.split is None and "split" in present
    return replace(columns, split="split") if usual else columns


def _held_out_word(rows: list[tuple[int, dict[str, str]]], columns: Columns) -> str:
    words = {row[columns.split] for _, row in rows} if columns.split else set()
    return next((word for word in HELD_OUT if word in words), HELD_OUT[0])


def _turn(row: dict[str, str], columns: Columns, held_out: str, consent: float, where: str) -> Turn:
    text, label = row[columns.text] or "", row[columns.label] or ""
    branch, customer = row[columns.tenant] or "", row[columns.subject] or ""
    if not text.strip():
        raise Misuse(f"{where}: the text is empty: leave the row out")
    if len(text.encode()) > LONGEST_TEXT_BYTES:
        raise Misuse(f"{where}: the text is longer than {LONGEST_TEXT_BYTES} bytes: split it")
    if not (label and branch and customer):
        raise Misuse(f"{where}: label, tenant or subject is empty: leave the row out")
    share = _share(branch, customer)
    both = _played(frozenset({Purpose.SERVICE, Purpose.TRAINING}))
    return Turn(
        branch=branch,
        customer=customer,
        conversation=customer,
        text=text,
        label=label,
        dev=row[columns.split] == held_out if columns.split else share < _DEV_SHARE,
        purposes=both if _share("consent", customer) < consent else frozenset(),
    )


def _played(purposes: frozenset[Purpose]) -> frozenset[Purpose]:
    """Return the consent that is played: who agrees to service agrees to a hand-over too."""
    return purposes | ({Purpose.HANDOVER} if Purpose.SERVICE in purposes else frozenset())


def _share(*parts: str) -> float:
    """Return a number in [0, 1) that is the same for the same person on every run."""
    hashed = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64


def _check_whole(turns: tuple[Turn, ...], path: Path) -> None:
    branches = Counter(turn.branch for turn in turns if not turn.dev)
    if len(branches) < 2:  # noqa: PLR2004 (a federation of one is none)
        raise Misuse(f"{path.name} has {len(branches)} tenants to train on: two at least")
    if len(branches) > MOST_BRANCHES:
        raise Misuse(
            f"{path.name} has {len(branches)} tenants, each a node of its own: this machine's "
            f"demo runs at most {MOST_BRANCHES}; choose another TENANT="
        )
    if not any(turn.dev for turn in turns):
        raise Misuse(f"{path.name} has no row to score on ({', '.join(HELD_OUT)}): see SPLIT=")


def families_of(turns: tuple[Turn, ...], given: str) -> tuple[tuple[str, Emotion], ...]:
    """Return each label with its family, sorted; `given` is `label=family,label=family`.

    Raises:
        Misuse: A label is in neither, or a family does not exist.
    """
    families = dict(FAMILIES)
    for pair in filter(None, given.split(",")):
        label, _, family = pair.partition("=")
        try:
            families[label] = Emotion(family)
        except ValueError as error:
            known = ", ".join(Emotion)
            raise Misuse(f"no such family: {family!r}; there are {known}") from error
    labels = sorted({turn.label for turn in turns})
    if unknown := [label for label in labels if label not in families]:
        raise Misuse(
            f"no regulated family is known for the label {', '.join(unknown)}: "
            f"say it with FAMILIES='{unknown[0]}=anger'"
        )
    return tuple((label, families[label]) for label in labels)
