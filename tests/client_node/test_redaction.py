"""What redaction removes, offline and within its stated recall."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_node.errors import RedactionUnavailable
from client_node.redaction import Redactor, Span, merge
from tests.bench.redaction import marked_sentences, recall

FRESH_PROCESS = """
import socket
from client_node.connections import ConnectionGuard, ConnectionPolicy, install
guard = ConnectionGuard(policy=ConnectionPolicy(allowed=frozenset()))
install(guard)
from client_node.redaction import Redactor
found = Redactor.load().redact("mail someone@example.co.uk or see http://a.example.org")
assert "EMAIL_ADDRESS" in found.text.kinds
print(guard.refused)
try:
    socket.create_connection(("192.0.2.1", 443), timeout=0.1)
except Exception:
    print(guard.refused)
"""


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("My name is Zebulon Quackenbush", "Zebulon"),
        ("hi, this is maria from accounts", "maria"),
        ("Kind regards, Dmitri Ivanov", "Ivanov"),
        ("Please call Mrs. O'Leary back", "O'Leary"),
        ("write to jane.doe@example.com", "jane.doe@example.com"),
        ("write to jane@intranet.zz", "jane@intranet.zz"),
        ("my number is +44 20 7946 0958", "7946"),
        ("card 4111 1111 1111 1111", "4111"),
        ("IBAN DE89 3704 0044 0532 0130 00", "0440"),
        ("from 192.168.17.4", "192.168.17.4"),
        ("I live at 42 Wallaby Way, Sydney", "Wallaby"),
        ("Rue de Rivoli 12, Paris", "Rivoli"),
        ("postcode SW1A 1AA", "1AA"),
        ("order number AB-12345", "12345"),
        ("booking ref X4T9QZ", "X4T9QZ"),
        ("born on 12/31/1980", "1980"),
        ("my password is hunter2", "hunter2"),
        ("username: catlover", "catlover"),
        ("SSN 460-89-9847", "9847"),
        ("write to doe@exam\u200bple.com", "doe@"),
        ("account \uff11\uff12\uff13\uff14\uff15\uff16", "\uff11"),
    ],
)
def test_redaction_removes_personal_data(redactor: Redactor, text: str, secret: str) -> None:
    """Each kind of personal data that the patterns promise is gone from the text."""
    found = redactor.redact(text)
    assert secret not in found.text.text
    assert len(found.text.kinds) == len(found.spans) >= 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", ["1-", "1 ", "aa.", "A ", "(1 ", "a@a. "])
def test_redaction_of_a_hostile_text_ends(redactor: Redactor, part: str) -> None:
    """The longest turn, made to slow the patterns down, does not stall a branch."""
    redactor.redact((part * 16_384)[:16_384])


def test_redaction_leaves_ordinary_complaints_alone(redactor: Redactor) -> None:
    """What carries the cue is not removed."""
    text = "I am so angry, you cancelled my flight again and nobody told us why!"
    assert redactor.redact(text).text.text == text


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 10), st.sampled_from("ABC"), st.floats(0, 1))
    )
)
def test_merged_spans_cover_the_same_and_never_overlap(
    parts: list[tuple[int, int, str, float]],
) -> None:
    """Merging loses no character and leaves no overlap."""
    spans = [Span(start=s, end=s + n, kind=k, score=p) for s, n, k, p in parts]
    merged = merge(spans)
    covered = {i for s in spans for i in range(s.start, s.end)}
    assert {i for s in merged for i in range(s.start, s.end)} == covered
    assert all(a.end <= b.start for a, b in pairwise(merged))


def test_redaction_opens_no_connection() -> None:
    """From a fresh process, e-mail addresses included, nothing is looked up (promise 10)."""
    done = subprocess.run(  # noqa: S603 (this interpreter, our own script)
        [sys.executable, "-c", FRESH_PROCESS], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "1"], done.stderr


def test_failed_redaction_names_nothing_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the analyzer breaks, neither message nor cause holds the text."""
    redactor = Redactor.load()

    def breaks(*_: object, **__: object) -> Any:
        raise ValueError("secret words")

    monkeypatch.setattr(redactor._analyzer, "analyze", breaks)
    with pytest.raises(RedactionUnavailable) as caught:
        redactor.redact("secret words")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_redaction_finds_names_by_what_stands_around_them(redactor: Redactor) -> None:
    """A name on no list of ours goes, and the complaint around it stays."""
    found = redactor.redact("yes it is quillon drazek and the parcel is still missing")
    assert found.text.text == "yes it is <NAME> and the parcel is still missing"


def test_redaction_passes_nothing_that_it_did_not_read(redactor: Redactor) -> None:
    """What lies beyond the token classifier's reach is removed as a whole, and counted."""
    text = "the parcel is late again " * 200 + "says quillon drazek"
    found = redactor.redact(text)
    assert "quillon" not in found.text.text
    assert found.text.kinds[-1] == "UNREAD"
    assert found.text.text.startswith("the parcel is late again " * 80)
    assert "UNREAD" not in redactor.redact("the parcel is late again " * 80).text.kinds


@pytest.mark.slow
def test_redaction_recall_is_what_the_documents_state() -> None:
    """On sentences of customers that taught nothing, nine in ten of every kind are removed."""
    shared = os.environ.get("UNDERTONE_SHARED")
    if shared is None:
        pytest.skip("UNDERTONE_SHARED is not set: no shared sentences to measure on")
    sentences = marked_sentences(Path(shared) / "data")
    ours, alone = Redactor.load(), Redactor.presidio_alone()
    for name, found in sentences.items():
        shares = recall(ours, found)
        assert min(share for share, _ in shares.values()) >= 0.95
        assert shares["all"][0] >= 0.98
        assert recall(alone, found)["all"][0] < 0.2, name
