"""Reading a table of turns: what is read, and what each bad table is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from deploy.errors import Misuse
from deploy.turns import Columns, families_of, read_table
from policies.vocabulary import Emotion

COLUMNS = Columns(text="text", label="label", tenant="tenant", subject="subject", split="split")
HEADER = "text,label,tenant,subject,split\n"
GOOD = (
    HEADER
    + "so late again,negative,north,anna,train\n"
    + '"thanks, all\nfine",positive,south,ben,train\n'
    + "when does it leave?,neutral,north,cleo,dev\n"
)


def write(tmp_path: Path, text: str, name: str = "turns.csv") -> Path:
    """Write a table and return its path."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_table_gives_its_rows_in_order(tmp_path: Path) -> None:
    """Quoted line breaks, splits and tenants are read as the CSV says."""
    turns = read_table(write(tmp_path, GOOD), COLUMNS, consent=1.0)
    assert [t.branch for t in turns] == ["north", "south", "north"]
    assert turns[1].text == "thanks, all\nfine"
    assert [t.dev for t in turns] == [False, False, True]


def test_table_may_be_gzipped(tmp_path: Path) -> None:
    """A .gz table reads like the plain one."""
    path = tmp_path / "turns.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert len(read_table(path, COLUMNS, consent=1.0)) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("label", "mood", 1), "no column label"),
        (GOOD.replace("so late again", " "), "record 2: the text is empty"),
        (GOOD.replace("so late again", "x" * 1_000_000), "record 2: the text is longer"),
        (GOOD.replace("anna", ""), "record 2: label, tenant or subject is empty"),
        (GOOD.replace("south", "north"), "1 tenants"),
        (GOOD.replace(",dev", ",train"), "no row to score on"),
        ("", "no column"),
    ],
)
def test_table_that_is_wrong_is_told_so_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Each fault is named with its place and a remedy, and no text of a person."""
    with pytest.raises(Misuse) as caught:
        read_table(write(tmp_path, text), COLUMNS, consent=1.0)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "so late again" not in message


def test_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused by their position."""
    path = tmp_path / "turns.csv"
    path.write_bytes(GOOD.replace("so late", "so sp\u00e4t").encode("latin-1"))
    with pytest.raises(Misuse, match="not UTF-8"):
        read_table(path, COLUMNS, consent=1.0)


def test_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(Misuse, match="no such file"):
        read_table(tmp_path / "absent.csv", COLUMNS, consent=1.0)


def test_consent_share_is_the_same_people_on_every_run(tmp_path: Path) -> None:
    """A share of 0 consents nobody, 1 everybody, and the draw is by the person's id alone."""
    rows = "".join(f"hm,neutral,{'ns'[i % 2]},person{i},train\n" for i in range(400))
    path = write(tmp_path, HEADER + rows + "hm,neutral,n,d,dev\n")
    half = [bool(t.purposes) for t in read_table(path, COLUMNS, consent=0.5)]
    assert half == [bool(t.purposes) for t in read_table(path, COLUMNS, consent=0.5)]
    assert 140 < sum(half) < 260
    assert not any(t.purposes for t in read_table(path, COLUMNS, consent=0.0))
    assert all(t.purposes for t in read_table(path, COLUMNS, consent=1.0))


def test_people_are_kept_apart_by_hash_without_a_split(tmp_path: Path) -> None:
    """Without a split column all rows of a person are on one side."""
    rows = "".join(f"hm,neutral,{'ns'[i % 2]},person{i % 60}\n" for i in range(240))
    columns = Columns(text="text", label="label", tenant="tenant", subject="subject", split=None)
    header = HEADER.replace(",split", "")
    sides: dict[tuple[str, str], set[bool]] = {}
    for turn in read_table(write(tmp_path, header + rows), columns, consent=1.0):
        sides.setdefault((turn.branch, turn.customer), set()).add(turn.dev)
    assert all(len(side) == 1 for side in sides.values())


def test_labels_get_their_family_or_are_refused(tmp_path: Path) -> None:
    """Known words map by themselves, unknown ones must be given, unknown families never pass."""
    turns = read_table(write(tmp_path, GOOD.replace("neutral", "meh")), COLUMNS, consent=1.0)
    with pytest.raises(Misuse, match="meh"):
        families_of(turns, "")
    with pytest.raises(Misuse, match="no such family"):
        families_of(turns, "meh=boredom")
    assert dict(families_of(turns, "meh=neutral")) == {
        "meh": Emotion.NEUTRAL,
        "negative": Emotion.ANGER,
        "positive": Emotion.JOY,
    }
