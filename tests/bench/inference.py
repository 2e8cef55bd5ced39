"""Speed and memory of reading a turn: `python -m tests.bench.inference [--json]`.

Side by side in one run, on one thread each: our 8-bit encoder, a RoBERTa-base in torch (random
weights serve for time) and the same journey with redaction and language. The start is that of
fresh processes, up to their first answer, with the memory they hold then: of a node that has its
graphs from an earlier start, and of one that makes them. Starts are told with the processor's
seconds beside the clock's: on a busy machine the clock says how busy it was.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import torch
from transformers import RobertaConfig, RobertaModel

from client_node.redaction import Redactor
from deploy.report import Row, at_least, at_most
from models.encoder import Encoder
from policies.redacted import RedactedText
from tests.bench.printed import print_rows

TURNS = (
    "I've been waiting forty minutes and nobody can tell me where my order is.",
    "thanks so much, that fixed it",
    "My flight was cancelled and I need to be there tonight, what are my options please?",
)
REPEATS, SLOW_REPEATS = 60, 15
FIRST_ANSWER = """
import gc, sys, time
from pathlib import Path
from client_node.start import ALLOCATIONS
gc.set_threshold(ALLOCATIONS)
import client_node.cli
from client_node.loading import begin_loading
loading = begin_loading(graphs=Path(sys.argv[1]))
import client_node.serving
from client_node.parts import Parts, load_models
gc.freeze()
imported = time.perf_counter()
encoder, redactor = load_models(None, Parts(loading=loading))
text = redactor.redact("My name is Ada Byron and I am cross.").text
encoder.encode([text])
answered = time.perf_counter()
rss = next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]
print(answered - imported, time.process_time(), int(rss) / 1024, flush=True)
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
    first, again = _starts()
    return [
        at_most("a turn's features, 8-bit, median", round(ours_ms, 2), 3.5, "ms"),
        Row(name="a turn in RoBERTa-base, torch, median", value=round(rival_ms, 1), unit="ms"),
        at_least("times faster than RoBERTa-base", round(rival_ms / ours_ms, 1), 20),
        at_most("a turn with redaction, median", round(whole_ms, 2), 25, "ms"),
        at_most("start: after the imports to the first answer", round(again.loaded_s, 2), 2, "s"),
        at_most("start: from nothing to the first answer", round(again.whole_s, 2), 2, "s"),
        Row(name="start: the same, of the processor", value=round(again.processor_s, 2), unit="s"),
        Row(name="first start, graphs to make", value=round(first.whole_s, 2), unit="s"),
        at_most("memory after the first answer", round(again.held_mib), 600, "MiB"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds to the first answer, after the imports and from nothing, and MiB held then."""

    loaded_s: float
    whole_s: float
    processor_s: float
    held_mib: float


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


def _starts() -> tuple[Start, Start]:
    """Return a start that makes its graphs, and the middle one of three that have them."""
    with TemporaryDirectory() as folder:
        first, *others = [_start(folder) for _ in range(4)]
    return first, sorted(others, key=lambda start: start.whole_s)[1]


def _start(graphs: str) -> Start:
    """Start a process and wait for its first answer; its end is not waited for."""
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", FIRST_ANSWER, graphs], stdout=subprocess.PIPE, text=True
    ) as process:
        told = process.stdout.readline() if process.stdout else ""
        whole = time.perf_counter() - started
    if process.returncode or not told:
        raise SystemExit("inference: a start did not come to its first answer")
    loaded, processor, held = map(float, told.split())
    return Start(loaded_s=loaded, whole_s=whole, processor_s=processor, held_mib=held)


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inference")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    rows = measure()
    print_rows(rows, as_json=parser.parse_args().json)


if __name__ == "__main__":
    main()
