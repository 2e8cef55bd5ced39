"""How much personal data redaction removes: `python -m tests.bench.redaction --data … --json`.

Sentences with marked personal data: what MultiDoGO's customers typed (dev), and Presidio's made-up
ones, for which the folder has no dev. Counted as found when every letter and digit of it goes.
Our patterns were written with Presidio's sentences in view and the token classifier was taught
them; `models/base_model/token_classifier.json` says what it finds of templates it never saw.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from client_node.redaction import Redactor
from deploy.report import Row, at_least
from models.personal_sentences import Sentence, customers, templates
from tests.bench.printed import print_rows

AIM = 0.9
CUSTOMERS, TEMPLATES = "pii/multidogo_customer.csv.gz", "pii/presidio_synth.csv.gz"


def recall(redactor: Redactor, sentences: Sequence[Sentence]) -> dict[str, tuple[float, int]]:
    """Return for each kind, and for `all`, the share that was removed whole, and of how many."""
    found, marked = Counter[str](), Counter[str]()
    for sentence in sentences:
        spans = redactor.redact(sentence.text).spans
        gone = {place for span in spans for place in range(span.start, span.end)}
        for start, end, kind in sentence.spans:
            needed = {place for place in range(start, end) if sentence.text[place].isalnum()}
            for name in (kind, "all"):
                marked[name] += 1
                found[name] += needed <= gone
    return {kind: (found[kind] / marked[kind], marked[kind]) for kind in sorted(marked)}


def marked_sentences(data: Path) -> dict[str, list[Sentence]]:
    """Return the sentences with personal data, by the set that they are from."""
    typed, made_up = customers(data / CUSTOMERS, "dev"), templates(data / TEMPLATES)
    return {
        "customers": [sentence for sentence in typed if sentence.spans],
        "templates": [sentence for sentence in made_up if sentence.spans],
    }


def measure(data: Path) -> list[Row]:
    """Return the rows of this benchmark."""
    ours, theirs, rows = Redactor.load(), Redactor.presidio_alone(), list[Row]()
    for name, sentences in marked_sentences(data).items():
        alone = recall(theirs, sentences)
        for kind, (share, marked) in recall(ours, sentences).items():
            rows.append(at_least(f"{name}: {kind}, of {marked}", round(share, 3), AIM))
            other = f"{name}: {kind}, Presidio alone"
            rows.append(Row(name=other, value=round(alone[kind][0], 3), unit=""))
    return rows


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.redaction")
    shared = Path(os.environ.get("UNDERTONE_SHARED", "../shared"))
    parser.add_argument("--data", type=Path, default=shared / "data", help="folder with pii/")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    asked = parser.parse_args()
    print_rows(measure(asked.data), as_json=asked.json)


if __name__ == "__main__":
    main()
