"""Eleven promises, each with a test or a reason why not."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PROMISES = range(1, 12)


def marked(root: Path) -> Iterator[int]:
    """Yield the number of each `pytest.mark.promise(number)` in the tests."""
    for path in root.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "promise"
            ):
                yield ast.literal_eval(node.args[0])


def test_every_promise_has_a_test() -> None:
    """No promise rests on good will: each number is on at least one test."""
    assert set(PROMISES) <= set(marked(TESTS))


def test_what_is_open_is_named_with_a_reason() -> None:
    """Only the parts that the design lets open at first may be listed, each with its reason."""
    entries = tomllib.loads((TESTS / "promises" / "open.toml").read_text(encoding="utf-8"))["open"]
    assert {entry["promise"] for entry in entries} <= {7, 8}
    assert all(entry["part"] and entry["reason"] for entry in entries)
