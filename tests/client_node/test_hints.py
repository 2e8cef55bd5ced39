"""Claims about the approved hints: who approved them, and that no phrase slips through."""

from __future__ import annotations

import hashlib

import pytest

from audit.errors import SignatureInvalid
from audit.signing import SigningKey, seal
from client_node.errors import HintsRejected
from client_node.hints import HINTS_DIGEST, KIND, Step, pinned_hints, shipped_hints, signed_hints
from models.message_guard import MessageGuard
from policies.messages import Audience
from policies.vocabulary import Digest, Emotion

GOOD = """
[[hint]]
state = "anger"
opening = ["Let the customer finish before you speak."]
"""


@pytest.fixture(scope="module")
def guard() -> MessageGuard:
    """Load the guard once."""
    return MessageGuard.load()


def pinned(text: str, guard: MessageGuard) -> object:
    """Load a list whose hash is the expected one."""
    data = text.encode()
    return pinned_hints(data, Digest(hashlib.sha256(data).hexdigest()), guard)


def test_shipped_hints_cover_every_moment(guard: MessageGuard) -> None:
    """About forty hints, each checked for agents; every cue and step has one."""
    hints = shipped_hints(guard)
    assert 35 <= len(hints) <= 50
    assert hints.digest == HINTS_DIGEST
    for state in Emotion:
        for step in Step:
            found = hints.at(state, step)
            assert found
            assert {hint.audience for hint in found} == {Audience.AGENT}


@pytest.mark.parametrize(
    ("hint", "phrase", "pattern"),
    [
        ("Assume the sale and move on.", "Assume the sale", "closing"),
        ("Say: hurry, it is nearly gone.", "hurry", "urgency"),
        ("Say that you are heartbroken: I am heartbroken.", "I am heartbroken", "feeling"),
    ],
)
def test_a_forbidden_phrase_refuses_the_whole_list(
    guard: MessageGuard, hint: str, phrase: str, pattern: str
) -> None:
    """One line names the moment, the phrase, the pattern, the rule and an honest wording."""
    text = f'[[hint]]\nstate = "anger"\nopening = ["Listen first.", "{hint}"]\n'
    with pytest.raises(HintsRejected) as refused:
        pinned(text, guard)
    said = str(refused.value)
    assert said.startswith(f"hint for anger, opening: '{phrase}' is {pattern} (rule ")
    assert "\n" not in said


def test_hints_of_other_bytes_are_refused(guard: MessageGuard) -> None:
    """One changed byte is another list, which nobody approved."""
    with pytest.raises(HintsRejected, match="not the approved ones"):
        pinned_hints(GOOD.encode(), HINTS_DIGEST, guard)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[hint",
        'hint = "x"',
        GOOD.replace("anger", "rage"),
        GOOD.replace("opening", "pitching"),
        GOOD.replace('["Let the customer finish before you speak."]', '"Listen."'),
        '[[hint]]\nstate = "anger"\n',
    ],
)
def test_a_list_of_another_form_is_refused(guard: MessageGuard, text: str) -> None:
    """What is no list, or has an unknown cue or step, is refused in one line."""
    with pytest.raises(HintsRejected) as refused:
        pinned(text, guard)
    assert "\n" not in str(refused.value)


def test_an_organisation_signs_its_own_list(guard: MessageGuard) -> None:
    """The compliance officer's signature is what lets a list in; another's does not."""
    officer, stranger = SigningKey.generate("officer"), SigningKey.generate("officer")
    envelope = seal(KIND, {"hints": GOOD}, officer)
    hints = signed_hints(envelope, officer.verify_key, guard)
    assert [hint.text for hint in hints.at(Emotion.ANGER, Step.OPENING)] == [
        "Let the customer finish before you speak."
    ]
    assert hints.at(Emotion.JOY, Step.OPENING) == ()
    with pytest.raises(SignatureInvalid):
        signed_hints(envelope, stranger.verify_key, guard)
    with pytest.raises(HintsRejected, match="one part"):
        signed_hints(seal(KIND, {"hint": GOOD}, officer), officer.verify_key, guard)
