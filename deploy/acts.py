"""What the demo does, act by act; `deploy.telling` prints what came of it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sysconfig
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from audit.signing import SigningKey
from deploy import harness, telling
from deploy.branch import BranchClient
from deploy.errors import PartFailed
from deploy.machine import Machine
from deploy.report import Row
from deploy.story import Fed, FedTurn, Learned, Released, Story, Withdrawn
from deploy.turns import Turn
from models.update import weights_from_dict
from policies.vocabulary import NEGATIVE, Emotion, Purpose, Use

WAIT_S = 120.0
ABSTAIN_BELOW = 0.4
SHOWN_AGAIN = 4
MOST_TRIED = 60
SHORTEST_NEEDLE, MOST_NEEDLES = 8, 60
AT_ONCE = 3
"""Requests that a branch has open at a time."""


def publish_first_release(story: Story, machine: Machine) -> None:
    """Publish release 0, the shipped head where one fits, and wait until every node runs it."""
    published = machine.coordinator.publish_release(
        approved_by="demo", plan_digest=story.preview.digest
    )
    _wait_for_release(machine, published["release"])


def feed(story: Story, machine: Machine) -> Fed:
    """Record consents, send every held-in turn through its node, and rate the readings."""
    started = time.monotonic()
    held_in = [turn for turn in story.turns if not turn.dev]
    people = {(turn.branch, turn.customer): turn for turn in held_in if turn.purposes}
    tokens = _consents(machine, people)
    _wait_for_standing(machine, Counter(branch for branch, _ in people))
    answers = _each(machine, held_in, lambda node, turn: node.turn(turn))
    fed = [FedTurn(turn=t, answer=a) for t, a in zip(held_in, answers, strict=True)]
    taught = [f for f in fed if Purpose.TRAINING in f.answer["sealed_for"]]
    rate = {id(f.turn): f.answer["turn"] for f in taught}
    _each(
        machine,
        [f.turn for f in taught],
        lambda node, turn: node.label(rate[id(turn)], turn.label),
    )
    return Fed(
        turns=tuple(fed),
        tokens=tokens,
        labelled=len(taught),
        seconds=time.monotonic() - started,
    )


def learn(story: Story, machine: Machine, fed: Fed, measured: harness.Measured) -> Learned:
    """Hold the run; once half of its rounds are over, one customer withdraws."""
    run = machine.coordinator.start_run(story.preview.digest, approved_by="demo")["run"]
    learned = Learned(run=run)
    for seen in machine.coordinator.watch(run, every_s=0.2):
        machine.processes.check()
        for closed in seen["rounds"][len(learned.seconds) :]:
            learned.seconds.append(closed["seconds"])
            learned.spent = {name: _spent(node) for name, node in machine.branches.items()}
            if closed["weights_digest"] is not None:
                weights = machine.coordinator.weights(run, closed["round"])
                learned.macro_f1 = harness.score(weights, story.turns, measured)
            telling.round_line(story, closed, learned)
            if learned.withdrawn is None and 2 * closed["round"] >= story.options.rounds:
                learned.withdrawn = withdraw(story, machine, fed)
    if seen["state"] != "completed":
        raise PartFailed(f"the run ended as {seen['state']}: {seen['detail']}")
    _prove_absence(machine, learned)
    story.rows.append(telling.withdrawal_row(learned.withdrawn))
    return learned


def withdraw(story: Story, machine: Machine, fed: Fed) -> Withdrawn:
    """Let one customer withdraw everything by their own token; see how soon the gate closes."""
    someone = next(
        f.turn
        for f in fed.turns
        if {Purpose.SERVICE, Purpose.TRAINING} <= set(f.answer["sealed_for"])
    )
    node = machine.branches[someone.branch]
    before = node.status()["keys_destroyed"]
    token = fed.tokens[someone.branch, someone.customer]
    answer = machine.trust.post("/v1/withdrawals", json={"manage_token": token, "purpose": None})
    started = time.monotonic()
    if answer.is_error:
        raise PartFailed(f"the withdrawal was not taken: {answer.status_code}")
    gone = Withdrawn(turn=someone)
    while time.monotonic() - started < 2 * telling.HEARD_S:
        with suppress(PartFailed):  # a turn that was on its way when the keys went: 409
            if gone.heard_s is None and node.turn(someone)["answer"] == "refused":
                gone.heard_s = time.monotonic() - started
        gone.keys_destroyed = node.status()["keys_destroyed"] - before
        if gone.heard_s is not None and gone.keys_destroyed:
            break
        time.sleep(0.05)
    telling.withdrawal(story, gone)
    return gone


def release(
    story: Story, machine: Machine, learned: Learned, fed: Fed, measured: harness.Measured
) -> Released:
    """Publish the run's candidate by hand; answer a few turns again with the new release."""
    published = machine.coordinator.publish_release(
        approved_by="demo", run=learned.run, abstain_below=ABSTAIN_BELOW
    )
    _wait_for_release(machine, published["release"])
    story.rows.append(Row(name="release loaded by every node", value=True, held=True, safety=True))
    body = machine.coordinator.release(published["release"])["body"]
    weights = weights_from_dict(body["weights"])
    learned.macro_f1 = harness.score(weights, story.turns, measured)
    gone = learned.withdrawn.turn.customer if learned.withdrawn else ""
    again = _turns_to_show(fed, without=gone)
    answered = tuple(_ask_again(machine, again))
    telling.release(story, published, answered[:SHOWN_AGAIN])
    return Released(release=published["release"], answered=answered)


