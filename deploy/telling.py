"""What the demo prints: the story as it goes, and at the end one table."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.table import Table

from deploy import harness
from deploy.machine import Machine
from deploy.report import Row, at_least, at_most
from deploy.story import Fed, FedTurn, Learned, Story, Withdrawn

RATIO_AIM = 0.88
MEMORY_AIM_MB = 4096
ROUND_AIM_S = 7.0
SAMPLE_SECONDS_AIM = 180.0
HEARD_S = 5.0
"""Within this many seconds a withdrawal must count at an online node (promise 11)."""


@contextmanager
def step(story: Story, number: int, title: str) -> Iterator[None]:
    """Print a step's heading, and how long it took."""
    story.console.print(f"\n[bold]{number}  {title}[/bold]")
    started = time.monotonic()
    yield
    story.console.print(f"   [dim]{time.monotonic() - started:.1f} s[/dim]")


def opening(story: Story) -> None:
    """Say what is about to run, and what of it is played."""
    held_in = [turn for turn in story.turns if not turn.dev]
    places = Counter(turn.branch for turn in held_in)
    story.console.print("[bold]Undertone[/bold]: a private federation on this machine")
    story.console.print(
        f"   {len(held_in)} turns at {len(places)} branches ({', '.join(sorted(places))}), "
        f"{len(story.turns) - len(held_in)} held out"
    )
    story.console.print(
        "   Made up and played by this demo: consent, age, notice"
        + ("; ratings are the data's labels, replayed" if story.options.data else ", customers")
    )


def plan(story: Story) -> None:
    """Say what the plan costs a person's privacy, before anything runs."""
    plan, preview = story.preview.plan, story.preview
    story.console.print(
        f"   plan {preview.digest[:12]}: {plan.rounds} rounds, ε = {plan.epsilon:g} and "
        f"δ = {plan.delta:g} for a person at a node over all rounds "
        f"(spent {preview.epsilon:.3f} by RDP, {preview.epsilon_prv:.3f} by PRV, second opinion "
        f"{preview.second_opinion:.3f}), noise {plan.mechanism.noise_multiplier:.3f}"
    )
    story.console.print(
        "   training is planned to spend all of it, so no campaign's cohort can be counted here"
    )


def feeding(story: Story, fed: Fed, recall: harness.Recall) -> None:
    """Print what became of the turns, and how much personal data was found in them."""
    kinds = Counter(f.answer["answer"] for f in fed.turns)
    sealed = Counter(purpose for f in fed.turns for purpose in f.answer["sealed_for"])
    out = story.console.print
    out(f"   answers: {_counts(kinds)}; sealed for {_counts(sealed)}; {fed.labelled} rated")
    rules = Counter(
        r for f in fed.turns for r in f.answer["rules"] if f.answer["answer"] == "refused"
    )
    if rules:
        out(f"   refused before a word was read, by {_counts(rules)}")
    out(
        f"   {len(fed.turns) / fed.seconds:.0f} turns a second through consent, gate, redaction, "
        "encoder, vault and log, ratings included"
    )
    if (overall := recall.overall()) is not None:
        found = ", ".join(
            f"{kind} {recall.found.get(kind, 0)}/{n}" for kind, n in sorted(recall.marked.items())
        )
        out(f"   personal data found, by the sample's own marks: {overall:.0%} ({found})")
        if recall.missed_names:
            out(f"   names that were missed: {', '.join(sorted(set(recall.missed_names)))}")
        story.rows.append(Row(name="redaction recall", value=round(overall, 3), unit="share"))


def round_line(story: Story, closed: Mapping[str, Any], learned: Learned) -> None:
    """Print one round: state, score on the held-out turns, spending, seconds."""
    spent = ", ".join(f"{name} {epsilon:.2f}" for name, epsilon in sorted(learned.spent.items()))
    story.console.print(
        f"   round {closed['round']:>2}  {closed['state']:<10} macro-F1 {learned.macro_f1:.3f}  "
        f"ε spent {spent}  {closed['seconds']:.1f} s"
    )


