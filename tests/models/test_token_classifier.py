"""Claims about the token classifier: what it takes, what it leaves, and how far it reads."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import EncoderRejected, TrainingInvalid
from models.personal_sentences import BELIEFS, Sentence, comments, customers, templates, values
from models.pretrained import FOLDER, load_tensors
from models.token_classifier import FILE, KINDS, MAX_WINDOWS, TokenClassifier
from models.train_token_classifier import CARD, fit, gather, main, read_all, recall, threshold
from policies.vocabulary import Digest

MADE_UP = ("Please call {} back.", "This is {}, I wait for a parcel.", "{} said it would come.")
NAMES = ("Quillon Drazek", "Ottoline Brask", "Ferdan Umbry", "Sabeth Coyle")


@pytest.fixture(scope="module")
def classifier() -> TokenClassifier:
    """Load the classifier once."""
    return TokenClassifier.load()


def sentence(template: str, name: str, group: str) -> Sentence:
    """Return a made-up sentence with its name marked."""
    start = template.index("{}")
    spans = ((start, start + len(name), "NAME"),)
    return Sentence(text=template.format(name), spans=spans, source="templates", group=group)


def test_classifier_finds_a_name_whole(classifier: TokenClassifier) -> None:
    """Both words of a name on no list are one finding, of the right kind."""
    text = "hello my name is quillon drazek and my order has not come"
    found, reach = classifier.find(text)
    assert [(text[f.start : f.end], f.kind) for f in found] == [("quillon drazek", "NAME")]
    assert reach == len(text)


def test_classifier_leaves_what_names_nobody(classifier: TokenClassifier) -> None:
    """The words that carry a cue stay."""
    assert classifier.find("I am furious, this is the third time you cancel on us!")[0] == ()


def test_classifier_without_a_threshold_takes_every_word(classifier: TokenClassifier) -> None:
    """The threshold decides, so that a test of what stays can fail."""
    eager = replace(classifier, head=replace(classifier.head, threshold=0.0))
    found, _ = eager.find("I am furious")
    assert sum(f.end - f.start for f in found) >= len("Iamfurious")


def test_classifier_reads_across_windows(classifier: TokenClassifier) -> None:
    """A name beyond the first window is found where it stands."""
    text = "it is late again " * 40 + "my name is quillon drazek thank you"
    found, reach = classifier.find(text)
    assert "quillon drazek" in {text[f.start : f.end] for f in found}
    assert reach == len(text)


def test_classifier_says_how_far_it_read(classifier: TokenClassifier) -> None:
    """A text too long for its windows is read up to a stated place, and no further."""
    text = "late " * 5_000
    _, reach = classifier.find(text)
    assert len(text) > reach > 100 * (MAX_WINDOWS - 1) * len("late ")


@given(st.text(max_size=60))
def test_classifier_stays_within_any_text(classifier: TokenClassifier, text: str) -> None:
    """Findings are in order, apart, inside the text, of a known kind and likely enough."""
    found, reach = classifier.find(text)
    edges = [edge for f in found for edge in (f.start, f.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(text) for edge in [*edges, reach])
    assert all(f.start < f.end and f.kind in KINDS for f in found)
    assert all(classifier.head.threshold <= f.score <= 1 for f in found)


def test_classifier_survives_lone_surrogates(classifier: TokenClassifier) -> None:
    """Half a character is no reason to fail, and moves nothing."""
    text = "\ud800 my name is quillon drazek"
    assert [text[f.start : f.end] for f in classifier.find(text)[0]] == ["quillon drazek"]


def test_classifier_of_other_bytes_is_refused(tmp_path: Path) -> None:
    """A head that is not the shipped one does not load."""
    (tmp_path / FILE).write_bytes((FOLDER / FILE).read_bytes() + b" ")
    with pytest.raises(EncoderRejected, match="not what was shipped"):
        load_tensors(tmp_path / FILE, Digest("0" * 64))


def test_head_learns_from_marked_sentences() -> None:
    """A few marked sentences teach names that were not among them, and not the words around."""
    taught = [sentence(t, name, t) for t in MADE_UP for name in NAMES[:3] for _ in range(60)]
    unseen = read_all([sentence(t, NAMES[3], t) for t in MADE_UP])
    head = fit(read_all(taught), seed=1)
    assert recall(unseen, head)["recall"] == 1
    plain = read_all([Sentence(text="I wait for a parcel.", spans=(), source="c", group="1")])
    assert threshold(plain, head) < 0.5


def test_comments_get_names_where_marks_were(tmp_path: Path) -> None:
    """Each mark becomes a name or a belief, marked where it now stands."""
    path = table(tmp_path, [{"text": "No [NAME], I am [RELIGION]!", "split": "train"}])
    (filled,) = comments(path, ["Ada Byron"], random.Random(1))
    parts = [(filled.text[start:end], kind) for start, end, kind in filled.spans]
    assert parts[0] == ("Ada Byron", "NAME")
    assert parts[1][0] in BELIEFS
    assert filled.text == f"No Ada Byron, I am {parts[1][0]}!"


def test_groups_stay_together(tmp_path: Path) -> None:
    """Sentences of one template are all taught or all apart, and in one fold."""
    rows = [
        {"text": f"I am {name}", "spans": '[[5, 7, "PERSON"]]', "template": t, "split": "train"}
        for t in map(str, range(50))
        for name in ("Al", "Bo")
    ]
    found = templates(table(tmp_path, rows))
    assert values(found, "NAME") == ["Al", "Bo"]
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert (first.apart, first.fold) == (second.apart, second.fold)
    assert len({s.fold for s in found}) == 5
    assert {s.apart for s in found} == {True, False}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "a", "split": "train"}], "no column dialogue, spans"),
        (
            [{"text": "a", "split": "train", "dialogue": "1", "spans": '[[0, 1, "SHOE"]]'}],
            "unknown kinds",
        ),
    ],
)
def test_sentences_that_cannot_be_read_are_refused(
    tmp_path: Path, rows: list[dict[str, str]], said: str
) -> None:
    """A missing column or an unknown kind is named."""
    with pytest.raises(TrainingInvalid, match=said):
        customers(table(tmp_path, rows), "train")


def test_command_refuses_a_missing_file_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says what it cannot read, and exits with 1."""
    missing = str(tmp_path / "none.csv.gz")
    words = ["--customers", missing, "--templates", missing, "--comments", missing]
    monkeypatch.setattr("sys.argv", ["train_token_classifier", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"train_token_classifier: {missing} cannot be read: FileNotFoundError\n"
    )


@pytest.mark.slow
def test_shipped_classifier_finds_what_its_card_states(classifier: TokenClassifier) -> None:
    """On the customers' sentences of dev, the shipped file gives the figures of its card."""
    shared = os.environ.get("UNDERTONE_SHARED")
    if shared is None:
        pytest.skip("UNDERTONE_SHARED is not set: no shared sentences to measure on")
    data = Path(shared) / "data"
    typed, made_up = "pii/multidogo_customer.csv.gz", "pii/presidio_synth.csv.gz"
    _, dev = gather(data / typed, data / made_up, data / "text/goemotions.csv.gz", seed=0)
    card = json.loads((FOLDER / CARD).read_text(encoding="utf-8"))
    assert card["threshold"] == pytest.approx(classifier.head.threshold)
    stated = card["figures"]["customers, dev"]
    found = recall(read_all(dev), classifier.head)
    assert found["marked"] == stated["marked"]
    assert found["recall"] == pytest.approx(stated["recall"], abs=0.002)


def test_shipped_classifier_is_small_and_finite() -> None:
    """The head is a hundred kilobytes at most, and every number is one."""
    assert (FOLDER / FILE).stat().st_size < 100_000
    head = TokenClassifier.load().head
    assert np.isfinite(head.inner).all()
    assert head.outer.shape == (head.inner.shape[1], 1 + len(KINDS))


def table(folder: Path, rows: list[dict[str, str]]) -> Path:
    """Write the rows as a gzipped table, and return where."""
    path = folder / "rows.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
