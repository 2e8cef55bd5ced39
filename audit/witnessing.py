"""A service's part in mutual witnessing: it witnesses others, and others witness its log.

    POST /v1/witness/add-checkpoint            a log submits to us (C2SP tlog-witness)
    GET  /v1/witness/{origin hash}/checkpoint  what we cosigned last of a log (tlog-witness);
                                               who may know it is the service's to say
    GET  /v1/witness/request?old=N[&size=M]    what our log would submit to a witness
    POST /v1/witness/cosignatures              `size N`, an empty line, a witness's lines

The last two let a witness that nobody can call, a node behind its router, fetch what a log
would have sent, and bring its cosignature. `answer` speaks no framework: each service's API
hands it what came. `Exchange` is the other side, for whoever calls.

Who is not there is met later: one consistency proof covers all that was missed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

from audit.checkpoint import DASH
from audit.cosignature import verify_cosignature
from audit.errors import (
    CheckpointInvalid,
    EntryMissing,
    Refusal,
    SignatureInvalid,
    WitnessRefused,
)
from audit.events import Event, EventKind, Value
from audit.keys import VerifyKey
from audit.log import EvidenceLog
from audit.receipt import make_receipt
from audit.submission import MAX_SUBMISSION_BYTES, submission_of
from audit.witness import FindLog, Witness
from audit.witness_store import Alarm, WitnessStore
from policies.clock import Clock

PREFIX = "/v1/witness"
MAX_BYTES = MAX_SUBMISSION_BYTES
TEXT, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"

_CHECKPOINT = re.compile(r"/([0-9a-f]{64})/checkpoint")
_COSIGNED = re.compile(r"size (0|[1-9][0-9]{0,18})\n\n")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_MOST_LINES = 64

FindWitness = Callable[[str], VerifyKey | None]
"""Return the key of the witness of this name; None for one that does not count here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    media_type: str = TEXT


