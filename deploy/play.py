"""Play conversations of the built-in sample against a node that runs: `python -m deploy.play`.

The sample's people are made up, and so is what they agreed to. Conversations of the three
branches go on side by side, a turn of each in turn, as a desk would see them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from client_node.client import NodeClient, TurnReply
from deploy.branch import consent, made_up
from deploy.turns import Turn, sample_turns
from policies.errors import UndertoneError
from policies.vocabulary import Purpose

SIDE_BY_SIDE = 6
HELPS = frozenset({Purpose.AGENT_HELP})


@dataclass(slots=True, kw_only=True)
class Played:
    """What the node said, in numbers."""

    conversations: int = 0
    turns: int = 0
    read: int = 0
    refused: int = 0
    alerts: int = 0
    hints: int = 0

    def hear(self, reply: TurnReply) -> None:
        """Count one answer."""
        self.turns += 1
        self.read += reply["answer"] == "reading"
        self.refused += reply["answer"] == "refused"
        self.alerts += reply.get("alert", {}).get("answer") == "done"
        self.hints += bool(reply.get("use", {}).get("hints"))


def chosen(turns: Iterable[Turn], number: int) -> list[list[Turn]]:
    """Return so many conversations, one branch after the other in turn."""
    by_branch: dict[str, dict[str, list[Turn]]] = defaultdict(lambda: defaultdict(list))
    for turn in turns:
        by_branch[turn.branch][turn.conversation].append(turn)
    lines = [list(found.values()) for found in by_branch.values()]
    longest = max(map(len, lines))
    mixed = [line[at] for at in range(longest) for line in lines if at < len(line)]
    return mixed[:number]


def play(
    node: NodeClient,
    conversations: Sequence[Sequence[Turn]],
    *,
    pause: Callable[[], None] = lambda: None,
) -> Played:
    """Send every turn, some conversations side by side; return what the node said."""
    played = Played(conversations=len(conversations))
    for start in range(0, len(conversations), SIDE_BY_SIDE):
        group = conversations[start : start + SIDE_BY_SIDE]
        for at in range(max(map(len, group))):
            for conversation in group:
                if at < len(conversation):
                    turn = conversation[at]
                    said = (turn.customer, turn.conversation, turn.text)
                    step = "opening" if at == 0 else "clarifying"
                    played.hear(node.turn(*said, use="agent_hint", step=step))
                    pause()
    return played


def consents(conversations: Sequence[Sequence[Turn]], text_digest: str) -> list[dict[str, Any]]:
    """Return what these made-up people agree to, once each, to a notice of this digest."""
    people = {turns[0].customer: turns[0] for turns in conversations}
    return [
        made_up(text_digest) | consent(turn, agreed(turn))
        for turn in people.values()
        if agreed(turn)
    ]


def agreed(turn: Turn) -> frozenset[Purpose]:
    """Return the purposes that a made-up person agrees to; help to the agent with service."""
    return turn.purposes | HELPS if Purpose.SERVICE in turn.purposes else turn.purposes


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the sample's consents, then play its conversations; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.play", description=__doc__)
    parser.add_argument("--node", required=True, help="the node's address")
    parser.add_argument("--key-file", required=True, type=Path, help="an integration's key")
    parser.add_argument("--conversations", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between turns")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds for consents to arrive")
    options = parser.parse_args(arguments)
    try:
        key = options.key_file.read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {key}"}
        wanted = chosen(sample_turns(), options.conversations)
        with httpx.Client(base_url=options.node, headers=headers, timeout=60.0) as http:
            client = NodeClient(http=http)
            client.consent(consents(wanted, client.notice(1)["digests"]["en"]))
            time.sleep(options.settle)
            print(f"panel: {options.node}{client.panel('player')}", file=sys.stderr)
            played = play(client, wanted, pause=lambda: time.sleep(options.pause))
    except (OSError, ValueError, UndertoneError) as error:
        print(f"play: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(played)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
