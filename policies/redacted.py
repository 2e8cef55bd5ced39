"""Text from which personal data was removed: the only text that is encoded or stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Unread(StrEnum):
    """Why a text is not read for a cue, whatever a model would say of it (docs/bad-input.md)."""

    LANGUAGE = "language"  # in a language that is not read
    MIXED = "mixed"  # in several, and most of it in none that is read
    MARKUP = "markup"  # HTML, a script, a template: what a program wrote
    INSTRUCTIONS = "instructions"  # meant for a model, not for the company
    DISGUISED = "disguised"  # words in letters of several alphabets (UTS 39)
    WORDLESS = "wordless"  # no word is left: emoji, numbers, what redaction took whole


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactedText:
    """Text after redaction, with the kinds that were removed, in order of appearance.

    `unread` says why nothing is read of it, or learned from it: only the raw words show that.
    `client_node.redaction` alone builds one (a test reads every module to see that).
    """

    text: str
    kinds: tuple[str, ...] = ()
    unread: Unread | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicText:
    """A text of a published corpus, of nobody's customer: what public models are trained on.

    `models.train_base` alone builds one.
    """

    text: str
