"""Where other processes of this machine hand events to the one writer: a Unix socket of its own.

A submission is answered when its entries are durable, and under its id it is recorded once: a
process whose answer was lost, because either side was killed, submits the same again and gets the
place it has (`audit.once`). A socket and no table, because the log then keeps its one writer, on
SQLite and PostgreSQL alike, and nobody else needs a right on its database.

Who submits is known by the kernel's word (SO_PEERCRED) beside the socket's mode 0600. What was
decided, only the gate in the writer's own process records. What is refused is itself recorded,
by reason and field (`audit.refusals`).

    submission   {"v":1,"id":ID,"drafts":[{"event":EVENT,"private":JSON,"subject":ID},..]} and LF
    answer       {"first":INDEX} or {"refused":REASON,"field":FIELD,"detail":TEXT}, and LF

Not here: the submitting side (`audit.submitter`).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audit.errors import EventInvalid, EvidenceUnavailable, ServeFailed
from audit.events import EventKind, event_from_dict
from audit.log import Draft, EvidenceLog
from audit.refusals import Kind, Refusals
from audit.sealed_leaves import NEVER_DROPPED
from policies.canonical import canonical
from policies.errors import UndertoneError
from policies.vocabulary import SubjectId

VERSION = 1
MAX_SUBMISSION_BYTES = 4 * 1024 * 1024
MOST_DRAFTS = 1024
MOST_PEERS = 64
"""Connections at a time; more are closed at once, and try again."""
DECISIONS = frozenset({EventKind.DECISION, EventKind.BATCH_DECISION})
SUBMITTED = frozenset(EventKind) - DECISIONS - NEVER_DROPPED
"""What other processes may record: not what the gate alone does, nor what the service that owns the
log acts on when it reads it: keys, holds, what was removed, sealed, spent or destroyed."""
UNAVAILABLE = "evidence-unavailable"

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7))
_MEMBERS = frozenset({"v", "id", "drafts"})
_DRAFT = frozenset({"event", "private", "subject"})
_EVENT = frozenset({"kind", "at", "fields"})


class Intake:
    """Listens for submissions until closed; each connection has a thread."""

    def __init__(
        self,
        log: EvidenceLog,
        path: Path,
        *,
        refusals: Refusals,
        kinds: frozenset[EventKind] = SUBMITTED,
        peers: frozenset[int] | None = None,
    ) -> None:
        """Listen on a Unix socket of mode 0600, in the place of one that a crash left.

        Args:
            log: The log, whose one owner this process is.
            path: Where the socket lies.
            refusals: Records what is refused.
            kinds: What may be submitted.
            peers: The users (uid) who may submit; this process's own if not given.

        Raises:
            ServeFailed: The socket cannot be made.
        """
        self._log, self._refusals, self._kinds, self._path = log, refusals, kinds, path
        self._peers = frozenset({os.geteuid()}) if peers is None else peers
        self._places = threading.BoundedSemaphore(MOST_PEERS)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._socket = _listen(path)
        self._thread = threading.Thread(target=self._accept, name="intake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end every connection; more than once does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._path.unlink(missing_ok=True)
            for one in (self._socket, *self._connections):
                with contextlib.suppress(OSError):  # gone already
                    one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            with self._lock:
                if self._closed or not self._places.acquire(blocking=False):
                    connection.close()
                    continue
                self._connections.add(connection)
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        """Answer one process, one submission after another, until it goes or sends nonsense."""
        try:
            with connection, connection.makefile("rb") as lines:
                allowed = peer_uid(connection) in self._peers
                for answer in self._answers(lines) if allowed else self._stranger():
                    connection.sendall(canonical(answer) + b"\n")
        except OSError:
            return  # the process went: what it submitted is recorded all the same
        finally:
            with self._lock:
                self._connections.discard(connection)
            self._places.release()

    def _stranger(self) -> Iterator[dict[str, Any]]:
        yield self._refuse("peer-refused", "uid", "this user may not submit to this log")

    def _answers(self, lines: Any) -> Iterator[dict[str, Any]]:
        while line := lines.readline(MAX_SUBMISSION_BYTES + 1):
            if len(line) > MAX_SUBMISSION_BYTES:
                text = f"a submission has at most {MAX_SUBMISSION_BYTES} bytes"
                yield self._refuse("content-too-large", "body", text)
                return
            if not line.endswith(b"\n"):
                return  # the process was killed while it wrote
            yield self._answer(line)

    def _answer(self, line: bytes) -> dict[str, Any]:
        """Record a submission; return its first index, or why there is none."""
        try:
            submission, drafts = self._read(line)
            return {"first": self._log.append_many(drafts, submission=submission).start}
        except EventInvalid as error:
            return self._refuse("event-invalid", error.field, str(error))
        except EvidenceUnavailable as error:
            return {"refused": UNAVAILABLE, "field": "", "detail": str(error)}
        except UndertoneError as error:
            return self._refuse("submission-refused", "", str(error))
        except Exception as error:  # noqa: BLE001 (the last net; a message may quote content)
            text = f"something broke ({type(error).__name__})"
            return {"refused": UNAVAILABLE, "field": "", "detail": text}

    def _read(self, line: bytes) -> tuple[str, list[Draft]]:
        """Return a submission's id and drafts.

        Raises:
            EventInvalid: It is no submission of this version; names the field.
        """
        try:
            value = json.loads(line.decode("utf-8"), object_pairs_hook=_no_doubles)
        except UnicodeDecodeError as error:
            raise EventInvalid("a submission is UTF-8", field="body") from error
        except (ValueError, RecursionError) as error:
            raise EventInvalid("a submission is one line of JSON", field="body") from error
        _expect(value, _MEMBERS, "body")
        if value["v"] != VERSION:
            raise EventInvalid(f"a submission of version {VERSION} was expected", field="v")
        drafts = value["drafts"]
        if not isinstance(drafts, list) or not 0 < len(drafts) <= MOST_DRAFTS:
            raise EventInvalid(f"a submission has 1 to {MOST_DRAFTS} drafts", field="drafts")
        if not isinstance(value["id"], str):
            raise EventInvalid("a submission's id is text", field="id")
        return value["id"], [self._draft(draft) for draft in drafts]

    def _draft(self, value: Any) -> Draft:
        _expect(value, _DRAFT, "drafts")
        _expect(value["event"], _EVENT, "event")
        event = event_from_dict(value["event"])
        if event.kind not in self._kinds:
            raise EventInvalid(f"{event.kind} is recorded by its own service alone", field="kind")
        private, subject = value["private"], value["subject"]
        if private is not None and not isinstance(private, dict):
            raise EventInvalid("a private payload is an object or null", field="private")
        if subject is not None and not isinstance(subject, str):
            raise EventInvalid("a subject is a pseudonym or null", field="subject")
        return Draft(event, private, None if subject is None else SubjectId(subject))

    def _refuse(self, reason: str, field: str, detail: str) -> dict[str, Any]:
        self._refusals.note(Kind(reason, field))
        return {"refused": reason, "field": field, "detail": detail}


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Name a socket by its folder's descriptor: a path of any length fits (unix(7): 107 bytes).

    Raises:
        OSError: The folder is not there.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end, as the kernel knows it."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def _listen(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)  # whoever owns the log owns its socket: nobody listens there
        with socket_address(path) as address:
            os.fchmod(bound.fileno(), 0o600)  # before anybody can connect
            bound.bind(address)
        path.chmod(0o600)
        bound.listen(MOST_PEERS)
    except OSError as error:
        bound.close()
        raise ServeFailed(f"cannot listen on {path.name}: {error.strerror or error}") from error
    return bound


def _expect(value: Any, members: frozenset[str], field: str) -> None:
    """Return if this is an object of exactly these members."""
    if not isinstance(value, Mapping):
        raise EventInvalid(f"{field} holds no object", field=field)
    if missing := members - set(value):
        raise EventInvalid(f"{field} lacks {', '.join(sorted(missing))}", field=min(missing))
    if set(value) - members:
        raise EventInvalid(f"{field} has a member that is not known", field=field)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object whose names differ: of two values, two readers could take another."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found