class Witnessing:
    """One service's witness and its log's cosignatures. `close` it with the log."""

    def __init__(
        self,
        path: Path,
        log: EvidenceLog,
        *,
        clock: Clock,
        find_log: FindLog,
        find_witness: FindWitness,
    ) -> None:
        """Open the memory, and witness with the log's own key.

        Args:
            path: Where it is kept.
            log: Ours; alarms are recorded in it.
            clock: Unix seconds.
            find_log: The logs that we witness, by origin.
            find_witness: The witnesses of ours that count, by name.

        Raises:
            EvidenceUnavailable: The file cannot be opened.
        """
        self.log = log
        self.store = WitnessStore(path)
        self._clock, self._find_witness = clock, find_witness
        self.witness = Witness(
            self.store, log.key, clock=clock, find_log=find_log, on_alarm=self._record
        )

    def answer(
        self, method: str, path: str, query: str, body: bytes, *, said_at: float | None = None
    ) -> Answer:
        """Answer one call below `PREFIX`.

        Args:
            method: GET or POST.
            path: What follows the prefix.
            query: What follows the question mark.
            body: At most `MAX_BYTES`.
            said_at: When the log whose checkpoint this is sent it, where that is certain.

        Raises:
            EvidenceUnavailable: Log or memory cannot be read or written.
        """
        try:
            match method, path:
                case "POST", "/add-checkpoint":
                    return _text(self.witness.add_checkpoint(body, said_at=said_at))
                case "POST", "/cosignatures":
                    return _text(self.accept(body))
                case "GET", "/request":
                    return Answer(HTTPStatus.OK, self._request(query))
                case "GET", _ if found := _CHECKPOINT.fullmatch(path):
                    return _text(self.witness.checkpoint(found[1]))
        except WitnessRefused as refusal:
            return _refused(refusal)
        return Answer(HTTPStatus.NOT_FOUND, b"nothing here\n")

    def accept(self, body: bytes) -> str:
        """Keep the cosignatures over our checkpoint of a size; return how many, as a line.

        Raises:
            WitnessRefused: Malformed (400), or by nobody who counts here (403).
            EvidenceUnavailable: They could not be kept.
        """
        text = body.decode(errors="replace")
        head = _COSIGNED.match(text)
        lines = text[head.end() :].splitlines() if head else []
        if head is None or not 0 < len(lines) <= _MOST_LINES:
            raise WitnessRefused(Refusal.MALFORMED, "expected a size and signature lines")
        kept = sum(self._keep(f"{line}\n", int(head[1])) for line in lines)
        if not kept:
            raise WitnessRefused(Refusal.UNTRUSTED, "no known witness cosigned that checkpoint")
        return f"{kept}\n"

    def cosigned(self, *, at_least: int = 0) -> str | None:
        """Return our newest cosigned checkpoint of at least that size, None for none."""
        found = self.store.cosignatures(at_least=at_least)
        return None if found is None else self.log.checkpoint_at(found[0]) + "".join(found[1])

    def receipt(self, index: int) -> str:
        """Return the tlog-proof of an entry, under a checkpoint that witnesses cosigned.

        Where none of them saw the entry yet, it is under our newest one alone.

        Raises:
            EntryMissing: There is no such entry.
        """
        note = self.cosigned(at_least=index + 1)
        if note is None:
            return self.log.receipt(index)
        size = int(note.split("\n", 2)[1])
        return make_receipt(index, self.log.inclusion(index, size), note)

    def alarms(self) -> list[Alarm]:
        """Return every alarm, oldest first."""
        return self.store.alarms()

    def close(self) -> None:
        """Close the memory."""
        self.store.close()

    def _request(self, query: str) -> bytes:
        given = parse_qs(query, max_num_fields=4)
        numbers = {name: values[0] for name, values in given.items() if len(values) == 1}
        if not {"old"} <= set(numbers) <= {"old", "size"} or not all(
            _NUMBER.fullmatch(value) for value in numbers.values()
        ):
            raise WitnessRefused(Refusal.MALFORMED, "expected old=SIZE, and perhaps size=SIZE")
        size = int(numbers["size"]) if "size" in numbers else None
        try:
            return submission_of(self.log, int(numbers["old"]), size=size)
        except EntryMissing as error:
            raise WitnessRefused(Refusal.INCONSISTENT, str(error)) from error

    def _keep(self, line: str, size: int) -> bool:
        """Keep one line if a witness that counts gave it for our own checkpoint."""
        key = self._find_witness(line.removeprefix(DASH).partition(" ")[0])
        if key is None:
            return False
        try:
            verify_cosignature(self.log.checkpoint_at(size) + line, key)
        except (CheckpointInvalid, SignatureInvalid, EntryMissing):
            return False
        self.store.add_cosignature(key.name, size, line)
        return True

    def _record(self, alarm: Alarm) -> None:
        digest = hashlib.sha256(alarm.note.encode()).hexdigest()
        fields: dict[str, Value] = {
            "origin": alarm.origin,
            "what": alarm.what.value,
            "note_digest": digest,
        }
        self.log.append(Event(kind=EventKind.WITNESS_ALARM, at=alarm.found_at, fields=fields))


def origin_hash(origin: str) -> str:
    """Return what names a log in tlog-witness's path."""
    return hashlib.sha256(origin.encode()).hexdigest()


def write_cosignatures(size: int, lines: Sequence[str]) -> bytes:
    """Return the body that brings cosignatures over a log's checkpoint of a size."""
    return f"size {size}\n\n{''.join(lines)}".encode()


def _text(text: str) -> Answer:
    return Answer(HTTPStatus.OK, text.encode())


def _refused(refusal: WitnessRefused) -> Answer:
    """Return the status that tlog-witness asks for; a conflict says the size."""
    if refusal.why is Refusal.CONFLICT:
        return Answer(refusal.why, f"{refusal.size}\n".encode(), SIZE)
    return Answer(refusal.why, f"{refusal}\n".encode())
