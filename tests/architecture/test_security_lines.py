"""The answers to OWASP ASVS: none is missing, and each test that one names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Lines of levels 1 and 2 of ASVS 5.0.0: chapter.section, and the last line of each section.
SECTIONS = """
1.1:2 1.2:9 1.3:11 1.4:3 1.5:2 2.1:3 2.2:3 2.3:4 2.4:1 3.2:2 3.3:4 3.4:6 3.5:5 3.7:2 4.1:3 4.2:1
4.3:2 4.4:4 5.1:1 5.2:3 5.3:2 5.4:3 6.1:3 6.2:12 6.3:4 6.4:4 6.5:5 6.6:3 6.8:4 7.1:3 7.2:4 7.3:2
7.4:5 7.5:2 7.6:2 8.1:2 8.2:3 8.3:1 8.4:1 9.1:3 9.2:4 10.1:2 10.2:2 10.3:4 10.4:11 10.5:5 10.6:2
10.7:3 11.1:2 11.2:3 11.3:3 11.4:4 11.5:1 11.6:1 12.1:3 12.2:2 12.3:4 13.1:1 13.2:5 13.3:2 13.4:5
14.1:2 14.2:4 14.3:3 15.1:3 15.2:3 15.3:7 16.1:1 16.2:5 16.3:4 16.4:3 16.5:3
"""
STATES = {"held", "n/a", "operator", "open"}
_ROW = re.compile(r"\| (\d+\.\d+\.\d+) \| (\S+) \| (.+?) \| (?:`(\S+)`)? ?\|")


def _rows() -> list[tuple[str, str, str, str]]:
    return _ROW.findall((ROOT / "docs" / "security.md").read_text(encoding="utf-8"))


def _missing(named: str) -> str:
    """Return what is wrong with a named test, or nothing."""
    path, _, test = named.partition("::")
    file = ROOT / path
    if not file.is_file():
        return f"{path} is no file"
    there = not test or re.search(rf"def {re.escape(test)}\(", file.read_text(encoding="utf-8"))
    return "" if there else f"{path} has no {test}"


def test_every_line_of_level_two_has_one_answer() -> None:
    """Each number stands once, in order, with a state that the page explains and a reason."""
    wanted = [
        f"{section}.{line}"
        for section, last in (word.split(":") for word in SECTIONS.split())
        for line in range(1, int(last) + 1)
    ]
    assert [number for number, *_ in _rows()] == wanted
    assert {state for _, state, *_ in _rows()} <= STATES
    assert all(len(how) > 3 for _, _, how, _ in _rows())


def test_each_test_that_an_answer_names_exists() -> None:
    """No answer rests on a test that was renamed or taken away."""
    faults = {number: _missing(test) for number, _, _, test in _rows() if test}
    assert {number: fault for number, fault in faults.items() if fault} == {}


@pytest.mark.parametrize("named", ["tests/none.py", "tests/architecture/test_security_lines.py::x"])
def test_a_test_that_is_not_there_is_seen(named: str) -> None:
    """What the line above looks for can be missing."""
    assert _missing(named)
