"""How early a conversation is warned of: `python -m tests.bench.conversation --data DIR [--json]`.

Customers' turns of MAIA (support chats, rated 1 to 5 turn by turn) and USS (task dialogues, the
same), read by the shipped head for a service desk. A conversation is bad if its worst rating is 2
or less; caught if a warning stood before its first turn with that rating; any warning in another
conversation is a false alarm. The rival is a plain classifier that sees one turn at a time.

Both get the threshold that 5 % of the train part's other conversations cross; the train part
is also measured by itself, each fifth with the threshold of the other four. Only thresholds and
the curve of risks are fitted here, and neither ships: both sets are for research alone. Texts go
in as they are, without redaction; of MAIA, the English side. Turns before the worst are the
customer's.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.report import Row, at_most
from models.conversation import STANDARD, Course, Moment, RiskCurve, follow
from models.encoder import Encoder
from models.head_fitting import logistic_curve
from models.heads import softmax
from models.label_sets import label_sets
from models.pretrained import public_head
from policies.redacted import RedactedText
from tests.bench.printed import print_rows

BAD = 2.0
FALSE_ALARMS = 0.05
FOLDS = 5
SERVICE = label_sets()["service"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """One conversation: what the customer said, and how each turn was rated, NaN where not."""

    split: str
    texts: tuple[str, ...]
    ratings: tuple[float, ...]

    @property
    def worst(self) -> int | None:
        """The first turn with the worst rating, None where that is not bad."""
        if not np.nanmin(self.ratings) <= BAD:
            return None
        return int(np.nanargmin(self.ratings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A conversation's score after each turn, and where it was worst."""

    scores: Floats
    worst: int | None

    def warned(self, threshold: float) -> int | None:
        """Return the first turn whose score crosses the threshold."""
        crossed = np.flatnonzero(self.scores > threshold)
        return int(crossed[0]) if len(crossed) else None


def read_maia(path: Path) -> list[Rated]:
    """Return the customers' turns of MAIA; a turn is its sentences, rated once."""
    rows = [row for row in _rows(path) if row["role"] == "customer"]
    return _rated(rows, rating=lambda row: float(row["iq"] or 0) if row["iq"] != "-1" else 0.0)


def read_uss(path: Path) -> list[Rated]:
    """Return the users' turns of USS, by the median of their raters."""
    rows = [row for row in _rows(path) if row["role"] == "user"]
    return _rated(rows, rating=lambda row: float(row["median"] or 0))


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _rated(
    rows: Iterable[dict[str, str]], *, rating: Callable[[dict[str, str]], float]
) -> list[Rated]:
    """Gather rows into conversations; a rating of 0 is none."""
    found: dict[str, dict[str, list[dict[str, str]]]] = {}
    for row in rows:
        found.setdefault(row["dialogue"], {}).setdefault(row["turn"], []).append(row)
    made = []
    for turns in found.values():
        ratings = [rating(parts[0]) or float("nan") for parts in turns.values()]
        if not np.isnan(ratings).all():
            texts = tuple(" ".join(part["text"] for part in parts) for parts in turns.values())
            split = next(iter(turns.values()))[0]["split"]
            made.append(Rated(split=split, texts=texts, ratings=tuple(ratings)))
    return made


def readings(conversations: Sequence[Rated], encoder: Encoder) -> list[Floats]:
    """Return for each conversation the probabilities `(turn, label)` of the shipped head."""
    head = public_head(SERVICE.names)
    if head is None:
        raise SystemExit("no shipped head for the service labels")
    weights = head.weights

    def read(conversation: Rated) -> Floats:
        texts = [RedactedText(text=text or "-") for text in conversation.texts]
        return softmax((encoder.encode(texts) @ weights).astype(np.float64))

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(read, conversations))


def by_the_rule(probabilities: Floats) -> Floats:
    """Return the level after each turn, as `models.conversation` has it."""
    strains = -probabilities @ np.array([label.valence for label in SERVICE.labels])
    course, levels = Course(), []
    for number, strain in enumerate(strains):
        course = follow(course, Moment(turn=str(number), strain=float(strain), cue=None), STANDARD)
        levels.append(course.level)
    return np.array(levels)


def by_the_turn(probabilities: Floats) -> Floats:
    """Return what a plain classifier says: how likely each turn, alone, is frustrated."""
    return probabilities[:, SERVICE.names.index("frustration")]


def threshold(scored: Sequence[Scored]) -> float:
    """Return what the stated share of the conversations that were not bad crosses."""
    heights = [one.scores.max() for one in scored if one.worst is None]
    return float(np.quantile(heights, 1 - FALSE_ALARMS, method="higher"))


def caught(scored: Sequence[Scored], cuts: Sequence[float]) -> tuple[list[int], list[bool]]:
    """Return how many turns before its worst each bad one was warned of (0: not), and alarms.

    Bad from the first turn on can be warned of by nobody, and is left out.
    """
    before, alarms = [], []
    for one, cut in zip(scored, cuts, strict=True):
        at = one.warned(cut)
        if one.worst is None:
            alarms.append(at is not None)
        elif one.worst > 0:
            before.append(0 if at is None else max(0, one.worst - at))
    return before, alarms


