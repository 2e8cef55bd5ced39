"""Many processes submit, one writes: durable when answered, once whatever is killed.

On both stores. The processes are real (`submitting_processes`), and so is the kill.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket as sockets
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any

import pytest

from audit.errors import EntryRepeated, EventInvalid, EvidenceUnavailable
from audit.events import Event, EventKind, Value
from audit.intake import DECISIONS, MAX_SUBMISSION_BYTES, MOST_PEERS, Intake, socket_address
from audit.log import MOST_AHEAD_S, Draft, EvidenceLog
from audit.once import Work
from audit.refusals import Refusals
from audit.signing import SigningKey
from audit.submitter import Submitter
from audit.tile_folder import TileFolder
from policies.canonical import canonical
from tests.audit import postgres
from tests.audit.conftest import SetClock
from tests.audit.submitting_processes import ORIGIN, event, open_log

PROGRAM = Path(__file__).parent / "submitting_processes.py"
NUMBERS = itertools.count()
NAMES = ("a", "b", "c", "d")
EACH = 40


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """Return the socket of a running PostgreSQL."""
    with postgres.server() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty place of each kind in turn, as a program is told it."""
    if request.param == "sqlite":
        return str(tmp_path / "log.db")
    return postgres.make_database(request.getfixturevalue("server"), f"many_{next(NUMBERS)}")


@pytest.fixture
def kept(place: str, key: SigningKey, clock: SetClock) -> Iterator[EvidenceLog]:
    """Return an open, empty log of each kind in turn."""
    where = place if place.startswith("postgresql:") else Path(place)
    with closing(EvidenceLog(where, key, origin=ORIGIN, clock=clock)) as log:
        yield log


@pytest.fixture
def path(kept: EvidenceLog, clock: SetClock, tmp_path: Path) -> Iterator[Path]:
    """Return the socket of an intake on that log."""
    refusals = Refusals(kept, clock=clock)
    with closing(Intake(kept, tmp_path / "evidence.sock", refusals=refusals)):
        yield tmp_path / "evidence.sock"


def start(*arguments: str) -> subprocess.Popen[str]:
    """Begin one of the processes."""
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    return subprocess.Popen(  # noqa: S603 (our own program)
        [sys.executable, str(PROGRAM), *arguments],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )


def lines_of(process: subprocess.Popen[str]) -> IO[str]:
    """Return what a process prints."""
    assert process.stdout is not None
    return process.stdout


def acknowledged(process: subprocess.Popen[str]) -> list[tuple[int, int]]:
    """Return the numbers and indices that a process still prints."""
    whole = [line for line in lines_of(process) if line.endswith("\n")]
    return [(int(number), int(index)) for number, index in (line.split() for line in whole)]


@pytest.mark.promise(8)
def test_intake_of_many_processes_survives_kill_of_either_side(
    place: str, tmp_path: Path, key: SigningKey
) -> None:
    """Four processes submit; writer and a submitter are killed -9: all there, each once.

    Every index that any of them was told holds that event, in each one's own order; the killed
    submitter begins again from its first event and is told the places that these have.
    """
    key.save(tmp_path / "key")
    with ExitStack() as stack:
        begin: Callable[..., subprocess.Popen[str]] = lambda *a: stack.enter_context(start(*a))  # noqa: E731
        writer = begin("writer", place, str(tmp_path))
        assert lines_of(writer).readline() == "ready\n"
        people = {name: begin("submit", str(tmp_path), name, str(EACH)) for name in NAMES}
        told: dict[str, set[tuple[int, int]]] = {name: set() for name in NAMES}
        for name in NAMES:  # each is under way
            number, index = lines_of(people[name]).readline().split()
            told[name].add((int(number), int(index)))
        writer.kill()
        people["a"].kill()
        told["a"] |= set(acknowledged(people["a"]))
        second = begin("writer", place, str(tmp_path))
        assert lines_of(second).readline() == "ready\n"
        people["a"] = begin("submit", str(tmp_path), "a", str(EACH))
        for name in NAMES:
            told[name] |= set(acknowledged(people[name]))
            assert people[name].wait() == 0
        second.send_signal(signal.SIGKILL)
    with closing(open_log(place, tmp_path)) as log:
        events = [entry.event for entry in log.entries(0, log.size)]
        assert log.size == len(NAMES) * EACH
        for name in NAMES:
            found = [events.index(event(name, number)) for number in range(EACH)]
            assert found == sorted(found)
            assert told[name] == set(enumerate(found))
        folder = TileFolder(tmp_path / "tiles")
        assert folder.publish(log) == folder.verify(key.verify_key)


