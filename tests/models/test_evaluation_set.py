"""Claims about evaluation sets: they come back as they were written, and bad data is one line."""

from __future__ import annotations

import gzip
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import evaluation_set, train_base
from models.errors import EvaluationInvalid
from models.evaluation_set import EvaluationSet, grouped, load_set, main, set_bytes
from models.fairness import Groups
from models.features import FEATURES, FEATURES_DIGEST
from policies.vocabulary import Digest

ROWS = (
    "subject,text,label,sex,age,split\n"
    "p1,I lost my keys,sadness,f,19,dev\n"
    "p1,What a day,joy,f,19,dev\n"
    'p2,"so\nashamed",shame,m,,dev\n'
    "p3,left out,joy,m,40,train\n"
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small set of rows; features are the texts' lengths."""

    def lengths(texts: list[str], _: object) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.array([[len(text)] * FEATURES for text in texts], np.float32)

    monkeypatch.setattr(train_base, "features_of", lengths)
    path = tmp_path / "told.csv.gz"
    path.write_bytes(gzip.compress(ROWS.encode()))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run the command."""
    monkeypatch.setattr(sys, "argv", ["evaluation_set", *words])
    main()


def test_set_is_made_from_a_table_and_holds_no_text(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels, persons, groups and bands are those of the rows; no word of a text is in the file."""
    out = data.with_name("told.set")
    words = ["--data", str(data), "--labels", "ekman", "--split", "dev", "--same", "shame=sadness"]
    run(monkeypatch, *words, "--group", "sex", "--group", "age:20:25", "--out", str(out))
    made = load_set(out)
    assert capsys.readouterr().out == f"{out} {made.digest}\n"
    assert [made.labels[place] for place in made.truth] == ["sadness", "joy", "sadness"]
    assert made.owners.tolist() == [0, 0, 1]
    assert made.features[:, 0].tolist() == [14, 10, 10]
    sex, age = made.groups
    assert [sex.names[place] for place in sex.places] == ["f", "f", "m"]
    assert (age.names, age.places.tolist()) == (("to 20", "to 25", "over 25"), [0, 0, -1])
    assert (made.name, made.features_digest) == ("told", FEATURES_DIGEST)
    assert b"keys" not in out.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--group", "country"], "lacks country"),
        (["--person", "who"], "lacks who"),
        (["--split", "test"], "rows of split test"),
        ([], "label 'shame' is none of"),
        (["--same", "shame=joy", "--group", "sex:20"], "bands of sex need numbers"),
    ],
)
def test_data_that_does_not_fit_is_one_line(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    """What is missing is named, exit 1, and no text of the data is repeated."""
    out = data.with_name("none.set")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--data", str(data), "--labels", "ekman", "--out", str(out), *words)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out, shown.err.count("\n")) == (1, "", 1)
    assert said in shown.err
    assert "keys" not in shown.err
    assert not out.exists()


def test_unreadable_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is missing or not gzipped ends with exit 1."""
    for content in (None, b"plain"):
        path = tmp_path / "data.csv.gz"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            run(monkeypatch, "--data", str(path), "--labels", "ekman", "--out", str(tmp_path / "o"))
        assert ended.value.code == 1
        assert capsys.readouterr().err.count("\n") == 1


def plain() -> EvaluationSet:
    """Return the smallest set."""
    return EvaluationSet(
        name="plain",
        digest=Digest(""),
        features_digest=FEATURES_DIGEST,
        labels=("a", "b"),
        features=np.ones((2, 3), np.float32),
        truth=np.array([0, 1]),
        owners=np.array([0, 1]),
        groups=(Groups(attribute="sex", names=("f", "m"), places=np.array([0, -1])),),
    )


def test_set_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Every column survives the file, and the digest is the file's."""
    path = tmp_path / "plain.set"
    path.write_bytes(set_bytes(plain()))
    again = load_set(path)
    assert set_bytes(again) == path.read_bytes()
    assert (again.labels, again.groups[0].names) == (("a", "b"), ("f", "m"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"truth": np.array([0, 2])},
        {"truth": np.array([0])},
        {"truth": np.array([-1, 0])},
        {"features": np.full((2, 3), np.nan, np.float32)},
        {"features": np.ones(2, np.float32)},
        {"groups": (Groups(attribute="sex", names=("f",), places=np.array([0, 1])),)},
    ],
)
def test_set_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    """Columns that differ in length, and places outside, are no set."""
    with pytest.raises(EvaluationInvalid):
        replace(plain(), **wrong)  # type: ignore[arg-type]


def test_bands_have_their_upper_bound_inside() -> None:
    """20 is "to 20"; what is over the last bound has a band; an empty value has none."""
    assert grouped(["20", "21", "99", ""], "age:20:25").places.tolist() == [0, 1, 2, -1]
    assert evaluation_set.grouped(["x", ""], "sex").places.tolist() == [0, -1]
