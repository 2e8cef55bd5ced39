"""Replies in several tones: approved texts by topic and expressed cue, as data.

The shipped list is pinned by its hash; an organisation's own comes in an envelope that its
compliance officer signed. Either is refused as a whole if the guard finds anything in one text.
What goes to a customer ends with `ORIGIN`, which says that a machine drafted it (rule 20).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from audit.signing import VerifyKey, unseal
from client_node.errors import RepliesRejected, TurnInvalid
from models.message_guard import MessageGuard
from policies.errors import MessageBlocked
from policies.messages import CheckedMessage
from policies.vocabulary import Digest, Emotion

REPLIES_DIGEST = Digest("2664e1df2bfa73c2868523147ad87cd9a2a270685164893ab7484c3af2554ebf")
"""SHA-256 of the shipped `replies.toml`."""
KIND = "reply-texts"
"""The kind of envelope in which an organisation's list comes."""
ORIGIN = "A machine drafted this message, and a member of our staff read and approved it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyTexts:
    """The texts, each read by the guard with its last sentence; `digest` names the list."""

    digest: Digest
    _texts: Mapping[str, Mapping[Emotion, CheckedMessage]]

    @property
    def topics(self) -> tuple[str, ...]:
        """What there are replies about."""
        return tuple(sorted(self._texts))

    def at(self, topic: str, state: Emotion) -> CheckedMessage:
        """Return the text for an expressed cue, or the one for every other.

        Raises:
            TurnInvalid: There is no reply about this.
        """
        if topic not in self._texts:
            raise TurnInvalid(f"there are replies about {', '.join(self.topics)}")
        tones = self._texts[topic]
        return tones.get(state, tones[Emotion.NEUTRAL])


def shipped_replies(guard: MessageGuard) -> ReplyTexts:
    """Return the list that comes with this version.

    Raises:
        RepliesRejected: Its bytes are not those that were shipped, or the guard objects.
    """
    data = (files("client_node") / "replies.toml").read_bytes()
    if (got := hashlib.sha256(data).hexdigest()) != REPLIES_DIGEST:
        raise RepliesRejected(f"replies: expected sha256 {REPLIES_DIGEST}, got {got}")
    return _approved(data.decode(), Digest(got), guard)


def signed_replies(envelope: bytes, officer: VerifyKey, guard: MessageGuard) -> ReplyTexts:
    """Return an organisation's list from its envelope, in the order: signature, form, guard.

    Raises:
        EnvelopeInvalid, SignatureInvalid: It is no such envelope, or not the officer's.
        RepliesRejected: Its body is no list, or the guard objects.
    """
    body = unseal(KIND, envelope, officer)
    if set(body) != {"replies"} or not isinstance(body["replies"], str):
        raise RepliesRejected("a signed list of replies has one part, replies, which is TOML text")
    return _approved(body["replies"], Digest(hashlib.sha256(envelope).hexdigest()), guard)


def with_origin(text: str) -> str:
    """Return a text as it goes to the customer: with the sentence about its origin."""
    return f"{text.strip()}\n\n{ORIGIN}"


def _approved(text: str, digest: Digest, guard: MessageGuard) -> ReplyTexts:
    texts: dict[str, Mapping[Emotion, CheckedMessage]] = {}
    for topic, tones in _parsed(text):
        if topic in texts or Emotion.NEUTRAL not in tones:
            raise RepliesRejected(f"reply {topic!r}: once, and with a text for neutral")
        texts[topic] = MappingProxyType(
            {state: _checked(topic, state, said, guard) for state, said in tones.items()}
        )
    if not texts:
        raise RepliesRejected("a list of replies has at least one reply")
    return ReplyTexts(digest=digest, _texts=MappingProxyType(texts))


def _checked(topic: str, state: Emotion, text: str, guard: MessageGuard) -> CheckedMessage:
    try:
        return guard.check(with_origin(text))
    except MessageBlocked as blocked:
        raise RepliesRejected(f"reply {topic!r} for {state}: {blocked.verdict}") from blocked


def _parsed(text: str) -> Iterator[tuple[str, dict[Emotion, str]]]:
    try:
        for row in tomllib.loads(text)["reply"]:
            yield _row(row)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RepliesRejected(
            f"replies cannot be read ({type(error).__name__}): expected [[reply]] tables with a "
            "topic and one text for each expressed cue"
        ) from error


def _row(row: Mapping[str, Any]) -> tuple[str, dict[Emotion, str]]:
    tones = {Emotion(name): said for name, said in row.items() if name != "topic"}
    if not all(isinstance(said, str) for said in (row["topic"], *tones.values())):
        raise TypeError("not text")
    return row["topic"], tones
