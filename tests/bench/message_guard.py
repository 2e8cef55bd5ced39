"""What the message guard blocks: `python -m tests.bench.message_guard --data … --json`.

Recall on texts of shops, by category, and false alarms on what honest agents write. Neither set
taught the guard. Each is cut in two by a hash (of the page, of the text): choices were made with
the tuning half in view, and the figures here are of the other. dark_patterns comes without a dev
split, so that half stands in for it. Lexicon alone and head alone stand beside both.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from deploy.report import Row, at_least, at_most
from models.errors import TrainingInvalid
from models.message_guard import MessageGuard
from models.train_message_guard import is_tuning, service_messages
from policies.messages import FoundBy
from tests.bench.printed import print_rows

RECALL, FALSE_ALARMS = 0.85, 0.01
SHOPS, SERVICE = "manipulation/dark_patterns.csv.gz", "manipulation/service_messages.csv.gz"
PARTS: dict[str, Callable[[frozenset[FoundBy]], bool]] = {
    "both": bool,
    "lexicon alone": lambda found: FoundBy.LEXICON in found,
    "head alone": lambda found: FoundBy.HEAD in found,
}

Found = list[frozenset[FoundBy]]


def shops(path: Path, *, tuning: bool) -> dict[str, list[str]]:
    """Return the texts of one half of the pages by category; `all` manipulative, `none` not."""
    texts = defaultdict[str, list[str]](list)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if is_tuning(row["page"]) is tuning:
                names = [row["category"], "all"] if row["label"] == "dark_pattern" else ["none"]
                for name in names:
                    texts[name].append(row["text"])
    return dict(texts)


def found_by(guard: MessageGuard, texts: Sequence[str]) -> Found:
    """Return which parts of the guard found something in each text."""
    return [frozenset(f.found_by for f in guard.read(text).findings) for text in texts]


def share(found: Found, part: str) -> float:
    """Return the share of the texts that a part of the guard blocks."""
    return round(sum(map(PARTS[part], found)) / len(found), 4)


def recall_rows(guard: MessageGuard, texts: dict[str, list[str]]) -> list[Row]:
    """Return recall by category, and how many harmless texts of shops are blocked."""
    rows = list[Row]()
    for category, some in sorted(texts.items()):
        found = found_by(guard, some)
        name = f"recall {category}, of {len(some)}"
        if category == "none":
            name = f"harmless texts of shops blocked, of {len(some)}"
        for part in PARTS:
            aim = RECALL if (category, part) == ("all", "both") else None
            rows.append(at_least(f"{name}, {part}", share(found, part), aim))
    return rows


def alarm_rows(guard: MessageGuard, texts: list[str]) -> list[Row]:
    """Return the share of honest messages that is blocked."""
    found = found_by(guard, texts)
    return [
        at_most(
            f"false alarms, of {len(texts)}, {part}",
            share(found, part),
            FALSE_ALARMS if part == "both" else None,
        )
        for part in PARTS
    ]


def time_rows(guard: MessageGuard, texts: Sequence[str]) -> list[Row]:
    """Return milliseconds a message, whole and without the head."""
    rows = list[Row]()
    for part, made in (("both", guard), ("without head", replace(guard, head=None))):
        times = []
        for text in texts:
            start = time.perf_counter()
            made.read(text)
            times.append(1000 * (time.perf_counter() - start))
        times.sort()
        for name, place in (("p50", 0.5), ("p99", 0.99)):
            value = round(times[int(place * (len(times) - 1))], 2)
            rows.append(Row(name=f"time a message, {part}, {name}", value=value, unit="ms"))
    return rows


def measure(data: Path) -> list[Row]:
    """Return the rows of this benchmark."""
    guard = MessageGuard.load()
    honest = [text for text in service_messages(data / SERVICE) if not is_tuning(text)]
    return [
        *recall_rows(guard, shops(data / SHOPS, tuning=False)),
        *alarm_rows(guard, honest),
        *time_rows(guard, honest[:500]),
    ]


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.message_guard")
    shared = Path(os.environ.get("UNDERTONE_SHARED", "../shared"))
    parser.add_argument("--data", type=Path, default=shared / "data", help="has manipulation/")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    asked = parser.parse_args()
    try:
        rows = measure(asked.data)
    except TrainingInvalid as error:
        raise SystemExit(str(error)) from error
    print_rows(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