def crossed(scored: Sequence[Scored]) -> list[float]:
    """Return for each conversation the threshold of the folds that it is not in."""
    folds = np.arange(len(scored)) % FOLDS
    cuts = [threshold([s for s, f in zip(scored, folds, strict=True) if f != k]) for k in range(5)]
    return [cuts[fold] for fold in folds]


def measure_set(name: str, conversations: Sequence[Rated], found: Sequence[Floats]) -> list[Row]:
    """Return the rows of one set."""
    rows: list[Row] = []
    shares: dict[tuple[str, str], float] = {}
    for way, score in (("the rule", by_the_rule), ("a plain turn", by_the_turn)):
        parts = _parts(conversations, [score(one) for one in found])
        train, dev = parts["train"], parts["dev"]
        cuts = {"train": crossed(train), "dev": [threshold(train)] * len(dev)}
        for split, scored in parts.items():
            before, alarms = caught(scored, cuts[split])
            shares[way, split] = float(np.mean(np.array(before) > 0))
            rows += _rows_of(f"{name} {split}, {way}", before, alarms)
    for split in ("train", "dev"):
        ours, theirs = shares["the rule", split], shares["a plain turn", split]
        above = Row(
            name=f"{name} {split}: the rule above a plain turn",
            value=round(ours - theirs, 3),
            aim="> 0",
            held=ours > theirs,
        )
        rows.append(above)
    return rows + _shipped_rows(name, conversations, found) + _risk_rows(name, conversations, found)


def _parts(conversations: Sequence[Rated], scores: Sequence[Floats]) -> dict[str, list[Scored]]:
    parts: dict[str, list[Scored]] = {"train": [], "dev": []}
    for one, found in zip(conversations, scores, strict=True):
        parts[one.split].append(Scored(scores=found, worst=one.worst))
    return parts


def _rows_of(name: str, before: Sequence[int], alarms: Sequence[bool]) -> list[Row]:
    leads = [turns for turns in before if turns]
    early, lead = len(leads) / len(before), float(np.median(leads)) if leads else None
    return [
        Row(name=f"{name}: caught early", value=round(early, 3), unit=f"of {len(before)}"),
        Row(name=f"{name}: turns before the worst, median", value=lead, unit="turns"),
        Row(
            name=f"{name}: false alarms",
            value=round(float(np.mean(alarms)), 3),
            unit=f"of {len(alarms)}",
        ),
    ]


def _shipped_rows(name: str, conversations: Sequence[Rated], found: Sequence[Floats]) -> list[Row]:
    """Return the rows of the rule with its threshold as it ships, which saw neither part."""
    parts = _parts(conversations, [by_the_rule(one) for one in found])
    rows = []
    for split, scored in parts.items():
        before, alarms = caught(scored, [STANDARD.warn_at] * len(scored))
        rows += _rows_of(f"{name} {split}, as shipped", before, alarms)
    return rows


def _risk_rows(name: str, conversations: Sequence[Rated], found: Sequence[Floats]) -> list[Row]:
    """Return how honest a curve of risks is on dev that was fitted on train."""
    levels: dict[str, list[Floats]] = {"train": [], "dev": []}
    follows: dict[str, list[Floats]] = {"train": [], "dev": []}
    for one, probabilities in zip(conversations, found, strict=True):
        ahead = len(one.texts) if one.worst is None else one.worst
        levels[one.split].append(by_the_rule(probabilities)[:ahead])
        follows[one.split].append(np.full(ahead, float(one.worst is not None)))
    truth = np.concatenate(follows["train"])
    slope, shift = logistic_curve(np.concatenate(levels["train"]), truth)
    curve = RiskCurve(slope=slope, shift=shift)
    risks = np.array([curve.risk(level) for level in np.concatenate(levels["dev"])])
    gap = calibration_gap(risks, np.concatenate(follows["dev"]))
    return [at_most(f"{name} dev: risk, expected calibration error", round(gap, 3), 0.05)]


def calibration_gap(risks: Floats, happened: Floats, *, bins: int = 10) -> float:
    """Return the mean distance of risk and share over bins of equal numbers of turns."""
    parts = np.array_split(np.argsort(risks, kind="stable"), bins)
    gaps = [abs(risks[part].sum() - happened[part].sum()) for part in parts]
    return float(sum(gaps) / len(risks))


def measure(data: Path) -> list[Row]:
    """Return the rows of both sets."""
    encoder = Encoder.load()
    rows: list[Row] = []
    for name, conversations in (
        ("MAIA", read_maia(data / "text" / "maia_support.csv.gz")),
        ("USS", read_uss(data / "text" / "uss_satisfaction.csv.gz")),
    ):
        rows += measure_set(name, conversations, readings(conversations, encoder))
    return rows


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.conversation")
    parser.add_argument("--data", required=True, type=Path, help="folder with text/")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    asked = parser.parse_args()
    try:
        rows = measure(asked.data)
    except OSError as error:
        raise SystemExit(f"conversation: {error.filename} cannot be read") from error
    print_rows(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