def test_second_writer_is_refused_in_one_line_on_both_stores(
    place: str, tmp_path: Path, key: SigningKey, kept: EvidenceLog
) -> None:
    """Another process that wants to own the log is told so; the first goes on."""
    key.save(tmp_path / "key")
    text = (
        "import sys; from pathlib import Path; from audit.log import EvidenceLog\n"
        "from audit.signing import SigningKey\n"
        "place = sys.argv[1]; where = place if ':' in place else Path(place)\n"
        "key = SigningKey.load(Path(sys.argv[2]))\n"
        "try: EvidenceLog(where, key, origin='many', clock=lambda: 1.0)\n"
        "except Exception as error: print(f'{type(error).__name__}: {error}')\n"
    )
    done = subprocess.run(  # noqa: S603 (our own interpreter and text)
        [sys.executable, "-c", text, place, str(tmp_path / "key")],
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("EvidenceUnavailable: ")
    assert "held by another owner: stop the other service" in done.stdout
    assert done.stdout.count("\n") == 1
    assert kept.append(event("first", 0)) == 0


def test_submission_that_comes_again_has_the_place_it_had(kept: EvidenceLog, path: Path) -> None:
    """Under one id the same events are one entry, from any process, and after any other."""
    with closing(Submitter(path)) as one, closing(Submitter(path)) as other:
        assert one.append(event("x", 0), submission="s") == 0
        many = [Draft(event("x", n), {"n": n}) for n in (1, 2, 3)]
        assert one.append_many(many, submission="t") == range(1, 4)
        assert other.append(event("x", 0), submission="s") == 0
        assert other.append_many(many, submission="t") == range(1, 4)
        assert one.append(event("x", 0)) == 4  # an id of its own: another entry
        for wrong in (many[:2], [*many, Draft(event("x", 9))], [Draft(event("x", 1))]):
            with pytest.raises(EventInvalid, match="other events") as caught:
                other.append_many(wrong, submission="t")
            assert caught.value.field == "id"
    assert kept.payload(2) == {"n": 2}
    assert [e.event for e in kept.entries(0, 4)] == [event("x", n) for n in range(4)]


def test_submissions_of_one_id_at_the_same_time_are_one_entry(
    kept: EvidenceLog, path: Path
) -> None:
    """Eight connections hand in one id at once, in one group or several: one entry, one index."""
    barrier, got = threading.Barrier(8), list[int]()

    def work() -> None:
        with closing(Submitter(path)) as submitter:
            barrier.wait()
            got.append(submitter.append(event("x", 0), submission="same"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (got, kept.size) == ([0] * 8, 1)


def decision(name: str, at: float) -> Event:
    """Return a decision of that id."""
    fields: dict[str, Value] = dict.fromkeys(
        ("node", "action", "purpose", "modality", "policy_digest", "use", "request_digest"), "x"
    )
    more: dict[str, Value] = {"allowed": True, "rules": [], "standing_digest": None}
    return Event(kind=EventKind.DECISION, at=at, fields={"decision_id": name, **fields, **more})


@pytest.mark.promise(8)
def test_log_takes_a_decision_once(kept: EvidenceLog, clock: SetClock) -> None:
    """A decision's id that is there, or twice in one group, is refused; its neighbours are not."""
    assert kept.append(decision("d1", clock.now)) == 0
    for again in (
        [decision("d1", clock.now)],
        [decision("d2", clock.now), decision("d2", clock.now)],
        [event("x", 1), decision("d1", clock.now)],
    ):
        with pytest.raises(EntryRepeated) as caught:
            kept.append_many([Draft(one) for one in again])
        assert caught.value.field == "decision_id"
    assert kept.append(decision("d2", clock.now)) == 1
    assert kept.size == 2


@pytest.mark.promise(8)
def test_decision_that_is_repeated_spoils_no_neighbour_of_its_group(
    kept: EvidenceLog, clock: SetClock
) -> None:
    """In one group the repeated one alone is refused; the others have their places, once."""
    assert kept.append(decision("d1", clock.now)) == 0
    names = ("d2", "d1", "d3", "d2")
    works = [Work(kept._payloads.prepare([Draft(decision(name, clock.now))])) for name in names]
    first, again, third, doubled = kept._write(works)
    assert (first, third, kept.size) == (1, 2, 3)
    assert isinstance(again, EntryRepeated)
    assert isinstance(doubled, EntryRepeated)
    found = [entry.event.fields["decision_id"] for entry in kept.entries(0, 9)]
    assert found == ["d1", "d2", "d3"]


def test_log_of_a_version_that_took_no_names_takes_them_when_opened(
    place: str, kept: EvidenceLog, key: SigningKey, clock: SetClock
) -> None:
    """Opened by this version, the decisions that are in it already are taken."""
    kept.append(event("x", 0))
    kept.append(decision("old", clock.now))
    store: Any = kept._store
    statement = "DROP TABLE once"
    (store._writer.run if ":" in place else store._writer.execute)(statement)
    kept.close()
    where = place if ":" in place else Path(place)
    with closing(EvidenceLog(where, key, origin=ORIGIN, clock=clock)) as log:
        with pytest.raises(EntryRepeated):
            log.append(decision("old", clock.now))
        assert log.append(decision("new", clock.now)) == 2


def test_log_refuses_a_time_that_lies_ahead(kept: EvidenceLog, clock: SetClock) -> None:
    """Beyond the stated skew an event is refused with the field's name; the past is not."""
    with pytest.raises(EventInvalid, match="ahead") as caught:
        kept.append(decision("d", clock.now + MOST_AHEAD_S + 1))
    assert caught.value.field == "at"
    assert kept.append(decision("d", clock.now + MOST_AHEAD_S)) == 0
    assert kept.append(event("x", 1)) == 1


def good(**changes: Any) -> dict[str, Any]:
    """Return a submission, changed."""
    said = {"kind": "standing-applied", "at": 1.0}
    fields = {"sequence": 1, "envelope_digest": "a"}
    draft = {"event": said | {"fields": fields}, "private": None, "subject": None}
    return {"v": 1, "id": "s", "drafts": [draft]} | changes


def drafted(**changes: Any) -> dict[str, Any]:
    """Return a submission whose draft is changed."""
    return good(drafts=[good()["drafts"][0] | changes])


def said(**changes: Any) -> dict[str, Any]:
    """Return a submission whose event is changed."""
    return drafted(event=good()["drafts"][0]["event"] | changes)


BAD: list[tuple[bytes, str, str]] = [
    (b"\xff\xfe\n", "event-invalid", "body"),
    (b"John Smith is angry\n", "event-invalid", "body"),
    (b'{"v":1,"v":1}\n', "event-invalid", "body"),
    (b"[" * 9000 + b"\n", "event-invalid", "body"),
    (b"[]\n", "event-invalid", "body"),
    (b"x" * (MAX_SUBMISSION_BYTES + 2), "content-too-large", "body"),
    *(
        (canonical(value) + b"\n", "event-invalid", field)
        for value, field in [
            (good(v=2), "v"),
            (good(id=7), "id"),
            (good(id="John Smith"), "id"),
            (good(drafts=[]), "drafts"),
            (good(drafts=[{"event": 1}]), "private"),
            (good(john=1), "body"),
            (drafted(private=[1]), "private"),
            (drafted(subject=1), "subject"),
            (said(kind="john-smith"), "kind"),
            (said(kind="decision"), "fields"),
            (said(fields={"sequence": 1}), "envelope_digest"),
            (said(fields={"sequence": 1, "envelope_digest": "John Smith"}), "envelope_digest"),
            (said(at=9e15), "at"),
            (said(at=None), "at"),
        ]
    ),
]


@pytest.mark.parametrize("sent", BAD)
def test_submission_that_is_bad_is_refused_and_recorded_without_content(
    log: EvidenceLog, clock: SetClock, tmp_path: Path, sent: tuple[bytes, str, str]
) -> None:
    """Oversized, another version, unknown, not UTF-8, from the future: refused by field."""
    refusals = Refusals(log, clock=clock)
    (line, reason, field), at = sent, tmp_path / "e.sock"
    with closing(Intake(log, at, refusals=refusals)), _connected(at) as connection:
        connection.sendall(line)
        answer = json.loads(connection.makefile("rb").readline())
    assert (answer["refused"], answer["field"]) == (reason, field)
    assert "ohn" not in json.dumps(answer)
    (entry,) = log.entries(0, 9)
    assert entry.event.fields == {"reason": reason, "field": field, "count": 1}


def test_decision_is_recorded_by_the_gate_alone(
    log: EvidenceLog, clock: SetClock, tmp_path: Path
) -> None:
    """Another process may record what it did, and not what was decided."""
    at = tmp_path / "e.sock"
    with (
        closing(Intake(log, at, refusals=Refusals(log, clock=clock))),
        closing(Submitter(at)) as submitter,
        pytest.raises(EventInvalid) as caught,
    ):
        submitter.append(decision("d", clock.now))
    assert caught.value.field == "kind"
    assert not DECISIONS & {entry.event.kind for entry in log.entries(0, 9)}


def _connected(path: Path) -> sockets.socket:
    connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    with socket_address(path) as address:
        connection.connect(address)
    return connection


@pytest.mark.promise(8)
def test_intake_is_for_its_own_user(log: EvidenceLog, clock: SetClock, tmp_path: Path) -> None:
    """Mode 0600; a user whom the kernel names and the list does not is refused, and recorded."""
    at = tmp_path / "e.sock"
    nobody = frozenset({os.geteuid() + 1})
    with closing(Intake(log, at, refusals=Refusals(log, clock=clock), peers=nobody)):
        assert stat.S_IMODE(at.stat().st_mode) == 0o600
        with closing(Submitter(at)) as submitter, pytest.raises(EventInvalid, match="this user"):
            submitter.append(event("x", 0))
        with (
            closing(Submitter(at, owner=os.geteuid() + 1)) as wary,
            pytest.raises(EvidenceUnavailable, match="nothing was sent"),
        ):
            wary.append(event("x", 0))
    (entry,) = log.entries(0, 9)
    assert entry.event.fields == {"reason": "peer-refused", "field": "uid", "count": 1}
    assert not at.exists()


def test_submitter_without_a_writer_says_so_in_one_line(tmp_path: Path) -> None:
    """Nobody listens, or the log cannot record: no answer is taken for durable."""
    with (
        closing(Submitter(tmp_path / "none.sock", timeout_s=0.05)) as submitter,
        pytest.raises(EvidenceUnavailable, match="start it, and submit again") as caught,
    ):
        submitter.append(event("x", 0))
    assert "\n" not in str(caught.value)


def test_submitter_passes_on_that_the_log_cannot_record(kept: EvidenceLog, path: Path) -> None:
    """A log that is closed is unavailable to other processes too."""
    kept.close()
    with closing(Submitter(path)) as submitter, pytest.raises(EvidenceUnavailable, match="closed"):
        submitter.append(event("x", 0))


def test_intake_with_too_many_peers_lets_them_wait(
    log: EvidenceLog, clock: SetClock, tmp_path: Path
) -> None:
    """Idle connections beyond the limit are closed; who waits is served once there is a place."""
    at = tmp_path / ("long-name-" * 20) / "e.sock"
    at.parent.mkdir()
    with ExitStack() as stack:
        stack.enter_context(closing(Intake(log, at, refusals=Refusals(log, clock=clock))))
        idle = [stack.enter_context(_connected(at)) for _ in range(MOST_PEERS)]
        for one in idle:  # each has been attended to
            one.sendall(b"[]\n")
            assert one.makefile("rb").readline()
        with closing(Submitter(at, timeout_s=0.2)) as late, pytest.raises(EvidenceUnavailable):
            late.append(event("x", 0))
        idle[0].close()
        with closing(Submitter(at)) as late:
            assert late.append(event("x", 0)) == log.size - 1
