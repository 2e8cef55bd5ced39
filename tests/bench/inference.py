"""Speed and memory of reading a turn: `python -m tests.bench.inference [--json]`.

Side by side in one run, on one thread each: our 8-bit encoder, a RoBERTa-base in torch (random
weights serve for time) and the same journey with redaction and language. The start is measured
in a fresh process, from its first instruction to its first answer, with the memory it holds then.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from transformers import RobertaConfig, RobertaModel

from client_node.redaction import Redactor
from deploy.report import Row, at_least, at_most, rows_to_json
from models.encoder import Encoder
from policies.redacted import RedactedText

TURNS = (
    "I've been waiting forty minutes and nobody can tell me where my order is.",
    "thanks so much, that fixed it",
    "My flight was cancelled and I need to be there tonight, what are my options please?",
)
REPEATS, SLOW_REPEATS = 60, 15
FIRST_ANSWER = """
import time
started = time.perf_counter()
import client_node.cli
from client_node.service import Parts, load_models
imported = time.perf_counter()
encoder, redactor = load_models(None, Parts())
text = redactor.redact("My name is Ada Byron and I am cross.").text
encoder.encode([text])
answered = time.perf_counter()
rss = next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]
print(imported - started, answered - imported, int(rss) / 1024)
"""


def measure() -> list[Row]:
    """Return the rows of this benchmark."""
    torch.set_num_threads(1)
    encoder, redactor = Encoder.load(), Redactor.load()
    config = RobertaConfig(vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1)
    roberta = RobertaModel(config).eval()
    pieces = {turn: torch.tensor([encoder._tokenizer.encode(turn).ids]) for turn in TURNS}

    def read(turn: str) -> None:
        encoder.encode([RedactedText(text=turn)])

    def journey(turn: str) -> None:
        text = redactor.redact(turn).text
        encoder.encode([text])

    def rival(turn: str) -> None:
        with torch.inference_mode():
            roberta(input_ids=pieces[turn])

    ours, whole, theirs = [], [], []
    for _ in range(3):  # in turns, so that a noisy minute falls on all of them
        ours += _times(read, REPEATS)
        whole += _times(journey, REPEATS)
        theirs += _times(rival, SLOW_REPEATS)
    ours_ms, whole_ms, rival_ms = (statistics.median(t) * 1e3 for t in (ours, whole, theirs))
    imported_s, answered_s, rss = _first_answer()
    return [
        at_most("a turn's features, 8-bit, median", round(ours_ms, 2), 3.5, "ms"),
        Row(name="a turn in RoBERTa-base, torch, median", value=round(rival_ms, 1), unit="ms"),
        at_least("times faster than RoBERTa-base", round(rival_ms / ours_ms, 1), 20),
        at_most("a turn with redaction, median", round(whole_ms, 2), 25, "ms"),
        Row(name="start: imports", value=round(imported_s, 2), unit="s"),
        at_most("start: models loaded and first answer", round(answered_s, 2), 2, "s"),
        at_most("memory after the first answer", round(rss), 600, "MiB"),
    ]


def _times(work: Callable[[str], None], repeats: int) -> list[float]:
    """Return the seconds of each call, after one for each turn that is not counted."""
    for turn in TURNS:
        work(turn)
    found = []
    for number in range(repeats):
        started = time.perf_counter()
        work(TURNS[number % len(TURNS)])
        found.append(time.perf_counter() - started)
    return found


def _first_answer() -> tuple[float, float, float]:
    """Return seconds of importing and of the first answer after it, and MiB held then."""
    runs = []
    for _ in range(3):
        done = subprocess.run(  # noqa: S603 (our own interpreter)
            [sys.executable, "-c", FIRST_ANSWER], check=True, capture_output=True, text=True
        )
        runs.append([float(value) for value in done.stdout.split()])
    imported, answered, rss = (statistics.median(values) for values in zip(*runs, strict=True))
    return imported, answered, rss


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inference")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    rows = measure()
    if parser.parse_args().json:
        print(rows_to_json(rows))
        return
    for row in rows:
        held = {None: "", True: "held", False: "MISSED"}[row.held]
        print(f"{row.name:<45} {row.value!s:>12} {row.unit:<6} {row.aim:<12} {held}")


if __name__ == "__main__":
    main()
