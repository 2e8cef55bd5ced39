"""Which nodes there are, whose they are, and proof that a request is one's own."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from audit.errors import KeyInvalid, RequestExpired, SignatureInvalid, WitnessRefused
from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.signing import ReplayGuard, VerifyKey, verify_request
from audit.submission import read_submission
from audit.witnessing import origin_hash
from audit.wrong_attempts import WrongAttempts
from consent.errors import Conflict, RequestInvalid
from consent.ledger import Ledger
from consent.tables import NodeRow
from consent.wire import NodeIn
from policies.clock import Clock

NODE_ORIGIN = "undertone/"
"""What every node's log's origin begins with."""


class Enrolment:
    """The enrolled nodes; they are few, and kept in memory beside the ledger."""

    def __init__(self, *, ledger: Ledger, log: EvidenceLog, clock: Clock) -> None:
        self._ledger = ledger
        self._log = log
        self._clock = clock
        self._replay = ReplayGuard()
        self._wrong = WrongAttempts(clock=clock)
        self._lock = threading.Lock()
        self._by_key = {row.key_name: row for row in ledger.nodes()}

    def enrol(self, wanted: NodeIn) -> NodeRow:
        """Log and then remember a node; the same again changes nothing.

        Raises:
            RequestInvalid: The key is not a verify key.
            Conflict: The node or the key's name is enrolled otherwise.
            EvidenceUnavailable, LedgerUnavailable: Nothing was enrolled.
        """
        try:
            key = VerifyKey.parse(wanted.key)
        except KeyInvalid as error:
            raise RequestInvalid(f"node {wanted.node}: {error}") from error
        with self._lock:
            return self._known(wanted, key) or self._add(wanted, key)

    def _known(self, wanted: NodeIn, key: VerifyKey) -> NodeRow | None:
        named = {row.node: row for row in self._by_key.values()}.get(wanted.node)
        holder = self._by_key.get(key.name)
        if named is None and holder is None:
            return None
        wants = (str(key), wanted.company)
        if named is not None and named is holder and (named.vkey, named.company) == wants:
            return named
        raise Conflict(
            f"node {wanted.node} or key {key.name} is enrolled otherwise: choose another name"
        )

    def _add(self, wanted: NodeIn, key: VerifyKey) -> NodeRow:
        event = Event(
            kind=EventKind.NODE_ENROLLED,
            at=self._clock(),
            fields={"node": wanted.node, "key": str(key), "company": wanted.company},
        )
        index = self._log.append(event)
        row = NodeRow(
            node=wanted.node,
            key_name=key.name,
            vkey=str(key),
            company=wanted.company,
            enrolled_at=event.at,
            log_index=index,
        )
        self._ledger.add_node(row)
        self._by_key[key.name] = row
        return row

    def authenticate(
        self, headers: Mapping[str, str], *, method: str, path: str, body: bytes, address: str
    ) -> NodeRow:
        """Return the node that signed this very request just now.

        Wrong keys and signatures are counted, and too many are told to wait. A right one is never
        kept waiting for what others do beside it: a signature is not found by trying, and a node
        that cannot hear closes its gate.

        Args:
            headers: The request's headers.
            method: The HTTP method.
            path: The path with its query, as it came over the wire.
            body: The body, byte for byte.
            address: Where it came from.

        Raises:
            SignatureInvalid, RequestExpired: As in `audit.requests.verify_request`.
            TooManyAttempts: It is wrong, and so were too many before.
        """
        try:
            name = verify_request(
                headers,
                method=method,
                path=path,
                body=body,
                find_key=self._find_key,
                now=self._clock(),
                replay=self._replay,
            )
        except RequestExpired:
            raise  # it has the key, and a clock that is off or a request seen before
        except SignatureInvalid:
            self._slow_down(address, headers)
            raise
        return self._by_key[name]

    def _slow_down(self, address: str, headers: Mapping[str, str]) -> None:
        """Count a wrong signature; a request without any tries nothing."""
        if "undertone-signature" in headers:
            claimed = headers.get("undertone-key", "")[:64]
            self._wrong.check(address, claimed)
            self._wrong.wrong(address, claimed)

    def _find_key(self, name: str) -> VerifyKey | None:
        row = self._by_key.get(name)
        return None if row is None else VerifyKey.parse(row.vkey)

    def find_log(self, origin: str) -> VerifyKey | None:
        """Return the key of the log with this origin: a node's, or the coordinator's.

        A node's log is `undertone/NODE`, whatever its key is called; another's is its key's name.
        """
        node = origin.removeprefix(NODE_ORIGIN)
        if node == origin:
            return self._find_key(origin)
        rows = (row for row in self._by_key.values() if row.node == node)
        return next((VerifyKey.parse(row.vkey) for row in rows), None)

    def owns(self, node: NodeRow, submission: bytes) -> bool:
        """Return whether a submission to a witness is of this node's own log."""
        try:
            key = self.find_log(read_submission(submission).claimed.origin)
        except WitnessRefused:
            return False
        return key is not None and str(key) == node.vkey

    def owner_of(self, path: str) -> NodeRow | None:
        """Return the node whose log's checkpoint lies at a witness's path; None for no node's."""
        for row in self._by_key.values():
            if path.startswith(f"/{origin_hash(NODE_ORIGIN + row.node)}/"):
                return row
        return None

    def find_witness(self, name: str) -> VerifyKey | None:
        """Return the key of an enrolled node that may witness our log."""
        return self._find_key(name)

    def company_of(self, node: str) -> str:
        """Return whose a node is; nobody's where it is not enrolled."""
        return next((row.company for row in self._by_key.values() if row.node == node), "")

    def count(self) -> int:
        """Return how many nodes are enrolled."""
        return len(self._by_key)
