"""The table of faults for operators (`docs/faults.md`) and the tests that make them are one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from audit.errors import Tampering
from audit.witness_store import Misdeed

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "faults.md"
WHOLE = ("test_faults", "test_disk_full")
"""Files of nothing but faults: each of their tests has its row."""

_TEST = re.compile(r"`(test_\w+)::(test_\w+)`")


def rows() -> list[list[str]]:
    """Return the table's rows, cell by cell."""
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def defined_in(name: str) -> set[str]:
    """Return the tests that a file defines."""
    tree = ast.parse((HERE / f"{name}.py").read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {f.name for f in functions if f.name.startswith("test_")}


def named() -> set[tuple[str, str]]:
    """Return every test that a row names."""
    return {(file, test) for row in rows() for file, test in _TEST.findall(row[3])}


def test_each_fault_of_the_table_has_a_test_that_exists() -> None:
    """Every row has four cells and names a test, and each of these is in its file."""
    assert len(rows()) > 20
    for row in rows():
        assert len(row) == 4
        assert _TEST.findall(row[3]), f"no test for: {row[0]}"
    assert {(file, test) for file, test in named() if test not in defined_in(file)} == set()


def test_each_fault_that_is_tested_has_its_row() -> None:
    """A test of the files that hold nothing but faults is in the table."""
    assert {(file, test) for file in WHOLE for test in defined_in(file)} <= named()


@pytest.mark.parametrize("name", [*Tampering, *Misdeed])
def test_each_name_of_what_was_done_is_in_the_table(name: str) -> None:
    """Whatever verification or a witness can say is explained."""
    assert any(f"`{name}`" in row[2] for row in rows())
