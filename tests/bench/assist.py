"""Help to the agent within a turn: `python -m tests.bench.assist [--json]`.

A whole turn through a real node in this process: gates with durable evidence, redaction, the
reading, the hint and the search among a thousand passages, on the real encoder. The same turn
without the help stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx

from client_node.redaction import Redactor
from client_node.service import open_node
from client_node.turn import Turn
from deploy.report import Row, at_most
from policies.vocabulary import Purpose, Use
from tests.bench.inference import TURNS
from tests.bench.printed import print_rows
from tests.client_node.conftest import World

PASSAGES, REPEATS = 1_000, 60
TOPICS = ("refund", "parcel", "invoice", "password", "flight", "seat", "contract", "delivery")


def measure() -> list[Row]:
    """Return the rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name) / "node", redactor=Redactor.load())
        articles = Path(name) / "articles"
        articles.mkdir()
        for number in range(PASSAGES):
            topic = TOPICS[number % len(TOPICS)]
            text = f"# {topic} {number}\n\nWhat to do about a {topic}, case {number}."
            (articles / f"{number}.md").write_text(text, encoding="utf-8")
        world.trust.max_age_s = 10**6
        world.trust.put(world.standing("c", Purpose.SERVICE, Purpose.AGENT_HELP))
        began = time.perf_counter()
        parts = replace(
            world.parts(), encoder=None, transport=httpx.MockTransport(world.trust.handle)
        )
        node = open_node(world.settings(articles_folder=articles), parts)
        started_s = time.perf_counter() - began
        node.releases.load(
            world.publish(world.coordinator_log(), world.release(1, weights=world.angry_weights()))
        )
        subject = world.subject("c")

        def answer(text: str, use: Use | None) -> None:
            turn = Turn(subject=subject, conversation="c1", text=text, use=use)
            assert node.pipeline.answer(turn).reading is not None

        plain, helped = [], []
        for number in range(REPEATS):
            text = TURNS[number % len(TURNS)]
            plain.append(_timed(answer, text, None))
            helped.append(_timed(answer, text, Use.AGENT_HINT))
        node.close()
        world.close()
    plain_ms, helped_ms = (1e3 * statistics.median(times) for times in (plain, helped))
    worst_ms = 1e3 * statistics.quantiles(helped, n=20)[-1]
    return [
        at_most("a turn with help to the agent, p95", round(worst_ms, 1), 150, "ms"),
        Row(name="a turn with help, median", value=round(helped_ms, 1), unit="ms"),
        Row(name="the same turn without, median", value=round(plain_ms, 1), unit="ms"),
        Row(name=f"start with {PASSAGES} passages", value=round(started_s, 1), unit="s"),
    ]


def _timed(answer: object, text: str, use: Use | None) -> float:
    began = time.perf_counter()
    answer(text, use)  # type: ignore[operator]
    return time.perf_counter() - began


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    rows = measure()
    print_rows(rows, as_json=parser.parse_args().json)


if __name__ == "__main__":
    main()
