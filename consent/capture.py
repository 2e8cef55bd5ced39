"""How a choice was caught: the channel, its affirmative act, what was shown, and the proof.

Each channel has acts of its own, and what is not among them is no consent: silence, a box that
was ticked beforehand, or going on are no acts of anybody (GDPR 4(11), recital 32). Proof is the
SHA-256 of evidence that the company keeps (the page as it was sent, the telephone system's
signed event, the note of the call); the evidence itself, and any sound, never comes here.

Nothing here stores or decides; `consent.acts` refuses what `check_captured` refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from consent.errors import RequestInvalid
from policies.vocabulary import Digest, SubjectId


class Channel(StrEnum):
    """Where a person is asked, and answers."""

    WEB = "web"
    KIOSK = "kiosk"  # a code on a screen or poster, opened on the person's own telephone
    IVR = "ivr"  # a digit pressed in a telephone menu
    AGENT = "agent"  # read out by an agent from the notice


class Sign(StrEnum):
    """What a person can do to say yes; there is no other."""

    TICKED_BOX = "ticked_box"
    PRESSED_BUTTON = "pressed_button"
    PRESSED_DIGIT = "pressed_digit"
    SPOKEN_YES = "spoken_yes"
    SIGNED = "signed"


SIGNS: Mapping[Channel, frozenset[Sign]] = MappingProxyType(
    {
        Channel.WEB: frozenset({Sign.TICKED_BOX, Sign.PRESSED_BUTTON}),
        Channel.KIOSK: frozenset({Sign.TICKED_BOX, Sign.PRESSED_BUTTON}),
        Channel.IVR: frozenset({Sign.PRESSED_DIGIT}),
        Channel.AGENT: frozenset({Sign.SPOKEN_YES}),
    }
)
"""The affirmative acts that a channel knows."""


class Layer(StrEnum):
    """Which of a notice's layers was before the person."""

    SHORT = "short"
    FULL = "full"


class Relation(StrEnum):
    """Who says yes in a person's stead (GDPR 8; DPV names both)."""

    PARENT = "parent"
    GUARDIAN = "guardian"


class Verified(StrEnum):
    """How a guardian was known to be one; what was shown is never kept."""

    ACCOUNT = "account"
    DOCUMENT_SEEN = "document-seen"
    CALL_BACK = "call-back"
    COURT_ORDER_SEEN = "court-order-seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the person had before them: a layer and language of the notice, by its digest."""

    language: str
    text_digest: Digest
    channel: Channel
    layer: Layer = Layer.FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The proof of one answer.

    `evidence` is the SHA-256 of what the company keeps and `reference` its name there; `script`
    the version of what was read out or played; `agent` the pseudonym of who read it out.
    """

    evidence: Digest
    reference: str | None = None
    script: str | None = None
    agent: SubjectId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardian:
    """Who said yes for the person, under a pseudonym, and how that was verified."""

    subject: SubjectId
    relation: Relation
    verified: Verified
    evidence: Digest


def is_sign(act: str, channel: Channel | None) -> bool:
    """Return whether an act says yes in a channel; in any, where the channel is not known."""
    signs = frozenset(Sign) if channel is None else SIGNS[channel]
    return act in {sign.value for sign in signs}


def check_captured(act: str, shown: Shown | None, capture: Capture | None) -> None:
    """Return if the answer is an act of its channel, with all the proof that the channel has.

    Raises:
        RequestInvalid: It is not; the message says what is expected or missing.
    """
    channel = None if shown is None else shown.channel
    if not is_sign(act, channel):
        signs = " or ".join(sorted(Sign if channel is None else SIGNS[channel]))
        where = "" if channel is None else f" by {channel}"
        raise RequestInvalid(
            f"consent{where} needs an affirmative act (GDPR recital 32): {signs}", field="act"
        )
    if (channel is None) != (capture is None):
        raise RequestInvalid("what was shown and its proof of capture come together, or neither")
    if capture is None or channel is None:
        return
    missing = [name for name in _NEEDED[channel] if getattr(capture, name) is None]
    if missing:
        raise RequestInvalid(f"a capture by {channel} lacks {' and '.join(missing)}")
    if channel is not Channel.AGENT and capture.agent is not None:
        raise RequestInvalid(f"nobody reads out by {channel}: leave the agent away")


_NEEDED: Mapping[Channel, tuple[str, ...]] = MappingProxyType(
    {
        Channel.WEB: (),
        Channel.KIOSK: (),
        Channel.IVR: ("reference", "script"),
        Channel.AGENT: ("reference", "script", "agent"),
    }
)
