"""The demo: a whole private federation on this machine, told step by step.

    1 identities   2 trust service   3 Flower and nodes   4 customers' messages
    5 private rounds   6 a withdrawal   7 a release by hand   8 two uses   9 proof, and a table

`python -m deploy.demo --help` lists the options. Exit code 0: done and every safety row
holds; 1: a part failed or a safety row does not hold; 2: the options or the data are wrong.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from audit.terminal import PlainConsole
from coordinator.plan import preview_from_dict
from deploy import acts, harness, telling
from deploy.apart import Apart, apart
from deploy.errors import Misuse
from deploy.identities import create_identities, seal_node_policies
from deploy.machine import Machine
from deploy.options import Options, parse
from deploy.plan import draft_plan
from deploy.processes import MemoryWatch, Processes
from deploy.report import broken_safety, write_rows
from deploy.story import Story
from deploy.turns import Columns, Turn, families_of, read_table, sample_turns
from policies.errors import UndertoneError

QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def run(options: Options, console: Console) -> int:
    """Run the demo and return its exit code.

    Raises:
        Misuse: The options or the data are wrong.
        UndertoneError: A part failed.
    """
    started = time.monotonic()
    turns = _read(options)
    labels = families_of(turns, options.families)
    story = Story(options=options, console=console, turns=turns, labels=labels, started=started)
    telling.opening(story)
    with _folder(options) as folder, _running(folder) as (processes, memory), apart() as worker:
        names = [label for label, _ in labels]
        measured = worker.start("deploy.rivals", "measure", turns, names, options.encoder)
        machine = _start(story, folder, processes)
        try:
            _play(story, machine, measured, worker)
        finally:
            machine.close()
        story.rows.append(telling.memory_row(story, memory.peak_bytes))
        telling.closing(story)
        if options.json:
            write_rows(story.rows, options.json)
        if options.keep:
            telling.keep_running(story, machine)
    return 1 if broken_safety(story.rows) else 0


def _start(story: Story, folder: Path, processes: Processes) -> Machine:
    branches = sorted({turn.branch for turn in story.turns})
    with telling.step(story, 1, "identities: authority, keys, certificates"):
        identities = create_identities(folder, branches)
        machine = Machine(identities, processes, story.options.encoder)
    with telling.step(story, 2, "the consent and audit service: notice, purposes, DPIA"):
        machine.start_coordinator()
        machine.start_trust()
    with telling.step(story, 3, f"the plan, Flower behind its gateway, and {len(branches)} nodes"):
        draft = draft_plan(story.options, story.labels)
        accepted = machine.accept_plan(draft)
        story.preview = preview_from_dict({k: v for k, v in accepted.items() if k != "fab_digest"})
        telling.plan(story)
        seal_node_policies(identities, story.preview.plan, story.preview.digest)
        machine.start_nodes()
        acts.publish_first_release(story, machine)
    return machine


def _play(
    story: Story, machine: Machine, measured: Future[harness.Measured], worker: Apart
) -> None:
    with telling.step(story, 4, "customers' messages through the nodes"):
        fed = acts.feed(story, machine)
        found = measured.result()
        telling.feeding(story, fed, found.recall)
    with telling.step(story, 5, "private rounds, and midway (6) a withdrawal"):
        compared = worker.start("deploy.rivals", "compare", story.turns, found, story.preview.plan)
        learned = acts.learn(story, machine, fed, found)
    with telling.step(story, 7, "a release, by hand"):
        released = acts.release(story, machine, learned, fed, found)
    with telling.step(story, 8, "two uses: one the rules forbid, one they allow"):
        acts.use(story, machine, released)
    with telling.step(story, 9, "proof, offline, and what it all came to"):
        acts.verify(story, machine)
        acts.search_disk(story, machine)
        telling.results(story, learned, compared.result(), machine.coordinator.bytes_sent())


def _read(options: Options) -> tuple[Turn, ...]:
    if options.data is None:
        return sample_turns()
    columns = Columns(
        text=options.text,
        label=options.label,
        tenant=options.tenant,
        subject=options.subject,
        split=options.split,
    )
    return read_table(options.data, columns, consent=options.consent)


@contextmanager
def _folder(options: Options) -> Iterator[Path]:
    if options.folder is not None:
        options.folder.mkdir(mode=0o700, parents=True)
        yield options.folder
        return
    with tempfile.TemporaryDirectory(prefix="undertone-") as folder:
        yield Path(folder)


@contextmanager
def _running(folder: Path) -> Iterator[tuple[Processes, MemoryWatch]]:
    logs = folder / "output"
    logs.mkdir(mode=0o700)
    with Processes(logs, QUIET) as processes, MemoryWatch(processes) as memory:
        yield processes, memory


def main() -> None:
    """Parse the options, run the demo, and exit with its code; errors are one line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end it like the keyboard does
    try:
        code = run(parse(sys.argv[1:]), PlainConsole(markup=True))
    except Misuse as error:
        sys.stderr.write(f"demo: {error}\n")
        code = 2
    except UndertoneError as error:
        sys.stderr.write(f"demo: {error}\n")
        code = 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: ended by the keyboard\n")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
