"""Text from which personal data was removed: the only text that is encoded or stored."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK = re.compile(r"<[A-Z_]+>")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactedText:
    """Text after redaction, with the kinds that were removed, in order of appearance.

    `foreign` says that it is in a language that nothing here reads: only the raw words show it.
    `client_node.redaction` alone builds one (a test reads every module to see that).
    """

    text: str
    kinds: tuple[str, ...] = ()
    foreign: bool = False

    @property
    def wordless(self) -> bool:
        """Whether no letter is left beside the marks of what was removed."""
        return not any(map(str.isalpha, _MARK.sub("", self.text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicText:
    """A text of a published corpus, of nobody's customer: what public models are trained on.

    `models.train_base` alone builds one.
    """

    text: str
