"""Speed of a decision and of the whole gate: `python -m tests.bench.gate [--json]`.

Side by side in one run: the engine and the Rego twin over the same random requests, in turns,
and the whole gate: a person's standing out of the node's verified copy, the decision, and its
entry durable in the log, under 50 concurrent callers, once as said, once with the facts sealed
for each person, as a node does, and once under an organisation's rule that names somebody, so that
no answer is another person's too. Every person agreed, and was told, at moments of their own, some
are vulnerable, some agreed to another notice or withdrew something. Time goes on,
every request is another, and a fresh page of the feed vouches for everybody every two seconds. A
decision on somebody known is asked in another second than the one before.
On a machine that does other work too, compare the two languages and not the milliseconds.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from audit.gate import Gate
from audit.keystore import EVIDENCE, Keystore
from audit.log import EvidenceLog
from audit.long_lived import long_lived
from audit.signing import SigningKey, seal
from client_node.standing_cache import KIND, StandingCache
from deploy.report import Row, at_least, at_most
from policies.clock import Clock
from policies.engine import PolicyEngine
from policies.rulebook import RuleBook
from policies.standing import Standing, governance_to_dict, standing_to_dict
from policies.vocabulary import Purpose, SubjectId, Vulnerability
from tests.bench.printed import print_rows
from tests.policies.cases import DAY_S, GOVERNANCE, HANDOVER, INFER, NODE, NOW, STANDING, Situation
from tests.policies.random_cases import random_cases
from tests.policies.twin import Twin

CASES, TURNS = 400, 5
CALLERS, USES_EACH, PEOPLE = 50, 240, 500
FEED_S = 2.0
BY_NAME = '@id("x-one") forbid (principal, action, resource == Person::"somebody");'
_OTHER = sorted(set(Purpose) - {INFER.purpose})
EVERYBODY = [SubjectId(f"p-{number}") for number in range(PEOPLE)]


def measure() -> list[Row]:
    """Return the rows of this benchmark."""
    named = RuleBook.shipped().tightened("named.cedar", BY_NAME)
    return [
        *_decisions(),
        *_gate("whole gate"),
        *_gate("whole gate, facts sealed", sealed=True),
        *_gate("whole gate, a rule by name", aim=False, book=named),
    ]


def _decisions() -> list[Row]:
    engine, fresh_engine, twin = PolicyEngine.load(), PolicyEngine.load(), Twin()
    known = [
        Situation(request=r, standing=STANDING, governance=GOVERNANCE) for r in (INFER, HANDOVER)
    ]
    fresh = list(random_cases(CASES, seed=1))

    seconds = itertools.cycle((NOW, NOW + 1))

    def ours(case: Situation) -> None:
        engine.decide(case.request, case.standing, case.governance, now=next(seconds))

    def ours_at_once(case: Situation) -> None:
        engine.decide(case.request, case.standing, case.governance, now=NOW)

    def ours_anew(case: Situation) -> None:
        fresh_engine.decide(case.request, case.standing, case.governance, now=NOW)

    def theirs(case: Situation) -> None:
        twin.decide(case.request, case.standing, case.governance, now=NOW)

    again, at_once, first, rego = [], [], [], []
    for _ in range(TURNS):  # in turns, so that a noisy second falls on all of them
        again += _times(ours, known * (CASES // 2))
        at_once += _times(ours_at_once, known * (CASES // 2))
        fresh_engine = PolicyEngine.load()  # one that has met nobody yet
        first += _times(ours_anew, fresh)
        rego += _times(theirs, fresh[: CASES // 4])
    again_ms, at_once_ms, first_ms, rego_ms = (
        statistics.median(times) * 1e3 for times in (again, at_once, first, rego)
    )
    return [
        at_most("a decision on somebody known, p50", round(again_ms, 3), 0.15, "ms"),
        at_most("a decision on somebody known, p99", round(_p99_ms(again), 3), 1.0, "ms"),
        Row(name="asked again in one second, p50", value=round(at_once_ms, 3), unit="ms"),
        Row(name="a decision on somebody new, p50", value=round(first_ms, 3), unit="ms"),
        Row(name="a decision on somebody new, p99", value=round(_p99_ms(first), 3), unit="ms"),
        Row(name="the same rules in Rego, p50", value=round(rego_ms, 3), unit="ms"),
        Row(name="the same rules in Rego, p99", value=round(_p99_ms(rego), 3), unit="ms"),
        at_least("times faster than Rego, somebody new", round(rego_ms / first_ms, 1), 1),
        Row(name="rules", value=len(engine.rule_ids)),
    ]


def _times(work: Callable[[Situation], None], cases: Sequence[Situation]) -> list[float]:
    """Return the seconds of each call; each request is a new one."""
    found = []
    for case in cases:
        another = replace(case, request=replace(case.request))
        started = time.perf_counter()
        work(another)
        found.append(time.perf_counter() - started)
    return found


def _gate(
    name: str, *, sealed: bool = False, aim: bool = True, book: RuleBook | None = None
) -> list[Row]:
    """Measure all callers from a common start to the last answer, and each use of theirs."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        clock = _moving()
        keystore = Keystore(Path(folder) / "keys", clock=clock) if sealed else None
        if keystore is not None:
            closing.callback(keystore.close)
            keystore.prepare([(person, EVIDENCE) for person in EVERYBODY])
        key, place = SigningKey.generate("bench"), Path(folder) / "log.db"
        log = EvidenceLog(place, key, origin="bench", clock=clock, keystore=keystore)
        closing.callback(log.close)
        trust = SigningKey.generate("trust")
        cache = StandingCache(
            Path(folder) / "standing.db", node=NODE, key=trust.verify_key, clock=clock
        )
        closing.callback(cache.close)
        cache.apply(_page(trust, clock, _everybody()))
        engine = PolicyEngine.load() if book is None else PolicyEngine(book)
        gate = Gate(engine=engine, log=log, clock=clock, batch_key=bytes(32))
        closing.enter_context(_fed(cache, trust, clock))
        closing.enter_context(long_lived())  # as every service is while it serves
        times, whole_s = _call_all(gate, cache)
        durable = log.size
    if durable < len(times):
        raise RuntimeError(f"{len(times)} uses were permitted, and {durable} are in the log")
    p50, p99 = (round(value, 1) for value in (statistics.median(times) * 1e3, _p99_ms(times)))
    rate = round(len(times) / whole_s)
    return [
        at_least(f"{name}, 50 callers", rate, 3_000 if aim else None, "uses/s"),
        Row(name=f"{name}, a use, p50", value=p50, unit="ms"),
        at_most(f"{name}, a use, p99", p99, 25 if aim else None, "ms"),
    ]