def withdrawal(story: Story, gone: Withdrawn) -> None:
    """Print what a withdrawal did."""
    heard = "NOT heard" if gone.heard_s is None else f"gate closed after {gone.heard_s:.1f} s"
    story.console.print(
        f"   [bold]6[/bold] a customer of {gone.turn.branch} withdraws in one step: {heard}, "
        f"{gone.keys_destroyed} keys destroyed, the others wrapped anew"
    )


def withdrawal_row(gone: Withdrawn | None) -> Row:
    """Return whether the withdrawal was honoured at the gate, in the vault and in training."""
    if gone is None:
        return Row(name="withdrawal honoured", value=False, held=False, safety=True)
    ok = (
        gone.heard_s is not None
        and gone.heard_s <= HEARD_S
        and gone.keys_destroyed > 0
        and gone.last_round_with is not None
        and gone.first_round_without is not None
    )
    said = (
        f"gate {gone.heard_s if gone.heard_s is None else round(gone.heard_s, 2)} s, "
        f"{gone.keys_destroyed} keys, in rounds to {gone.last_round_with}, "
        f"proven absent from {gone.first_round_without}"
    )
    return Row(
        name="withdrawal honoured", value=said, aim=f"within {HEARD_S:g} s", held=ok, safety=True
    )


def release(story: Story, published: Mapping[str, Any], answered: Sequence[FedTurn]) -> None:
    """Print the release and some turns that were answered again."""
    out = story.console.print
    out(f"   {published['release']} signed, logged, loaded by every node; card:")
    card = published["card"]
    out(f"   {', '.join(f'{k} {v}' for k, v in card.items() if isinstance(v, str | int | float))}")
    for again in answered:
        reading = again.answer["reading"]
        why = ", ".join(w["words"] for w in again.answer.get("why", [])[:3])
        out(
            f'   "{_short(again.turn.text)}" → expressed cues of {reading["label"]} '
            f"({reading['confidence']:.0%}), because of: {why or 'no single word'}"
        )


def no_negative(story: Story) -> None:
    """Say that no turn was read as negative, so that the refusal could not be shown."""
    story.console.print("   the release reads no turn as negative: no upsell to refuse")
    story.rows.append(
        Row(
            name="forbidden use refused",
            value="no turn is read as negative by this release",
            held=False,
        )
    )


def refused_use(story: Story, fed: FedTurn, answer: Mapping[str, Any]) -> None:
    """Print the refusal of an upsell with rule, statute and plain words."""
    rules, reading = answer.get("rules", []), fed.answer["reading"]
    held = answer["answer"] == "refused" and any(rule.startswith("r10") for rule in rules)
    out = story.console.print
    out(f"   upsell on cues of {reading['label']}: [bold]refused[/bold] by {', '.join(rules)}")
    for reason, statute in zip(answer["reasons"], answer["statutes"], strict=True):
        out(f"      {reason} [dim]({statute})[/dim]")
    story.rows.append(
        Row(name="forbidden use refused", value=", ".join(rules), held=held, safety=True)
    )


def allowed_use(story: Story, answer: Mapping[str, Any]) -> None:
    """Print the hand-over."""
    held = answer["answer"] == "done"
    ruling = {"use", "answer", "decision", "rules", "reasons", "statutes"}
    outcome = ", ".join(f"{k} {v}" for k, v in answer.items() if k not in ruling)
    story.console.print(
        f"   hand-over to someone idle: {'allowed' if held else 'REFUSED'} by "
        f"{', '.join(answer.get('rules', []))} ({outcome})"
    )
    story.rows.append(Row(name="allowed use answered", value=held, held=held, safety=True))


def verified(story: Story, sizes: Mapping[str, int | None]) -> None:
    """Print the offline verification of each log."""
    held = all(sizes.values())
    said = ", ".join(f"{name} {size or 'REFUSED'}" for name, size in sizes.items())
    story.console.print(f"   logs verified from copies, with public keys only: {said}")
    story.rows.append(Row(name="log verified", value=said, held=held, safety=True))


def searched(story: Story, needles: int, files: int, found: int) -> None:
    """Print whether the customers' own words lie anywhere on the disk."""
    story.console.print(
        f"   {needles} names and texts looked for in all {files} files written: {found} hold one"
    )
    story.rows.append(
        Row(
            name="customers' words on disk",
            value=found,
            unit="files",
            aim="0",
            held=not found,
            safety=True,
        )
    )


