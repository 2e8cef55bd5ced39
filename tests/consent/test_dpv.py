"""The words of W3C DPV: each that we write is one of that vocabulary, at its address there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from consent import document_pages, receipt
from consent.states import ConsentState, Validity

_CONSENT = Path(receipt.__file__).parent
_OLD_SHAPES = {"receipt_schema_v1.json", "receipt_schema_v2.json"}
_LIST: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("dpv_terms.toml").read_text(encoding="utf-8")
)
_KNOWN = {
    f"{prefix}:{term}"
    for prefix, part in _LIST.items()
    if isinstance(part, dict)
    for term in part["terms"]
}
_PREFIXES = "dpv|pd|ai|eu-gdpr|eu-aiact|risk|tech"
_WRITTEN = re.compile(rf"(?<![\w-])(?:{_PREFIXES}):[A-Za-z][A-Za-z0-9-]*\b(?!\[)")


def _used(text: str) -> set[str]:
    return set(_WRITTEN.findall(text))


def _unknown(texts: list[str]) -> set[str]:
    return set().union(*map(_used, texts)) - _KNOWN


def test_every_word_of_dpv_that_is_written_is_one() -> None:
    """In code, schema, pages and words of receipts, states and documents."""
    files = [
        path
        for path in _CONSENT.rglob("*")
        if path.suffix in {".py", ".json", ".toml", ".html"} and path.name not in _OLD_SHAPES
    ]
    texts = [path.read_text(encoding="utf-8") for path in files]
    texts += [f"dpv:{state}" for state in (*ConsentState, *Validity)]
    assert _unknown(texts) == set()
    assert set().union(*map(_used, texts)) == _KNOWN, "the list names what nobody writes"


@pytest.mark.parametrize(
    "word", ["dpv:hasTechnology", "dpv:RegisterOfProcessingActivities", "eu-gdpr:A99-9", "pd:Mood"]
)
def test_a_word_that_dpv_has_not_is_seen(word: str) -> None:
    """What the test above looks for can be there."""
    assert _unknown([f'"{word}": []']) == {word}


def test_every_prefix_stands_for_the_address_that_the_vocabulary_has() -> None:
    """Under another address a word would mean nothing."""
    for prefix, address in (receipt.CONTEXT | document_pages.CONTEXT).items():
        if prefix in _LIST:
            assert address == _LIST[prefix]["iri"], prefix
    assert {name for name in _LIST if isinstance(_LIST[name], dict)} <= receipt.CONTEXT.keys()