def use(story: Story, machine: Machine, released: Released) -> None:
    """Ask for an upsell on a negative reading, and for a hand-over to someone idle."""
    negative = next((f for f in released.answered if _emotion(f) in NEGATIVE), None)
    if negative is None:
        telling.no_negative(story)
    else:
        node = machine.branches[negative.turn.branch]
        refused = node.use(Use.UPSELL, negative.answer["turn"])
        telling.refused_use(story, negative, refused)
    read = negative or next((f for f in released.answered if _emotion(f)), None)
    if read is not None:
        queue = {"idle_agents": 1, "reserved_agents": 0, "waiting": []}
        node = machine.branches[read.turn.branch]
        telling.allowed_use(story, node.use(Use.HANDOVER, read.answer["turn"], queue=queue))


def verify(story: Story, machine: Machine) -> None:
    """Copy the three kinds of log and verify each with the offline auditor's command."""
    ids = machine.identities
    logs: dict[str, tuple[Path, SigningKey]] = {
        "trust": (ids.folder / "trust" / "log.db", ids.trust),
        "coordinator": (ids.folder / "coordinator" / "log.db", ids.coordinator),
        **{node.node: (node.folder / "state" / "log.db", node.key) for node in ids.nodes},
    }

    def check(name: str) -> int | None:
        path, key = logs[name]
        return _verify_copy(_copy_log(path, ids.folder / "offline" / name), str(key.verify_key))

    with ThreadPoolExecutor(max_workers=2) as pool:
        telling.verified(story, dict(zip(logs, pool.map(check, logs), strict=True)))


def search_disk(story: Story, machine: Machine) -> None:
    """Look for the customers' own words in every file that the federation wrote."""
    names = {turn.text[start:end] for turn in story.turns for start, end, _ in turn.marks}
    texts = {turn.text for turn in story.turns}
    needles = [
        word.encode()
        for words in (names, texts)
        for word in _some([w for w in sorted(words) if len(w) >= SHORTEST_NEEDLE])
    ]
    folder = machine.identities.folder
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    found = sum(any(needle in content for needle in needles) for content in files)
    telling.searched(story, len(needles), len(files), found)


