"""Help to the agent: approved hints for the moment, and the company's own articles.

Hints come from the approved list alone (rule 21), by expressed cue and step of the conversation;
articles by what the turn is about. Neither is generated, and neither says how a customer is.
"""

from __future__ import annotations

from dataclasses import dataclass

from client_node.articles import Articles
from client_node.hints import ApprovedHints
from client_node.redaction import Redacts
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import Emotion, Objective, Purpose, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Assist:
    """Chooses hints, and finds articles where the company has given some."""

    hints: ApprovedHints
    articles: Articles | None
    redactor: Redacts

    described = Described(
        name="assist",
        use=Use.AGENT_HINT,
        purpose=Purpose.AGENT_HELP,
        objective="the agent has a calming word and the right article at hand",
        serves=Objective.HELP,
        rules=(4, 16, 21, 22, 24, 26),
        abstains="from a cue where the reading abstained: the hints are then those for any "
        "conversation; from articles where none is alike enough",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading; none where it abstained, and then the hints rest on none."""
        return cue_facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return the hints, and the passages most alike.

        Raises:
            PermitInvalid: Not a permit for this help now.
            RedactionUnavailable: The text cannot be searched for.
        """
        self.described.show(permit, asked, now=now)
        state = Emotion.NEUTRAL if asked.emotion is None else asked.emotion
        return {
            "hints": [hint.text for hint in self.hints.at(state, asked.step)],
            "step": asked.step.value,
            "because": _because(asked),
            "articles": self._articles(asked.text),
        }

    def _articles(self, text: str) -> list[dict[str, object]]:
        if self.articles is None or not text:
            return []
        return [
            {
                "article": found.passage.article,
                "title": found.passage.title,
                "passage": found.passage.text,
                "alike": round(found.alike, 3),
            }
            for found in self.articles.find(self.redactor.redact(text).text)
        ]


def _because(asked: AskedUse) -> str:
    if asked.emotion is None:
        return "no cue was read for sure: hints for any conversation"
    return f"approved for expressed cues of {asked.emotion.value}, {asked.step.value}"
