"""Processes for tests: `python submitting_processes.py writer PLACE FOLDER | submit FOLDER NAME N`.

A writer owns the log at PLACE and listens in FOLDER until killed. A submitter hands in N events,
each under an id of its own, from the first one on whatever it did in an earlier life, and prints
each number with the index that was acknowledged.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from audit.errors import EvidenceUnavailable
from audit.events import Event, EventKind, Value
from audit.intake import Intake
from audit.log import EvidenceLog
from audit.refusals import Refusals
from audit.signing import SigningKey
from audit.submitter import Submitter

ORIGIN = "many"
_PATIENCE = 200


def event(name: str, number: int) -> Event:
    """Return the event that a submitter of that name hands in."""
    fields: dict[str, Value] = {"sequence": number, "envelope_digest": name}
    return Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=fields)


def open_log(place: str, folder: Path) -> EvidenceLog:
    """Own the log; a database takes a moment to see that its last owner was killed."""
    where = place if place.startswith("postgresql:") else Path(place)
    key = SigningKey.load(folder / "key")
    for _ in range(_PATIENCE):
        try:
            return EvidenceLog(where, key, origin=ORIGIN, clock=lambda: 1.0)
        except EvidenceUnavailable as error:
            if "another owner" not in str(error):
                raise
            time.sleep(0.05)
    raise EvidenceUnavailable("the last owner is still there")


def write(place: str, folder: Path) -> None:
    """Own the log until killed."""
    log = open_log(place, folder)
    refusals = Refusals(log, clock=lambda: 1.0)
    Intake(log, folder / "evidence.sock", refusals=refusals)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


def submit(folder: Path, name: str, count: int) -> None:
    """Hand events in, one after another."""
    with closing(Submitter(folder / "evidence.sock", timeout_s=60.0)) as submitter:
        for number in range(count):
            index = submitter.append(event(name, number), submission=f"{name}-{number}")
            sys.stdout.write(f"{number} {index}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["writer", at, files]:
            write(at, Path(files))
        case ["submit", files, who, most]:
            submit(Path(files), who, int(most))
