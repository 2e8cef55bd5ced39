"""Rule 13 over 100,000 calls: `python -m tests.bench.routing [--json]`.

The same made-up calls are played blind to emotion and with routing, and compared call by call.
What it wins stands beside what the reserve costs: the same agents in one common queue. Two plays
that break the rule show that the comparison sees it.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence

from client_node.uses.queue_simulation import Call, Policy, later_starts, made_calls, play
from client_node.uses.routing import Agent
from deploy.report import Row, at_most
from tests.bench.printed import print_rows

CALLS, ORDINARY = 100_000, 20
SKILLS = ("bills", "parcels")
RESERVED = (
    Agent(agent="r1", skills=frozenset(SKILLS), reserved=True),
    Agent(agent="r2", skills=frozenset({"parcels"}), reserved=True),
)


def measure() -> list[Row]:
    """Return the rows of this benchmark."""
    calls = made_calls(
        CALLS, per_hour=228.0, handling_s=300.0, cue_share=0.08, skills=SKILLS, seed=13
    )
    blind, routed, jump = (
        play(calls, ordinary=ORDINARY, reserved=RESERVED, policy=policy)
        for policy in (Policy.BLIND, Policy.ROUTED, Policy.JUMP)
    )
    pooled = play(calls, ordinary=ORDINARY + len(RESERVED), reserved=(), policy=Policy.BLIND)
    machine = made_calls(
        CALLS,
        per_hour=228.0 / 0.98,
        handling_s=300.0,
        cue_share=0.08,
        skills=SKILLS,
        machine_share=0.02,
        seed=13,
    )
    alone, taken = (
        play(machine, ordinary=ORDINARY, reserved=RESERVED, policy=policy)
        for policy in (Policy.ROUTED, Policy.FROM_MACHINE)
    )
    return [
        at_most("calls that start later than blind", later_starts(calls, blind, routed), 0),
        _wait("mean wait of calls with a cue, blind", calls, blind, cue=True),
        _wait("mean wait of calls with a cue, routed", calls, routed, cue=True),
        _wait("mean wait of the others, blind", calls, blind, cue=False),
        _wait("mean wait of the others, routed", calls, routed, cue=False),
        _wait("the others, all agents in one queue", calls, pooled, cue=False),
        Row(name="later if cues jumped the queue", value=later_starts(calls, blind, jump)),
        Row(
            name="later if a machine's calls take idle agents",
            value=later_starts(machine, alone, taken),
        ),
    ]


def _wait(name: str, calls: Sequence[Call], starts: Sequence[float], *, cue: bool) -> Row:
    waits = [
        start - call.at_s
        for call, start in zip(calls, starts, strict=True)
        if call.cue == cue and math.isfinite(start)
    ]
    return Row(name=name, value=round(statistics.fmean(waits), 1), unit="s")


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    rows = measure()
    print_rows(rows, as_json=parser.parse_args().json)


if __name__ == "__main__":
    main()
