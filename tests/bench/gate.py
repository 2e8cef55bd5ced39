"""Speed of a decision and of the whole gate: `python -m tests.bench.gate [--json]`.

Side by side in one run: the engine and the Rego twin over the same random requests, in turns,
and the whole gate: a person's standing out of the node's verified copy, the decision, and its
entry durable in the log, under 50 concurrent callers. On a machine that does other work too,
compare the two languages and not the milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from audit.gate import Gate
from audit.log import EvidenceLog
from audit.signing import SigningKey, seal
from client_node.standing_cache import KIND, StandingCache
from deploy.report import Row, at_least, at_most, rows_to_json
from policies.engine import PolicyEngine
from policies.standing import Standing, governance_to_dict, standing_to_dict
from policies.vocabulary import SubjectId
from tests.policies.cases import GOVERNANCE, HANDOVER, INFER, NODE, NOW, STANDING, Situation
from tests.policies.random_cases import random_cases
from tests.policies.twin import Twin

CASES, TURNS = 400, 5
CALLERS, USES_EACH, PEOPLE = 50, 60, 500


def measure() -> list[Row]:
    """Return the rows of this benchmark."""
    return [*_decisions(), *_gate()]


def _decisions() -> list[Row]:
    engine, twin = PolicyEngine.load(), Twin()
    known = [
        Situation(request=r, standing=STANDING, governance=GOVERNANCE) for r in (INFER, HANDOVER)
    ]
    fresh = list(random_cases(CASES, seed=1))

    def ours(case: Situation) -> None:
        engine.decide(case.request, case.standing, case.governance, now=NOW)

    def theirs(case: Situation) -> None:
        twin.decide(case.request, case.standing, case.governance, now=NOW)

    again, first, rego = [], [], []
    for _ in range(TURNS):  # in turns, so that a noisy second falls on all of them
        again += _times(ours, known * (CASES // 2))
        first += _times(ours, fresh)
        rego += _times(theirs, fresh[: CASES // 4])
    again_ms, first_ms, rego_ms = (statistics.median(times) * 1e3 for times in (again, first, rego))
    return [
        at_most("a decision on somebody known, p50", round(again_ms, 3), 0.15, "ms"),
        at_most("a decision on somebody known, p99", round(_p99_ms(again), 3), 1.0, "ms"),
        Row(name="a decision on somebody new, p50", value=round(first_ms, 3), unit="ms"),
        Row(name="a decision on somebody new, p99", value=round(_p99_ms(first), 3), unit="ms"),
        Row(name="the same rules in Rego, p50", value=round(rego_ms, 3), unit="ms"),
        Row(name="the same rules in Rego, p99", value=round(_p99_ms(rego), 3), unit="ms"),
        at_least("times faster than Rego, somebody new", round(rego_ms / first_ms, 1), 1),
        Row(name="rules", value=len(engine.rule_ids)),
    ]


def _times(work: Callable[[Situation], None], cases: Sequence[Situation]) -> list[float]:
    """Return the seconds of each call."""
    found = []
    for case in cases:
        started = time.perf_counter()
        work(case)
        found.append(time.perf_counter() - started)
    return found


def _gate() -> list[Row]:
    """Measure all callers from a common start to the last answer, and each use of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        log = EvidenceLog(
            Path(folder) / "log.db", SigningKey.generate("bench"), origin="bench", clock=_now
        )
        cache = _copy(Path(folder) / "standing.db")
        gate = Gate(engine=PolicyEngine.load(), log=log, clock=_now, batch_key=bytes(32))
        start = threading.Barrier(CALLERS + 1)

        def call(caller: int) -> list[float]:
            found = []
            start.wait()
            for number in range(USES_EACH):
                began = time.perf_counter()
                person = SubjectId(f"p-{(caller * USES_EACH + number) % PEOPLE}")
                standing = cache.standing(person)
                gate.open(replace(INFER, subject=person), standing, cache.governance)
                found.append(time.perf_counter() - began)
            return found

        with ThreadPoolExecutor(CALLERS) as callers:
            running = [callers.submit(call, caller) for caller in range(CALLERS)]
            start.wait()
            began = time.perf_counter()
            times = [seconds for done in running for seconds in done.result()]
            whole_s = time.perf_counter() - began
        durable = log.size
        cache.close()
        log.close()
    if durable < len(times):
        raise RuntimeError(f"{len(times)} uses were permitted, and {durable} are in the log")
    return [
        at_least("whole gate, 50 callers", round(len(times) / whole_s), 3_000, "uses/s"),
        Row(
            name="whole gate, a use, p50", value=round(statistics.median(times) * 1e3, 1), unit="ms"
        ),
        at_most("whole gate, a use, p99", round(_p99_ms(times), 1), 25, "ms"),
    ]


def _copy(path: Path) -> StandingCache:
    """Return a node's copy of everybody's standing, from one sealed envelope."""
    key = SigningKey.generate("trust")
    people: list[Standing] = [
        replace(STANDING, subject=SubjectId(f"p-{number}")) for number in range(PEOPLE)
    ]
    body = {
        "node": NODE,
        "after": 0,
        "sequence": PEOPLE,
        "issued_at": NOW,
        "governance": governance_to_dict(GOVERNANCE),
        "standings": [standing_to_dict(person) for person in people],
        "withdrawn": [],
        "challenge": [],
        "more": False,
    }
    cache = StandingCache(path, node=NODE, key=key.verify_key, clock=_now)
    cache.apply(seal(KIND, body, key))
    return cache


def _now() -> float:
    return float(NOW)


def _p99_ms(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100)[98] * 1e3


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate")
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
