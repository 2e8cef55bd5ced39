"""Speed and memory of the evidence log: `python -m tests.bench.evidence [--json] [--size N]`.

One log is grown to `--size` entries (a million by default) and then asked for proofs and verified
whole, in this process, beside pymerkle where that is installed (it is GPL: never a dependency).
Appending is durable: each group is one transaction with one fsync.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random

import rfc8785

from audit.events import Event, EventKind, Value
from audit.leaf import encode_leaf
from audit.log import Draft, EvidenceLog
from audit.signing import SigningKey
from audit.tree import verify_inclusion
from audit.verify import verify_log
from deploy.report import Row, at_least, at_most
from policies.canonical import canonical
from tests.bench.printed import print_rows

MILLION = 1_000_000
GROUP, LARGE_GROUP = 100, 1000
WORKERS = 2
SECONDS = 3.0
PROOFS = 2000
RIVAL_SIZE = 20_000
KEY = SigningKey.generate("bench")


def decision(number: int) -> Event:
    """Return the event of a decision, as the gate makes it."""
    fields: dict[str, Value] = {
        "decision_id": sha256(number.to_bytes(8)).hexdigest()[:32],  # random, as the gate's are
        "node": "branch-1",
        "action": "infer",
        "purpose": "service",
        "modality": "text",
        "policy_digest": "b" * 64,
        "use": None,
        "allowed": True,
        "rules": ["r1-consent", "r2-adult"],
        "request_digest": f"{number:064x}",
        "standing_digest": "d" * 64,
    }
    return Event(kind=EventKind.DECISION, at=1_700_000_000.25 + number, fields=fields)


def drafts(first: int, count: int) -> list[Draft]:
    """Return a group to append."""
    return [Draft(decision(number)) for number in range(first, first + count)]


def rate(log: EvidenceLog, group: int) -> float:
    """Return durable entries a second in groups, the making of each event included."""
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        log.append_many(drafts(log.size, group))
        count += group
    return count / (time.perf_counter() - started)


def milliseconds(calls: Iterator[Callable[[], object]]) -> list[float]:
    """Return how long each call took, sorted."""
    found = []
    for call in calls:
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1000)
    return sorted(found)


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def writing() -> list[Row]:
    """Return how much faster canonical bytes are than the library that defines them."""
    value = {"leaf": encode_leaf(decision(1), None).decode(), "n": [1.5, 2.0, None], "d": "x" * 64}
    ours = statistics.median(milliseconds(partial(canonical, value) for _ in range(3000)))
    theirs = statistics.median(milliseconds(partial(rfc8785.dumps, value) for _ in range(3000)))
    return [at_least("canonical bytes: times faster than rfc8785", round(theirs / ours, 1), 2)]


def appending(folder: Path) -> list[Row]:
    """Return the rates at which a fresh log becomes durable."""
    with closing(EvidenceLog(folder / "rate.db", KEY, origin="bench", clock=time.time)) as log:
        return [
            at_least("append in groups of 100", round(rate(log, GROUP)), 10_000, "/s"),
            at_least("append in groups of 1000", round(rate(log, LARGE_GROUP)), None, "/s"),
            at_least("append one by one", round(rate(log, 1)), None, "/s"),
        ]


def proving(log: EvidenceLog) -> list[Row]:
    """Return how long proofs take and how long they are."""
    random, size, root = Random(7), log.size, log.root()
    indices = [random.randrange(size) for _ in range(PROOFS)]
    times = milliseconds(partial(log.inclusion, i, size) for i in indices)
    proofs = [log.inclusion(index, size) for index in indices]
    for index, proof in zip(indices[:50], proofs, strict=False):
        verify_inclusion(_leaf(log, index), index, size, proof, root)
    bytes_ = max(sum(map(len, proof)) for proof in proofs)
    olds = [random.randrange(1, size) for _ in range(PROOFS)]
    consistent = milliseconds(partial(log.consistency, old, size) for old in olds)
    at = f"at {size} entries"
    return [
        at_most(f"inclusion proof {at}, median", round(statistics.median(times), 3), 0.5, "ms"),
        at_most(f"inclusion proof {at}, 95th of 100", round(times[-PROOFS // 20], 3), None, "ms"),
        at_most(f"inclusion proof {at}", bytes_, 700, "bytes"),
        at_most(f"consistency proof {at}", round(statistics.median(consistent), 3), None, "ms"),
    ]


def _leaf(log: EvidenceLog, index: int) -> bytes:
    return log.node(0, index)


def verifying(path: Path, size: int) -> list[Row]:
    """Return how long a whole verification takes by each number of processes, and its memory."""
    before, seconds = peak_mib(), []
    for workers in (1, WORKERS):
        started = time.perf_counter()
        verified = verify_log(path, KEY.verify_key, workers=workers)
        seconds.append(time.perf_counter() - started)
        assert verified.size == size
    limit, alone, together = 5.0 * size / MILLION, *seconds
    return [
        at_most(f"replay and verify {size} entries, one process", round(alone, 2), None, "s"),
        at_most(f"replay and verify {size} entries", round(min(seconds), 2), limit, "s"),
        at_least(f"faster by {WORKERS} processes: times", round(alone / together, 2), None),
        at_most("memory that verifying added", round(peak_mib() - before, 1), 16, "MiB"),
    ]


def rival(log: EvidenceLog) -> list[Row]:
    """Return how many times faster our proofs are than pymerkle's, at a size it can bear."""
    if importlib.util.find_spec("pymerkle") is None:
        return [Row(name="pymerkle is not installed", value=None)]
    from pymerkle import InmemoryTree  # noqa: PLC0415

    tree = InmemoryTree(algorithm="sha256")
    for number in range(RIVAL_SIZE):
        tree.append_entry(f"{number:064x}".encode())
    random = Random(7)
    indices = [random.randrange(RIVAL_SIZE) for _ in range(50)]
    theirs = milliseconds(partial(tree.prove_inclusion, i + 1, RIVAL_SIZE) for i in indices)
    ours = milliseconds(partial(log.inclusion, i, RIVAL_SIZE) for i in indices)
    ratio = statistics.median(theirs) / statistics.median(ours)
    name = f"inclusion proof at {RIVAL_SIZE}: times faster than pymerkle in memory"
    return [at_least(name, round(ratio, 1), None)]


def measure(size: int) -> list[Row]:
    """Return the rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = writing() + appending(folder)
        path = folder / "log.db"
        with closing(EvidenceLog(path, KEY, origin="bench", clock=time.time)) as log:
            log.append_many(drafts(0, GROUP))
            grown = peak_mib()
            while log.size < size:
                log.append_many(drafts(log.size, min(LARGE_GROUP, size - log.size)))
            rows.append(
                at_most("memory that growing added", round(peak_mib() - grown, 1), 16, "MiB")
            )
            rows += proving(log) + rival(log)
        return rows + verifying(path, size)


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evidence")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.add_argument("--size", type=int, default=MILLION, help="entries of the large log")
    options = parser.parse_args()
    rows = measure(options.size)
    print_rows(rows, as_json=options.json)


if __name__ == "__main__":
    main()
