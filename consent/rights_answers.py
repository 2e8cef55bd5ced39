"""What was gathered for a request, sealed under a key of the request alone until it is closed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from audit.errors import KeyDestroyed
from audit.keystore import Keystore
from consent.errors import Conflict
from consent.rights import Case
from consent.rights_store import RightsStore
from policies.vocabulary import SubjectId

_ANSWER = "answer"


class Answers:
    """Seals, opens, and destroys with the key."""

    def __init__(self, *, store: RightsStore, keystore: Keystore) -> None:
        self._store, self._keystore = store, keystore

    def keep(self, case: Case, source: str, report: Mapping[str, Any]) -> None:
        """Keep what one source says, in place of what it said before."""
        body, context = json.dumps(report).encode(), f"{case.case}/{source}".encode()
        sealed = self._keystore.seal(_holder(case), _ANSWER, body, context=context)
        self._store.keep_answer(case.case, source, sealed)

    def every(self, case: Case) -> dict[str, Any]:
        """Return all of it, by source.

        Raises:
            Conflict: It is destroyed.
        """
        found = self._store.answers(case.case)
        return {source: self._opened(case, source, sealed) for source, sealed in found}

    def destroy(self, case: Case) -> None:
        """Destroy the key, and then what it sealed."""
        self._keystore.destroy(_holder(case))
        self._store.drop_answers(case.case)

    def _opened(self, case: Case, source: str, sealed: bytes) -> Any:
        context = f"{case.case}/{source}".encode()
        try:
            return json.loads(self._keystore.open(_holder(case), _ANSWER, sealed, context=context))
        except KeyDestroyed as error:
            raise Conflict("what was gathered is destroyed: open a new request") from error


def _holder(case: Case) -> SubjectId:
    """Name whose key seals the answers: the request's own, no person's."""
    return SubjectId(f"request.{case.case}")
