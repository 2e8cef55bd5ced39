"""The marks in the sample's texts: where personal data stands, and of which kind.

A mark is written inline as `[[KIND:surface]]`. Reading a text takes the marks out and gives
their places in what is left; nothing here reads files.
"""

from __future__ import annotations

import re
from enum import StrEnum

Span = tuple[int, int, str]
"""Start and end in characters, end exclusive, and a MarkKind's word."""


class MarkKind(StrEnum):
    """The kinds of personal data that the sample marks."""

    PERSON = "PERSON"  # any part of a name, the customer's own or another person's
    ADDRESS = "ADDRESS"  # where somebody lives, stays or receives post; never a town alone
    EMAIL = "EMAIL"
    PHONE = "PHONE"
    CARD_NUMBER = "CARD_NUMBER"
    IBAN = "IBAN"
    REFERENCE = "REFERENCE"  # order, booking, ticket or case number
    ACCOUNT = "ACCOUNT"  # customer, loyalty or contract number
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    USERNAME = "USERNAME"


_MARK = re.compile(r"\[\[([A-Z_]+):([^\[\]]+)\]\]")
_DEBRIS = re.compile(r"\[\[|\]\]")


def read_marks(marked: str) -> tuple[str, tuple[Span, ...]]:
    """Return the text without marks, and the marked places in it, in order.

    Raises:
        ValueError: A mark is of no known kind, is empty, padded, nested or not closed. The
            message gives the character at which it stands, and no text.
    """
    parts: list[str] = []
    spans: list[Span] = []
    length = read_to = 0
    for mark in _MARK.finditer(marked):
        before, surface = marked[read_to : mark.start()], mark[2]
        if mark[1] not in MarkKind.__members__ or surface != surface.strip():
            raise ValueError(f"the mark at character {mark.start()} has no known kind or is padded")
        start = length + len(before)
        length = start + len(surface)
        parts += (before, surface)
        spans.append((start, length, mark[1]))
        read_to = mark.end()
    text = "".join(parts) + marked[read_to:]
    if debris := _DEBRIS.search(_MARK.sub("", marked)):
        raise ValueError(f"a mark is empty, nested or not closed (bracket {debris.start()})")
    return text, tuple(spans)
