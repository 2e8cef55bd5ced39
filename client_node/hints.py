"""The approved hints to agents (rule 21): empathy and de-escalation, nothing that closes a sale.

The shipped list is pinned by its hash. An organisation's own list comes in an envelope that its
compliance officer signed. Either is refused as a whole if the guard finds anything in one hint:
a list is public within the organisation, so the refusal may name the phrase.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from audit.signing import VerifyKey, unseal
from client_node.errors import HintsRejected
from models.message_guard import MessageGuard
from policies.errors import MessageBlocked
from policies.messages import Audience, CheckedMessage, FoundBy
from policies.vocabulary import Digest, Emotion

HINTS_DIGEST = Digest("7346d5afef30fd38ef8e8de263fdfff5c23f1e1c14a61485c2301e17e37394ff")
"""SHA-256 of the shipped `hints.toml`."""
KIND = "agent-hints"
"""The kind of envelope in which an organisation's list comes."""


class Step(StrEnum):
    """Where in a conversation the agent is."""

    OPENING = "opening"
    CLARIFYING = "clarifying"
    SOLVING = "solving"
    WAITING = "waiting"
    ENDING = "ending"


Moment = tuple[Emotion, Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedHints:
    """What may be shown to an agent; every hint was read by the guard.

    `digest` names the list, for the log.
    """

    digest: Digest
    _hints: Mapping[Moment, tuple[CheckedMessage, ...]]

    def at(self, state: Emotion, step: Step) -> tuple[CheckedMessage, ...]:
        """Return the hints for an expressed cue and a step; those for neutral where none are."""
        return self._hints.get((state, step)) or self._hints.get((Emotion.NEUTRAL, step), ())

    def __len__(self) -> int:
        """Return how many hints there are."""
        return sum(map(len, self._hints.values()))


def shipped_hints(guard: MessageGuard) -> ApprovedHints:
    """Return the list that comes with this version.

    Raises:
        HintsRejected: Its bytes are not those that were shipped, or the guard objects.
    """
    data = (files("client_node") / "hints.toml").read_bytes()
    return pinned_hints(data, HINTS_DIGEST, guard)


def pinned_hints(data: bytes, expected: Digest, guard: MessageGuard) -> ApprovedHints:
    """Return the list in these bytes, in the order: hash, form, guard.

    Raises:
        HintsRejected: The bytes have another hash, are no list, or the guard objects.
    """
    if (got := hashlib.sha256(data).hexdigest()) != expected:
        raise HintsRejected(
            f"hints are not the approved ones: expected sha256 {expected}, got {got}"
        )
    return _approved(_parsed(data.decode("utf-8", "replace")), Digest(got), guard)


def signed_hints(envelope: bytes, officer: VerifyKey, guard: MessageGuard) -> ApprovedHints:
    """Return an organisation's list from its envelope, in the order: signature, form, guard.

    Args:
        envelope: Of kind `agent-hints`; its body has the list as TOML under `hints`.
        officer: The compliance officer's key.
        guard: Reads every hint.

    Raises:
        EnvelopeInvalid: It is no such envelope.
        SignatureInvalid: The officer did not sign it.
        HintsRejected: Its body is no list, or the guard objects.
    """
    body = unseal(KIND, envelope, officer)
    if set(body) != {"hints"} or not isinstance(body["hints"], str):
        raise HintsRejected("a signed list of hints has one part, hints, which is TOML text")
    digest = Digest(hashlib.sha256(envelope).hexdigest())
    return _approved(_parsed(body["hints"]), digest, guard)


def _approved(
    hints: Mapping[Moment, tuple[str, ...]], digest: Digest, guard: MessageGuard
) -> ApprovedHints:
    checked = {
        moment: tuple(_checked(text, moment, guard) for text in texts)
        for moment, texts in hints.items()
    }
    return ApprovedHints(digest=digest, _hints=MappingProxyType(checked))


def _checked(text: str, moment: Moment, guard: MessageGuard) -> CheckedMessage:
    try:
        return guard.check(text, Audience.AGENT)
    except MessageBlocked as blocked:
        verdict = blocked.verdict  # the lexicon's phrases are the narrower ones
        first = min(verdict.findings, key=lambda f: f.found_by is not FoundBy.LEXICON)
        raise HintsRejected(
            f"hint for {moment[0]}, {moment[1]}: {verdict.phrase(first)!r} is {first.pattern} "
            f"(rule {first.rule}; {first.named}). {first.suggestion}"
        ) from blocked


def _parsed(text: str) -> dict[Moment, tuple[str, ...]]:
    try:
        rows = tomllib.loads(text)["hint"]
        hints = {moment: texts for row in rows for moment, texts in _moments(row)}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise HintsRejected(
            f"hints cannot be read ({type(error).__name__}): expected [[hint]] tables with a state "
            f"and lists of texts for {', '.join(Step)}"
        ) from error
    if not hints:
        raise HintsRejected("a list of hints has at least one hint")
    return hints


def _moments(row: Mapping[str, Any]) -> Iterator[tuple[Moment, tuple[str, ...]]]:
    """Yield the texts of each step; anything but a step, its state and texts is a mistake."""
    state = Emotion(row["state"])
    for name, texts in row.items():
        if name != "state":
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise TypeError(name)
            yield (state, Step(name)), tuple(texts)
