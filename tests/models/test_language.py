"""Claims about languages: what is not English abstains, and English nearly never does."""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from py3langid.langid import LanguageIdentifier

from models.language import FEWEST_LETTERS, Languages, _identifier
from policies.redacted import Unread


@pytest.fixture(scope="module")
def languages() -> Languages:
    """Load the model once."""
    return Languages.load()


def test_model_is_read_once_by_all_who_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's parts load side by side, and none reads the model a second time."""
    reads: list[object] = []

    def read(*_: object, **__: object) -> object:
        reads.append(object())
        time.sleep(0.05)  # long enough for the others to ask too
        return reads[-1]

    _identifier.cache_clear()
    monkeypatch.setattr(LanguageIdentifier, "from_model_file", read)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: Languages.load(), range(4)))
    _identifier.cache_clear()
    assert len(reads) == 1


def share(languages: Languages, texts: list[str]) -> float:
    """Return the share of the texts that is read."""
    found = [languages.unread(text) is None for text in texts]
    return sum(found) / len(found)


@pytest.mark.parametrize(
    "text",
    [
        "Ich warte seit drei Wochen auf meine Bestellung und niemand antwortet mir.",
        "Estou à espera há três semanas e ninguém me responde, isto é inaceitável.",
        "J'attends ma commande depuis trois semaines et personne ne me répond.",
        "我已经等了三个星期了, 没有人回复我, 这真的让我非常生气, 请马上处理我的订单问题谢谢",
        "Anna Schmidt wartet seit drei Wochen auf ihre Bestellung, das ist nicht in Ordnung.",
    ],
)
def test_other_languages_are_not_read(languages: Languages, text: str) -> None:
    """German, Portuguese, French and Chinese, with a name or without."""
    assert languages.unread(text) is Unread.LANGUAGE


@pytest.mark.parametrize(
    "text",
    [
        "I have been waiting for three weeks and nobody answers me.",
        "i have been waitin for 3 weeks an nobody answers plz help",
        "Anna Schmidt has been waiting for order 47-118 for three weeks.",
        "THIS IS NOT ACCEPTABLE, I WANT MY MONEY BACK",
    ],
)
def test_english_is_read_however_it_is_typed(languages: Languages, text: str) -> None:
    """Without capitals, with slips, shouted, or with a foreign name."""
    assert languages.unread(text) is None


@pytest.mark.parametrize("text", ["ok", "danke", "😀😀😀", "12345 67890 12345 67890", ""])
def test_text_of_few_letters_is_not_judged(languages: Languages, text: str) -> None:
    """Nobody can tell, so confidence decides."""
    assert languages.unread(text) is None


def test_long_text_takes_no_longer(languages: Languages) -> None:
    """Only the beginning is looked at."""
    assert languages.unread("where is my parcel please " * 40_000) is None


def long_enough(texts: Iterator[str]) -> list[str]:
    """Return the texts with letters enough to be judged."""
    return [text for text in texts if sum(map(str.isalpha, text)) >= FEWEST_LETTERS]


def test_real_customers_writing_german_and_portuguese(languages: Languages, shared: Path) -> None:
    """On MAIA's dev: what customers typed abstains, its English translation is read."""
    path = shared / "data" / "text" / "maia_support.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["role"], r["split"]) == ("customer", "dev")]
    theirs = long_enough(row["text_other"] for row in rows)
    english = long_enough(row["text"] for row in rows)
    assert share(languages, theirs) <= 0.05
    assert share(languages, english) >= 0.97


def test_real_english_is_read(languages: Languages, shared: Path) -> None:
    """On GoEmotions' dev nearly everything is read."""
    path = shared / "data" / "text" / "goemotions.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file) if row["split"] == "dev"][:2000]
    assert share(languages, long_enough(iter(rows))) >= 0.99
