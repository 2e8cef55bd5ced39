"""Whom bad input costs: `python -m tests.bench.bad_input --data DIR [--json]`.

How many turns of real customers, and of people talking, are taken for what is no customer's speech
(`client_node.unread`) or are refused by their form. Dev parts only; a turn of which redaction
leaves no word, an address for example, has nothing to read, and is counted apart.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from client_node.errors import TurnEmpty, TurnInvalid
from client_node.redaction import Redactor
from client_node.turn import Turn, receive
from client_node.unread import wordless
from deploy.report import Row, at_most
from models.evaluation_set import read_rows
from policies.redacted import Unread
from policies.vocabulary import SubjectId
from tests.bench.printed import print_rows

MOST = 0.001
SETS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "GoEmotions": ("text/goemotions.csv.gz", {}),
    "airlines": ("text/airline_tweets.csv.gz", {}),
    "MAIA, English": ("text/maia_support.csv.gz", {"role": "customer"}),
    "MELD": ("text/meld.csv.gz", {}),
    "USS": ("text/uss_satisfaction.csv.gz", {"role": "user"}),
    "MultiDoGO": ("pii/multidogo_customer.csv.gz", {}),
}


def texts_of(data: Path, name: str) -> list[str]:
    """Return the texts of a set's dev part."""
    file, wanted = SETS[name]
    rows = read_rows(data / file)
    wanted = {"split": "dev"} | dict(wanted)
    return [row["text"] for row in rows if all(row[k] == v for k, v in wanted.items())]


def outcome(redactor: Redactor, text: str) -> Unread | str | None:
    """Return why the text would not be read: refused by its form, or a class of its own."""
    try:
        receive(Turn(subject=SubjectId("s"), conversation="c", text=text))
    except TurnEmpty:
        return Unread.WORDLESS
    except TurnInvalid:
        return "refused"
    redacted = redactor.redact(text).text
    return Unread.WORDLESS if wordless(redacted.text) else redacted.unread


def outcomes(redactor: Redactor, texts: Sequence[str]) -> Counter[str]:
    """Return how many texts come to each end, those that are read left out."""
    return Counter(str(end) for end in (outcome(redactor, text) for text in texts) if end)


def measure(data: Path) -> list[Row]:
    """Return the rows of this benchmark."""
    redactor, rows = Redactor.load(), list[Row]()
    for name in SETS:
        texts = texts_of(data, name)
        ends = outcomes(redactor, texts)
        without = ends.pop(Unread.WORDLESS, 0)
        told = ", ".join(f"{end} {count}" for end, count in sorted(ends.items())) or "none"
        share = round(ends.total() / len(texts), 5)
        rows.append(at_most(f"{name}: not read, of {len(texts)} ({told})", share, MOST))
        rows.append(Row(name=f"{name}: no word left", value=round(without / len(texts), 5)))
    return rows


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bad_input")
    shared = Path(os.environ.get("UNDERTONE_SHARED", "../shared"))
    parser.add_argument(
        "--data", type=Path, default=shared / "data", help="folder with text/, pii/"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    asked = parser.parse_args()
    print_rows(measure(asked.data), as_json=asked.json)


if __name__ == "__main__":
    main()
