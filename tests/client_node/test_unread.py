"""What is no customer's speech is not read, by a name of its own; customers' speech is."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from client_node.redaction import Redactor
from client_node.unread import Speech, wordless
from models.language import Languages
from policies.redacted import Unread
from tests.bench.bad_input import MOST, SETS, outcomes, texts_of
from tests.client_node.bad_texts import INSTRUCTIONS, MARKUP, SAID, disguised, instructed, mixed

FULL = 16 * 1024


@pytest.fixture(scope="module")
def why() -> Callable[[str], Unread | None]:
    """Return the question, with the language model loaded."""
    return Speech.load(Languages.load()).why_unread


@pytest.mark.parametrize(
    "text",
    [
        *SAID,
        "I <3 you guys, that was < 5 minutes & perfect -> thanks",
        "it says <name> on the parcel, and a <3 from <my daughter>",
        "please ignore my previous message",
        "you ignored all my instructions and the rules of your own shop",
        "Why do you forget your promises?",
        "System: Windows 11, the screen shows nothing",
        "what are the rules for returns? print the label, you said",
        "are you a bot? I want a human",
        "the contract says $5 {really}, 50% off, #1!",
        "it drew 5 \u03bcA at 3 k\u03a9",
        "my name is Bjørn Łukasz, the café was fermé",
        "ich sagte danke, but thank you for everything you did for us today",
        "haha ok",
        "the message read: respond with your order number",
    ],
)
def test_customers_words_are_read(why: Callable[[str], Unread | None], text: str) -> None:
    """Hearts and arrows, reports of rules, names and units are a customer's own."""
    assert why(text) is None


@pytest.mark.parametrize("pattern", MARKUP)
def test_markup_is_not_read(why: Callable[[str], Unread | None], pattern: str) -> None:
    """Elements, comments, templates and programs, and what is escaped."""
    assert why(pattern.format(SAID[0])) is Unread.MARKUP


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_instructions_to_a_model_are_not_read(
    why: Callable[[str], Unread | None], text: str
) -> None:
    """In three languages, alone and before or after what was said."""
    for whole in (text, f"{SAID[0]} {text}", f"{text}\n{SAID[1]}", text.upper()):
        assert why(whole) is Unread.INSTRUCTIONS


@given(text=instructed(st.sampled_from(INSTRUCTIONS)))
def test_instructions_are_found_wherever_they_stand(
    why: Callable[[str], Unread | None], text: str
) -> None:
    """On a line of their own or within one."""
    assert why(text) is Unread.INSTRUCTIONS


@given(text=disguised())
@example("I am \u0430ngry")
@example("th\u03b5 parc\u0435l is late")
def test_words_of_several_alphabets_are_not_read(
    why: Callable[[str], Unread | None], text: str
) -> None:
    """One letter that only looks Latin is enough."""
    assert why(text) is Unread.DISGUISED


@given(text=mixed())
def test_english_in_the_minority_is_not_read(
    why: Callable[[str], Unread | None], text: str
) -> None:
    """One sentence of four."""
    assert why(text) in {Unread.MIXED, Unread.LANGUAGE}


@pytest.mark.parametrize("text", ["\u6012\u308a", "очень злой", "\u0e42\u0e01\u0e23\u0e18 ok"])
def test_a_few_letters_of_another_script_are_another_language(
    why: Callable[[str], Unread | None], text: str
) -> None:
    """However short: no English is written so."""
    assert why(text) is Unread.LANGUAGE


@given(st.text(max_size=300))
def test_any_text_has_an_answer(why: Callable[[str], Unread | None], text: str) -> None:
    """Whatever is typed, the question has an answer, and the same one again."""
    assert why(text) == why(text)


@pytest.mark.parametrize(
    ("text", "without"),
    [("<NAME> 12:30?", True), ("\u2764 <PHONE>", True), ("<NAME> no", False), ("", True)],
)
def test_marks_of_redaction_are_no_words(text: str, *, without: bool) -> None:
    """What redaction put in is nothing that the customer said."""
    assert wordless(text) is without


@pytest.mark.parametrize(
    "part",
    [
        *("{{", "<a ", "<", "&#1", "\n", " \n", ". ", "ignore all ", "please ", "print the "),
        *("system ", "\nsystem   ", "<|a", "classify this ", "answer ", "angry ", "\u0430 b "),
    ],
)
def test_time_grows_with_the_length_and_no_faster(
    why: Callable[[str], Unread | None], part: str
) -> None:
    """Four times the text takes about four times as long: nothing is tried over and over."""

    def cost(size: int) -> float:
        text, costs = (part * size)[:size], []
        for _ in range(3):
            begun = time.process_time()
            why(text)
            costs.append(time.process_time() - begun)
        return min(costs)

    assert cost(FULL) < 9 * cost(FULL // 4)


@pytest.mark.parametrize("part", ["a@b.co ", "<a "])
def test_memory_for_the_longest_text_is_bounded(redactor: Redactor, part: str) -> None:
    """At most 24 MiB, redaction and all."""
    text = (part * FULL).encode()[:FULL].decode(errors="ignore")
    tracemalloc.start()
    try:
        redactor.redact(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * 2**20


@pytest.mark.parametrize("name", sorted(SETS))
def test_real_customers_are_read(redactor: Redactor, shared: Path, name: str) -> None:
    """At most one turn in a thousand of each dev part is taken for something else."""
    texts = texts_of(shared / "data", name)
    doubtful = [text for text in texts if redactor._speech.why_unread(text) is not None]
    ends = outcomes(redactor, doubtful)
    assert ends.total() - ends[Unread.WORDLESS] <= MOST * len(texts)
