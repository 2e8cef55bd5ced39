"""Many conversations at one node: `python -m tests.bench.node_load [--json] [--seconds N]`.

With `--minutes 30` it is the soak: the same for half an hour, whose memory must be flat.

A real node on loopback with the real encoder, redactor and durable log; another process plays 200
conversations, each of which says something every `EVERY_S` seconds at a moment of its own, with
help to the agent asked for. A turn that is refused for load is sent again after the seconds that
the node names, and its time counts from the first sending. Optional work that was left out is
counted; consents are sent meanwhile, and each must be answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from client_node.redaction import Redactor
from client_node.service import open_node
from deploy.report import Row, at_most
from models.encoder import Encoder
from policies.vocabulary import Purpose
from tests.bench.inference import TURNS
from tests.bench.printed import print_rows
from tests.client_node.conftest import API_KEY, World
from tests.client_node.test_alerts import served

CONVERSATIONS = 200
EVERY_S = 10.0
SECONDS = 60.0
MEBI = 2**20
FLAT_MIB = 48.0
"""What half an hour may add: caches fill, and nothing grows."""


@dataclass(slots=True)
class Driven:
    """What the playing process saw."""

    times_s: list[float] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"times_s": self.times_s, "said": dict(self.said)}


async def drive(url: str, seconds: float) -> Driven:
    """Play the conversations for so many seconds."""
    driven, until = Driven(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=2 * CONVERSATIONS)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=60.0, limits=limits
    ) as node:
        talks = [_talk(node, number, until, driven) for number in range(CONVERSATIONS)]
        await asyncio.gather(*talks, _consent(node, until, driven))
    return driven


async def _talk(node: httpx.AsyncClient, number: int, until: float, driven: Driven) -> None:
    lot = random.Random(number)
    await asyncio.sleep(lot.uniform(0, EVERY_S))
    while time.monotonic() < until:
        body = {
            "customer": f"c{number}",
            "conversation": f"v{number}",
            "text": lot.choice(TURNS),
            "use": "agent_hint",
        }
        began = time.perf_counter()
        answer = await node.post("/v1/turns", json=body)
        while answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            driven.said["refused for load"] += 1
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            answer = await node.post("/v1/turns", json=body)
        driven.times_s.append(time.perf_counter() - began)
        value = answer.json()
        driven.said["read" if value.get("answer") == "reading" else "lost"] += 1
        driven.said["left out"] += "left_out" in value
        await asyncio.sleep(max(0.0, EVERY_S * lot.uniform(0.5, 1.5)))


async def _consent(node: httpx.AsyncClient, until: float, driven: Driven) -> None:
    """Withdraw for a stranger each second: never counted as load, never refused."""
    while time.monotonic() < until:
        body = {"customer": "somebody-else", "purpose": None}
        answer = await node.post("/v1/withdrawals", json=body)
        driven.said["withdrawn" if answer.is_success else "withdrawal lost"] += 1
        await asyncio.sleep(1.0)


def measure(seconds: float = SECONDS) -> list[Row]:
    """Return the rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name) / "node", redactor=Redactor.load())
        world.trust.max_age_s = 10**6
        for number in range(CONVERSATIONS):
            standing = world.standing(f"c{number}", Purpose.SERVICE, Purpose.AGENT_HELP)
            world.trust.put(standing)
        node = open_node(world.settings(), replace(world.parts(), encoder=Encoder.load()))
        node.releases.load(
            world.publish(world.coordinator_log(), world.release(1, weights=world.angry_weights()))
        )
        with served(node) as url:
            _play(url, min(seconds, 2 * EVERY_S))
            before = _resident_bytes()
            found = _play(url, seconds)
            grown = _resident_bytes() - before
        node.close()
        world.close()
    times_ms, said = [1e3 * s for s in found["times_s"]], Counter(found["said"])
    lost = said["lost"] + said["withdrawal lost"]
    return [
        at_most("a turn at 200 conversations, p95", round(_p95(times_ms), 1), 250, "ms"),
        Row(name="the same, median", value=round(statistics.median(times_ms), 1), unit="ms"),
        Row(name="turns a second", value=round(len(times_ms) / seconds, 1), unit="1/s"),
        Row(name="turns without their optional work", value=said["left out"], unit="turns"),
        Row(name="sent again, refused for load", value=said["refused for load"], unit="times"),
        at_most("turns and withdrawals lost", lost, 0, "requests"),
        at_most("memory grown", round(grown / MEBI, 1), FLAT_MIB, "MiB"),
    ]


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _play(url: str, seconds: float) -> dict[str, Any]:
    """Play in another process, so that its work is not the node's."""
    command = [sys.executable, "-m", "tests.bench.node_load", "--drive", url]
    done = subprocess.run(  # noqa: S603 (this module itself)
        [*command, "--seconds", str(seconds)], check=True, capture_output=True
    )
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def _resident_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(row for row in status.splitlines() if row.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Measure and print; as `--drive` play against a node and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--minutes", type=float, help="in place of --seconds; 30 for the soak")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        print(json.dumps(asyncio.run(drive(options.drive, options.seconds)).to_dict()))
        return
    rows = measure(options.seconds if options.minutes is None else 60.0 * options.minutes)
    print_rows(rows, as_json=options.json)


if __name__ == "__main__":
    main()
