"""Text from which personal data was removed: the only text that is encoded or stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactedText:
    """Text after redaction, with the kinds that were removed, in order of appearance.

    `foreign` says that it is in a language that nothing here reads: only the raw words show it.
    `client_node.redaction` alone builds one (a test reads every module to see that).
    """

    text: str
    kinds: tuple[str, ...] = ()
    foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicText:
    """A text of a published corpus, of nobody's customer: what public models are trained on.

    `models.train_base` alone builds one.
    """

    text: str
