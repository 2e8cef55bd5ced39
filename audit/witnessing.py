"""A service's part in mutual witnessing: it witnesses others, and others witness its log.

    POST /v1/witness/add-checkpoint            a log submits to us (C2SP tlog-witness)
    GET  /v1/witness/{origin hash}/checkpoint  what we cosigned last of a log (tlog-witness);
                                               who may know it is the service's to say
    GET  /v1/witness/request?old=N[&size=M]    what our log would submit to a witness
    POST /v1/witness/cosignatures              `size N`, an empty line, a witness's lines
    POST /v1/witness/add-keys                  as add-checkpoint, with the entries that changed the
                                               log's keys before it (`audit.key_history`)
    GET  /v1/witness/keys?old=N                the same of our own log
    GET  /v1/witness/{origin hash}/keys        the entries by which we learned a log's later keys

Request and cosignatures let a witness that nobody can call, a node behind its router, fetch what
a log would have sent, and bring its cosignature. `answer` speaks no framework: each service's API
hands it what came. `Exchange` is the other side, for whoever calls.

Who is not there is met later: one consistency proof covers all that was missed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

from audit.checkpoint import DASH, signatures_of
from audit.cosignature import cosigner_id, verify_cosignature
from audit.errors import (
    CheckpointInvalid,
    EntryMissing,
    Refusal,
    SignatureInvalid,
    WitnessRefused,
)
from audit.events import Event, EventKind, Value
from audit.key_chain import KeyChain
from audit.key_history import MAX_BYTES as MAX_KEYS_BYTES
from audit.key_history import write_history
from audit.keys import SigningKey, VerifyKey
from audit.log import EvidenceLog
from audit.receipt import make_receipt
from audit.submission import submission_of
from audit.witness import FindLog, Witness
from audit.witness_store import Alarm, WitnessStore
from policies.clock import Clock

PREFIX = "/v1/witness"
MAX_BYTES = MAX_KEYS_BYTES
TEXT, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"

_SEEN = re.compile(r"/([0-9a-f]{64})/(checkpoint|keys)")
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
            self.store,
            log.key,
            clock=clock,
            find_log=find_log,
            on_alarm=self._record,
            signers=self._signers,
        )

    def _signers(self) -> list[SigningKey]:
        """Return what we cosign with: the first key, for who heard of no other, and the log's."""
        keys = (self.log.key, *self.log.keys.signers)
        return list({key.verify_key: key for key in keys}.values())

    def answer(  # noqa: PLR0911 (a row a path)
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
                case _, "/add-keys" | "/keys":
                    return self._about_keys(method, query, body, said_at)
                case "GET", "/request":
                    return Answer(HTTPStatus.OK, self._request(query))
                case "GET", _ if found := _SEEN.fullmatch(path):
                    return _text(self._seen(found[1], found[2]))
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
        size = int(head[1])
        given: dict[str, list[str]] = {}
        for line in lines:
            if (name := self._whose(f"{line}\n", size)) is not None:
                given.setdefault(name, []).append(f"{line}\n")
        for name, theirs in given.items():
            self.store.add_cosignature(name, size, "".join(theirs))
        kept = sum(map(len, given.values()))
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

    def lacks_witness_keys(self, lines: str, first: VerifyKey) -> bool:
        """Return whether a witness's lines may be by keys that were not learned yet.

        They bear another, or two signed when it was last asked: one may be retired since.
        """
        keys = self.store.keys_of(first)
        known = {cosigner_id(term.key) for term in keys.terms}
        named = signatures_of(f"-\n\n{lines}") if lines else []
        borne = {line[:4] for name, line in named if name == first.name}
        return len(keys.in_force) > 1 or not borne <= known

    def _about_keys(self, method: str, query: str, body: bytes, said_at: float | None) -> Answer:
        if method == "POST":
            return _text(self.witness.add_keys(body, said_at=said_at))
        given = parse_qs(query, max_num_fields=4).get("old", [])
        if len(given) != 1 or not _NUMBER.fullmatch(given[0]):
            raise WitnessRefused(Refusal.MALFORMED, "expected old=SIZE")
        return Answer(HTTPStatus.OK, write_history(self.log, int(given[0])))

    def _seen(self, origin_hash: str, what: str) -> str:
        if what == "keys":
            return write_changes(self.witness.keys_at(origin_hash))
        return self.witness.checkpoint(origin_hash)

    def _whose(self, line: str, size: int) -> str | None:
        """Return the witness that counts and gave this line for our own checkpoint."""
        first = self._find_witness(line.removeprefix(DASH).partition(" ")[0])
        if first is None:
            return None
        for key in self.store.keys_of(first).witness_keys(self._clock()):
            with suppress(CheckpointInvalid, SignatureInvalid, EntryMissing):
                verify_cosignature(self.log.checkpoint_at(size) + line, key)
                return first.name
        return None

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


def write_changes(keys: KeyChain) -> str:
    """Return the entries of a chain, a line each: index and leaf."""
    return "".join(f"{i} {base64.b64encode(leaf).decode()}\n" for i, leaf in keys.events)


def read_changes(body: bytes) -> list[tuple[int, bytes]]:
    """Return the entries of `write_changes`, unverified.

    Raises:
        ValueError: Malformed.
    """
    pairs = (line.split(" ") for line in body.decode("ascii").splitlines())
    return [(int(index), base64.b64decode(leaf, validate=True)) for index, leaf in pairs]


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
