"""The legal basis of each purpose: the one source of receipts, records and letters.

Analysing asks for explicit consent, because health can be inferred from feelings (RULES: GDPR 9).
Recording analyses nothing: it asks for consent, and is the company's own (ADR 24).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from policies.vocabulary import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """A basis: its articles of the GDPR, in words, and the DPV term of the one that decides."""

    articles: tuple[str, ...]
    words: str
    term: str

    def sentence(self) -> str:
        """Return it as a record of processing says it."""
        return f"GDPR {' and '.join(self.articles)}: {self.words}"


CONSENT = Basis(articles=("6(1)(a)",), words="consent", term="eu-gdpr:A6-1-a")
EXPLICIT = Basis(articles=("6(1)(a)", "9(2)(a)"), words="explicit consent", term="eu-gdpr:A9-2-a")


def basis_of(purpose: Purpose) -> Basis:
    """Return what a purpose rests on."""
    return CONSENT if purpose is Purpose.RECORDING else EXPLICIT


def strictest(purposes: Collection[Purpose]) -> Basis:
    """Return the basis of several purposes at once: the explicit one where any needs it."""
    return EXPLICIT if any(basis_of(one) is EXPLICIT for one in purposes) else CONSENT
