"""The submitting side: a process that does not own the log, and appends to it all the same.

`append` returns when the entry is durable in the log of the process that owns it. Where that was
killed, or this connection broke, the same submission is sent again until `timeout_s`: under its id
it is recorded once. A process that may itself be killed gives ids of its own (`submission`), and
submits again what it has no answer to.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.errors import EventInvalid, EvidenceUnavailable
from audit.events import Event, event_to_dict
from audit.intake import MAX_SUBMISSION_BYTES, UNAVAILABLE, VERSION, peer_uid, socket_address
from audit.log import Draft
from policies.canonical import Canonical, canonical
from policies.vocabulary import SubjectId

_PAUSE_S = 0.02
_MOST_ANSWER_BYTES = 64 * 1024


class Submitter:
    """Appends to another process's log; thread-safe."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0, owner: int | None = None) -> None:
        """Name the socket; nothing is connected yet.

        Args:
            path: The socket of the log's owner (`audit.intake`).
            timeout_s: Seconds for which an owner that does not answer is asked again.
            owner: The user (uid) who must own the log; this process's own if not given.
        """
        self._path, self._timeout_s = path, timeout_s
        self._owner = os.geteuid() if owner is None else owner
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None

    def append(
        self,
        event: Event,
        *,
        private: Mapping[str, Any] | None = None,
        subject: SubjectId | None = None,
        submission: str | None = None,
    ) -> int:
        """Record an event; return its index once it is durable; see `append_many`."""
        return self.append_many([Draft(event, private, subject)], submission=submission)[0]

    def append_many(self, drafts: Sequence[Draft], *, submission: str | None = None) -> range:
        """Record events together, all or none; return their indices.

        Args:
            drafts: What to record.
            submission: The id under which these same events are recorded once, however often they
                are submitted; a fresh one if not given.

        Raises:
            EventInvalid: The owner refused it; says the field.
            EvidenceUnavailable: Nobody said that it is durable. It may be: submit it again under
                the same id.
        """
        if not drafts:
            return range(0)
        line = _line(submission or secrets.token_hex(16), drafts)
        with self._lock:
            answer = self._ask(line)
        if "first" in answer:
            first = int(answer["first"])
            return range(first, first + len(drafts))
        detail = str(answer.get("detail", "the log's owner refused without a reason"))
        if answer.get("refused") == UNAVAILABLE:
            raise EvidenceUnavailable(detail)
        raise EventInvalid(detail, field=str(answer.get("field", "")))

    def close(self) -> None:
        """End the connection; more than once does nothing."""
        with self._lock:
            self._drop()

    def _ask(self, line: bytes) -> dict[str, Any]:
        """Send until there is an answer."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._exchange(line, max(deadline - time.monotonic(), _PAUSE_S))
            except (OSError, ValueError) as error:
                self._drop()
                if time.monotonic() + _PAUSE_S >= deadline:
                    raise EvidenceUnavailable(
                        f"the log's owner did not answer on {self._path.name} for "
                        f"{self._timeout_s:g} s: start it, and submit again under the same id"
                    ) from error
            time.sleep(_PAUSE_S)

    def _exchange(self, line: bytes, wait_s: float) -> dict[str, Any]:
        connection = self._connection = self._connection or self._connect()
        connection.settimeout(wait_s)
        connection.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            part = connection.recv(_MOST_ANSWER_BYTES)
            if not part or len(answer) > _MOST_ANSWER_BYTES:
                raise ConnectionError("the log's owner went before it answered")
            answer += part
        found: dict[str, Any] = json.loads(answer)
        return found

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_address(self._path) as address:
                connection.connect(address)
            found = peer_uid(connection)
        except OSError:
            connection.close()
            raise
        if found != self._owner:
            connection.close()
            raise EvidenceUnavailable(
                f"{self._path.name} is held by user {found}, not {self._owner}: nothing was sent"
            )
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _line(submission: str, drafts: Sequence[Draft]) -> bytes:
    """Return a submission's bytes.

    Raises:
        EventInvalid: A payload is not JSON, or it is too long.
    """
    rows = [
        {
            "event": event_to_dict(draft.event),
            "private": _object(draft.private),
            "subject": draft.subject,
        }
        for draft in drafts
    ]
    try:
        line = canonical({"v": VERSION, "id": submission, "drafts": rows}) + b"\n"
    except (ValueError, RecursionError) as error:
        raise EventInvalid("a private payload must be JSON", field="private") from error
    if len(line) > MAX_SUBMISSION_BYTES:
        text = f"a submission has at most {MAX_SUBMISSION_BYTES} bytes, this {len(line)}"
        raise EventInvalid(text, field="body")
    return line


def _object(private: Mapping[str, Any] | Canonical | None) -> dict[str, Any] | None:
    if isinstance(private, bytes):
        value: dict[str, Any] = json.loads(private)
        return value
    return None if private is None else dict(private)
