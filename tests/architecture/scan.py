"""What a module imports and builds, read from its text without running it.

Every import counts, wherever it stands: under TYPE_CHECKING, in a function, or by
`importlib.import_module` with a literal name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module: its dotted name, its syntax, and whether it is a package's front."""

    name: str
    tree: ast.Module
    is_package: bool

    @property
    def package(self) -> str:
        """The top package."""
        return self.name.split(".", 1)[0]


def module(name: str, text: str, *, is_package: bool = False) -> Module:
    """Parse the text of one module."""
    return Module(name=name, tree=ast.parse(text), is_package=is_package)


def modules_of(package: str, *, root: Path = ROOT) -> Iterator[Module]:
    """Parse every module of a package below the root; none when it is not written yet."""
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        front = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if front else parts)
        yield module(name, path.read_text("utf-8"), is_package=front)


def imports_of(source: Module) -> Iterator[str]:
    """Yield the full dotted name of everything the module imports."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _origin(source, node)
            yield from (f"{start}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node.func) in {"import_module", "__import__"}:
            yield from _literal(node.args[:1])


def _origin(source: Module, node: ast.ImportFrom) -> str:
    """Return the absolute module that a `from` import reads."""
    if not node.level:
        return node.module or ""
    up = node.level - (1 if source.is_package else 0)
    parts = source.name.split(".")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def builds(source: Module, type_name: str) -> bool:
    """Return whether the module calls, subclasses or `__new__`s the type, by any alias."""
    names = {type_name} | {
        alias.asname
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == type_name and alias.asname
    }
    return any(_makes(node, names) for node in ast.walk(source.tree))


def names_in(source: Module) -> set[str]:
    """Return every dotted name that stands in the module, its imports resolved."""
    known: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            known |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            start = _origin(source, node)
            known |= {a.asname or a.name: f"{start}.{a.name}" for a in node.names}
    dotted = {_dotted(node) for node in ast.walk(source.tree)} - {""}
    return {
        ".".join([known.get(n.split(".")[0], n.split(".")[0]), *n.split(".")[1:]]) for n in dotted
    }


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return before and f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def texts(source: Module) -> set[str]:
    """Return every text that stands in the module, in small letters."""
    constants = (n.value for n in ast.walk(source.tree) if isinstance(n, ast.Constant))
    return {value.lower() for value in constants if isinstance(value, str)}


def _makes(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.ClassDef):
        return any(_called(b) in names for b in node.bases)
    if not isinstance(node, ast.Call):
        return False
    handed_on = [_called(a) for a in [*node.args, *(k.value for k in node.keywords)]]
    plain = _called(node.func) in names
    made = _called(node.func) in {"__new__", "partial"} and not names.isdisjoint(handed_on)
    return plain or made


def _called(node: ast.AST) -> str | None:
    """Return the last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _literal(arguments: list[ast.expr]) -> Iterator[str]:
    """Yield the arguments that are plain text."""
    for argument in arguments:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value
