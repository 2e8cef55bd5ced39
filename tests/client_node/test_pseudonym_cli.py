"""`undertone-node pseudonym`: from an export of the CRM to pseudonyms, and no identity beside."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path

import pytest

from client_node.cli import app
from client_node.pseudonym import key_id, pseudonym
from policies.standing import erased
from tests.client_node.conftest import PSEUDONYM_KEY, World
from tests.client_node.test_personal_ends import settings_file
from tests.client_node.test_pseudonym import NEXT_KEY, key_file, known, rotated

EXPORT = 'customer,name,segment\n"Łukasz, 7",Łukasz Nowak,gold\n8,"Ann ""Joy"" Bee",new\n'
SECRETS = ("Łukasz", "Nowak", "Joy", "Bee")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return a company's key file."""
    path = tmp_path / "pseudonym.key"
    path.write_bytes(PSEUDONYM_KEY)
    path.chmod(0o600)
    return path


def run(
    capsys: pytest.CaptureFixture[str], *words: str | Path, export: str | bytes = EXPORT
) -> tuple[int, str, str]:
    """Run the command on an export; return exit code, stdout and stderr."""
    data = export if isinstance(export, bytes) else export.encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        with pytest.raises(SystemExit) as ended:
            app(["pseudonym", *map(str, words)])
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


def test_an_export_becomes_pseudonyms_without_identities(
    capsys: pytest.CaptureFixture[str], key: Path
) -> None:
    """Only the columns that are named pass; the customer id is not among them."""
    code, out, err = run(
        capsys, "make", "--key-file", key, "--column", "customer", "--keep", "segment"
    )
    assert (code, err) == (0, "")
    assert list(csv.reader(io.StringIO(out))) == [
        ["pseudonym", "segment"],
        [pseudonym("Łukasz, 7", key=PSEUDONYM_KEY), "gold"],
        [pseudonym("8", key=PSEUDONYM_KEY), "new"],
    ]


def test_the_mapping_is_a_new_file_for_its_owner_alone(
    capsys: pytest.CaptureFixture[str], key: Path, tmp_path: Path
) -> None:
    """Identities go there and nowhere else, and never over a file that is there."""
    kept = tmp_path / "mapping.csv"
    words = ("make", "--key-file", key, "--column", "customer", "--mapping", kept)
    assert run(capsys, *words)[:2] == (0, "")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    rows = list(csv.reader(io.StringIO(kept.read_text(encoding="utf-8"))))
    assert rows[1] == [pseudonym("Łukasz, 7", key=PSEUDONYM_KEY), "Łukasz, 7"]
    before = kept.read_bytes()
    assert run(capsys, *words)[0] == 2
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("export", "code", "said"),
    [
        ("", 1, "the export is empty"),
        (EXPORT + ",Nowak,gold\n", 1, "line 4: no customer id"),
        (EXPORT + "Nowak\n", 0, ""),
        (EXPORT + '"Nowak\n', 1, "not CSV in UTF-8"),
        (EXPORT.encode() + b"\xffNowak,x,y\n", 1, "not CSV in UTF-8"),
        (EXPORT + f"{'Nowak' * 30_000},x,y\n", 1, "not CSV in UTF-8"),
        ("name,segment\nNowak,gold\n", 2, "has not one column 'customer'"),
        ("customer,customer\nNowak,gold\n", 2, "has not one column 'customer'"),
    ],
)
def test_a_bad_export_is_one_line_that_quotes_nothing(
    capsys: pytest.CaptureFixture[str], key: Path, export: str | bytes, code: int, said: str
) -> None:
    """The line is named by its number; no message holds a word of a customer."""
    found, out, err = run(capsys, "make", "--key-file", key, "--column", "customer", export=export)
    assert found == code, err
    assert said in " ".join(err.replace("│", " ").split())
    assert (code == 2) <= (out == "")
    assert not any(word in out + err for word in SECRETS)


def test_a_key_that_others_may_read_makes_nothing(
    capsys: pytest.CaptureFixture[str], key: Path
) -> None:
    """Mode 0600, or no pseudonym; nor is a key written over, and a new one is private."""
    assert run(capsys, "key", key)[0] == 2
    assert key.read_bytes() == PSEUDONYM_KEY
    key.chmod(0o640)
    code, out, err = run(capsys, "make", "--key-file", key, "--column", "customer")
    assert (code, out) == (1, "")
    assert "chmod 600" in err
    made = key.with_name("next.key")
    code, out, _ = run(capsys, "key", made)
    assert (code, out.strip()) == (0, key_id(made.read_bytes()))
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_a_census_says_whether_the_old_key_is_done_with(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts whom the node knows, by key; names follow the people; erased people are done."""
    known(world, "8")
    node = rotated(world)
    settings = settings_file(world.folder / "node.toml", node)
    words = ("--settings", settings, "--column", "customer")
    code, out, _ = run(capsys, "census", *words, "--json")
    counted = {key_id(NEXT_KEY): 0, key_id(PSEUDONYM_KEY): 1}
    assert (code, json.loads(out)) == (1, counted)
    made = run(capsys, "make", *words)[1].split()
    assert made[1:] == [
        pseudonym("Łukasz, 7", key=NEXT_KEY),
        pseudonym("8", key=PSEUDONYM_KEY),
    ]
    world.trust.withdraw(erased(pseudonym("8", key=PSEUDONYM_KEY), int(world.now)), None)
    node.keeper.poll()
    code, out, _ = run(capsys, "census", *words, "--json")
    assert (code, json.loads(out)) == (0, dict.fromkeys(counted, 0))


def test_a_census_needs_a_node_that_has_heard(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody known here yet is no proof that nobody is known."""
    key_file(world, NEXT_KEY, "next.key")
    node = world.open()
    world.close()
    (world.folder / "state" / "standing.db").unlink()
    settings = settings_file(world.folder / "node.toml", node)
    code, out, err = run(capsys, "census", "--settings", settings, "--column", "customer")
    assert (code, out) == (1, "")
    assert "start it first" in err