def _some(words: Sequence[str]) -> Sequence[str]:
    """Return every so many of the words, so that the search takes seconds and not minutes."""
    return words[:: max(1, len(words) // MOST_NEEDLES)]


def _consents(
    machine: Machine, people: Mapping[tuple[str, str], Turn]
) -> dict[tuple[str, str], str]:
    """Record everybody's consent at their branch; return each one's manage token."""

    def at_branch(name: str) -> dict[tuple[str, str], str]:
        own = {key: turn for key, turn in people.items() if key[0] == name}
        receipts = machine.branches[name].consent(list(own.values()))
        return {key: r["manage_token"] for key, r in zip(own, receipts, strict=True)}

    with ThreadPoolExecutor(max_workers=len(machine.branches)) as pool:
        return dict(pair for part in pool.map(at_branch, machine.branches) for pair in part.items())


def _each(
    machine: Machine,
    turns: Iterable[Turn],
    ask: Callable[[BranchClient, Turn], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Ask every turn's node, all branches side by side; answers in the turns' order."""
    queued = list(turns)
    answers: dict[int, dict[str, Any]] = {}
    lines: dict[str, list[int]] = {}
    for number, turn in enumerate(queued):
        lines.setdefault(turn.branch, []).append(number)

    def answer(number: int) -> None:
        turn = queued[number]
        answers[number] = ask(machine.branches[turn.branch], turn)

    fair = (n for group in zip_longest(*lines.values()) for n in group if n is not None)
    with ThreadPoolExecutor(max_workers=AT_ONCE * len(machine.branches)) as pool:
        deque(pool.map(answer, fair), maxlen=0)  # raises what a branch raised
    return [answers[number] for number in range(len(queued))]


def _until(what: str, ready: Callable[[], bool], machine: Machine) -> None:
    machine.processes.wait_until(what, ready, timeout_s=WAIT_S)


def _wait_for_release(machine: Machine, release_id: str) -> None:
    def everywhere() -> bool:
        return all(n.status()["release"] == release_id for n in machine.branches.values())

    _until(f"release {release_id} at every node", everywhere, machine)


def _wait_for_standing(machine: Machine, people: Counter[str]) -> None:
    def everywhere() -> bool:
        return all(machine.branches[b].status()["people"] >= n for b, n in people.items())

    _until("the standing of the customers at their nodes", everywhere, machine)


def _spent(node: BranchClient) -> float:
    return float(node.budget()["epsilon_spent"])


def _prove_absence(machine: Machine, learned: Learned) -> None:
    """Ask the node for proofs that the person was in the rounds before, and not after."""
    gone = learned.withdrawn
    if gone is None:
        return
    node = machine.branches[gone.turn.branch]
    for number in range(1, len(learned.seconds) + 1):
        answer = node.proof_of_round(learned.run, number, gone.turn.customer)
        if answer["answer"] == "present":
            gone.last_round_with, gone.first_round_without = number, None
        elif gone.first_round_without is None:
            gone.first_round_without = number


def _turns_to_show(fed: Fed, *, without: str) -> Sequence[Turn]:
    """Return consented turns, those the customers rated as negative first."""
    served = [
        f.turn
        for f in fed.turns
        if Purpose.SERVICE in f.answer["sealed_for"] and f.turn.customer != without
    ]
    return sorted(served, key=lambda turn: turn.label not in {"frustration", "negative"})


def _ask_again(machine: Machine, turns: Sequence[Turn]) -> Iterable[FedTurn]:
    """Yield answers until enough are shown and one of them is negative, or enough were tried."""
    shown = 0
    negative = False
    for turn in turns[:MOST_TRIED]:
        answer = machine.branches[turn.branch].turn(turn, explain=True)
        if answer["answer"] != "reading":
            continue
        again = FedTurn(turn=turn, answer=answer)
        yield again
        shown, negative = shown + 1, negative or _emotion(again) in NEGATIVE
        if shown >= SHOWN_AGAIN and negative:
            return


def _emotion(fed: FedTurn) -> Emotion | None:
    reading = fed.answer.get("reading") or {}
    return Emotion(reading["emotion"]) if reading.get("emotion") else None


def _copy_log(path: Path, folder: Path) -> Path:
    """Return a consistent copy of a log that is still being written."""
    folder.mkdir(parents=True, exist_ok=True)
    source = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    copy = sqlite3.connect(folder / path.name)
    with closing(source), closing(copy):
        source.backup(copy)
    return folder / path.name


def _verify_copy(copy: Path, key: str) -> int | None:
    """Return the number of entries that the auditor's command verified, None if it refused."""
    program = Path(sysconfig.get_path("scripts")) / "undertone-trust"
    done = subprocess.run(  # noqa: S603 (our own command)
        [str(program), "verify", "--log", str(copy), "--key", key, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(json.loads(done.stdout)["size"]) if done.returncode == 0 else None