def results(
    story: Story, learned: Learned, compared: harness.Comparison, traffic: Mapping[str, int]
) -> None:
    """Add the figures of the run to the rows."""
    sample = story.options.data is None
    plan, k = story.preview.plan, compared.largest_k
    spent = round(max(learned.spent.values()), 4)
    alone = statistics.mean(compared.alone.values())
    ratio = round(learned.macro_f1 / compared.central, 4)
    seconds = round(statistics.median(learned.seconds), 2)
    shipped = None if compared.shipped is None else round(compared.shipped, 4)
    story.rows += [
        Row(name="macro-F1 release 0, the public head", value=shipped),
        Row(name="macro-F1 federated, private", value=round(learned.macro_f1, 4)),
        Row(name="macro-F1 each branch alone, private, mean", value=round(alone, 4)),
        *(
            Row(name=f"macro-F1 {branch} alone, private", value=round(f1, 4))
            for branch, f1 in compared.alone.items()
        ),
        Row(name="macro-F1 central, not private", value=round(compared.central, 4)),
        at_least("ratio to central", ratio, None if sample else RATIO_AIM),
        at_most("epsilon spent, a person at a node", spent, plan.epsilon, safety=True),
        Row(name="delta", value=plan.delta),
        Row(name="epsilon reported by PRV", value=round(story.preview.epsilon_prv, 4)),
        Row(name="largest k (branches where one person trains)", value=k, unit="nodes"),
        Row(name="epsilon of that person, composed", value=round(compared.epsilon_at_k, 4)),
        at_most("round, median", seconds, ROUND_AIM_S if sample else None, "s"),
        Row(name="bytes from nodes", value=traffic["bytes_in"], unit="B"),
        Row(name="bytes to nodes", value=traffic["bytes_out"], unit="B"),
    ]


def memory_row(story: Story, peak_bytes: int) -> Row:
    """Return the largest memory seen; the aim is for the sample's three nodes."""
    sample = story.options.data is None
    megabytes = round(peak_bytes / 2**20)
    return at_most(
        "memory, all processes (PSS)", megabytes, MEMORY_AIM_MB if sample else None, "MiB"
    )


def closing(story: Story) -> None:
    """Add the total time and print the table."""
    seconds = time.monotonic() - story.started
    sample = story.options.data is None
    most = SAMPLE_SECONDS_AIM if sample else None
    story.rows.append(at_most("seconds in all", round(seconds, 1), most, "s"))
    table = Table(title="What it came to", title_justify="left")
    for column in ("", "value", "unit", "aim", "held"):
        table.add_column(column, overflow="fold")
    for row in story.rows:
        held = "" if row.held is None else "yes" if row.held else "[bold]no[/bold]"
        table.add_row(row.name, str(row.value), row.unit, row.aim, held)
    story.console.print()
    story.console.print(table)
    story.console.print(
        "Macro-F1 is computed by this demo on held-out turns that no node ever saw; the unit of "
        "privacy is a person at a node, over all their turns and rounds."
    )
    if sample:
        story.console.print(
            "The sample shows the machinery: so few people teach only so much at this budget, as "
            "the figure without privacy beside it says."
        )


def keep_running(story: Story, machine: Machine) -> None:
    """Say how to look further, and wait until the reader has seen enough."""
    ids = machine.identities
    node = ids.nodes[0]
    out = story.console.print
    out(f"\nIt is still running, in {ids.folder}. Ctrl-C ends it. To look further:")
    for line in (
        f"undertone-coordinator runs list --settings {ids.folder}/coordinator.toml",
        f"undertone-node status --settings {node.folder}/node.toml",
        f"undertone-node budget show --settings {node.folder}/node.toml",
        f"undertone-trust verify --log {node.folder}/state/log.db --key '{node.key.verify_key}'",
        f"curl -H 'Authorization: Bearer {node.api_key}' http://127.0.0.1:{node.api_port}/v1/status",
    ):
        out(f"   {line}", soft_wrap=True, highlight=False)
    try:
        while True:
            machine.processes.check()
            time.sleep(1)
    except KeyboardInterrupt:
        out("ending")


def _counts(counter: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items()))


def _short(text: str) -> str:
    most = 70
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
