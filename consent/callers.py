"""Who calls: a node by its signature, the officer by theirs, anybody at the witness, and of whom.

Not here: staff, who sign in (`audit.portal.access`).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from audit.requests import ReplayGuard, verify_request
from audit.signing import VerifyKey
from audit.witnessing import PREFIX, Answer, Witnessing
from consent.acts import Acts, Person
from consent.enrolment import Enrolment
from consent.errors import RequestInvalid
from consent.tables import NodeRow
from consent.wire import OnSomeone
from policies.clock import Clock
from policies.vocabulary import SubjectId


class Callers:
    """Tells callers of the service's interface from one another; thread-safe."""

    def __init__(
        self,
        *,
        enrolment: Enrolment,
        acts: Acts,
        witnessing: Witnessing,
        officer_key: VerifyKey,
        clock: Clock,
    ) -> None:
        self.enrolment, self.acts, self.witnessing = enrolment, acts, witnessing
        self._officer_key, self._officer_replay = officer_key, ReplayGuard()
        self._clock = clock

    def authenticate(
        self, headers: Mapping[str, str], *, method: str, path: str, body: bytes, address: str
    ) -> NodeRow:
        """Return the enrolled node that signed the request; see `Enrolment.authenticate`."""
        return self.enrolment.authenticate(
            headers, method=method, path=path, body=body, address=address
        )

    def check_officer(self, headers: Mapping[str, str], *, method: str, path: str) -> None:
        """Return if a request without a body is signed with the officer's key.

        Raises:
            SignatureInvalid, RequestExpired: It is not, or not just now, or a second time.
        """
        verify_request(
            headers,
            method=method,
            path=path,
            body=b"",
            find_key=lambda name: self._officer_key if name == self._officer_key.name else None,
            now=self._clock(),
            replay=self._officer_replay,
        )

    def witness(
        self,
        headers: Mapping[str, str],
        *,
        method: str,
        path: str,
        query: str,
        body: bytes,
        address: str,
    ) -> Answer:
        """Answer a call to our witness, which anyone may make; see `audit.witnessing`.

        A request signed by a node is the word of that node's own log, at the second it says. A
        node's checkpoint, whose size tells how busy the branch is, goes to that node alone: how
        much a branch does is private towards coordinator and other nodes (promise 7).

        Raises:
            SignatureInvalid, RequestExpired: It is signed, and the signature does not hold.
            EvidenceUnavailable: Nothing could be remembered.
        """
        said_at, node = None, None
        if "undertone-signature" in headers:
            whole = f"{PREFIX}{path}" + (f"?{query}" if query else "")
            node = self.authenticate(headers, method=method, path=whole, body=body, address=address)
            if self.enrolment.owns(node, body):
                said_at = float(headers["undertone-time"])
        owner = self.enrolment.owner_of(path)
        if owner is not None and (node is None or node.node != owner.node):
            return Answer(HTTPStatus.NOT_FOUND, b"nothing here\n")
        return self.witnessing.answer(method, path, query, body, said_at=said_at)

    def whom(self, said: OnSomeone, node: NodeRow | None) -> Person:
        """Return whom an act concerns: by manage token, or by pseudonym through a node.

        Raises:
            NotFound: Nobody's token, or no such person at the node's company.
            RequestInvalid: A pseudonym without a node.
        """
        if said.manage_token is not None:
            return self.acts.holder(said.manage_token)
        if node is None or said.subject is None:
            raise RequestInvalid("an act on a pseudonym comes through an enrolled node")
        return self.acts.person(node, SubjectId(said.subject))