def _call_all(gate: Gate, cache: StandingCache) -> tuple[list[float], float]:
    """Return each use's seconds, and those from the common start to the last answer."""
    start = threading.Barrier(CALLERS + 1)

    def call(caller: int) -> list[float]:
        found = []
        start.wait()
        for number in range(USES_EACH):
            began = time.perf_counter()
            person = EVERYBODY[(caller * USES_EACH + number) % PEOPLE]
            standing = cache.standing(person)
            gate.open(replace(INFER, subject=person), standing, cache.governance)
            found.append(time.perf_counter() - began)
        return found

    with ThreadPoolExecutor(CALLERS) as callers:
        running = [callers.submit(call, caller) for caller in range(CALLERS)]
        start.wait()
        began = time.perf_counter()
        times = [seconds for done in running for seconds in done.result()]
        return times, time.perf_counter() - began


@contextmanager
def _fed(cache: StandingCache, trust: SigningKey, clock: Clock) -> Iterator[None]:
    """Apply a fresh page every two seconds, as a node's keeper does."""
    stop = threading.Event()

    def feed() -> None:
        while not stop.wait(FEED_S):
            cache.apply(_page(trust, clock, ()))

    keeper = threading.Thread(target=feed)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _everybody() -> list[Standing]:
    """Return a crowd of whom each agreed at other moments, and to whom the rules say yes."""
    dice = random.Random(5)
    return [
        replace(
            STANDING,
            subject=person,
            vulnerabilities=frozenset(dice.sample(list(Vulnerability), dice.choice([0, 0, 0, 1]))),
            informed_at=NOW - dice.randrange(1, 300) * DAY_S,
            grants=tuple(
                replace(
                    grant,
                    notice_version=dice.choice([3, 3, 4]),
                    granted_at=NOW - dice.randrange(1, 300 * DAY_S),
                    expires_at=NOW + dice.randrange(DAY_S, 300 * DAY_S),
                )
                for grant in STANDING.grants
            ),
            withdrawn=frozenset(dice.sample(_OTHER, dice.choice([0, 0, 1, 2]))),
        )
        for person in EVERYBODY
    ]


def _page(trust: SigningKey, clock: Clock, people: Sequence[Standing]) -> bytes:
    """Return a sealed page of the feed with these people's standing."""
    body = {
        "node": NODE,
        "after": 0,
        "sequence": PEOPLE,
        "issued_at": int(clock()),
        "governance": governance_to_dict(GOVERNANCE),
        "standings": [standing_to_dict(person) for person in people],
        "withdrawn": [],
        "challenge": [],
        "more": False,
    }
    return seal(KIND, body, trust)


def _moving() -> Clock:
    """Return a clock that goes on from the moment at which the cases are in order."""
    began = time.monotonic()
    return lambda: NOW + time.monotonic() - began


def _p99_ms(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100)[98] * 1e3


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    rows = measure()
    print_rows(rows, as_json=parser.parse_args().json)


if __name__ == "__main__":
    main()
