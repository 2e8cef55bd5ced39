"""The Rego twin of the rules, asked with the values as they travel.

Independent of `policies.question` and of Cedar, so that a mistake in either shows.
"""

from __future__ import annotations

import json
from pathlib import Path

from regopy import Interpreter

from policies.decision import UseRequest, request_to_dict
from policies.law import LAW
from policies.standing import Governance, Standing, governance_to_dict, standing_to_dict

TWIN_FILE = Path(__file__).with_name("twin.rego")
_CLOCKS = {
    "clock_skew_s": LAW.clocks.clock_skew_s,
    "session_s": LAW.clocks.emotion_session_hours * 3_600,
    "ask_again_s": LAW.clocks.ask_again_days * 86_400,
    "calm_test_s": LAW.clocks.calm_test_days * 86_400,
}


class Twin:
    """The same rules in Rego, compiled once."""

    def __init__(self, text: str | None = None) -> None:
        self._rego = Interpreter()
        self._rego.add_module("twin.rego", text or TWIN_FILE.read_text("utf-8"))
        self._bundle = self._rego.build("data.twin.answer", ["twin/answer"])

    def decide(
        self, request: UseRequest, standing: Standing | None, governance: Governance, *, now: int
    ) -> tuple[bool, tuple[str, ...]]:
        """Return whether the use is allowed, and the rules behind the answer."""
        asked = {
            "request": request_to_dict(request),
            "governance": governance_to_dict(governance),
            "now": now,
            **_CLOCKS,
        }
        if standing is not None:
            asked["standing"] = standing_to_dict(standing)
        return self.answer(asked)

    def answer(self, asked: dict[str, object]) -> tuple[bool, tuple[str, ...]]:
        """Return the same for a question as JSON values."""
        self._rego.set_input_term(json.dumps(asked))  # JSON is Rego; three times faster
        answer = json.loads(str(self._rego.query_bundle(self._bundle)))["expressions"][0]
        return answer["allowed"], tuple(sorted(answer["rules"]))
