"""The house stands as drawn; each table is seen to fail on a synthetic module."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.architecture.house import ARROWS, ATTACHMENT, BUILDERS, DOORS, NAMES_OF_NOTHING, OUTPUTS
from tests.architecture.scan import (
    ROOT,
    Module,
    builds,
    imports_of,
    module,
    modules_of,
    names_in,
    texts,
)

PACKAGES = tuple(ARROWS)
SERVICES = ("policies", "audit", "consent", "client_node", "coordinator")
NO_CODE = {"tests", "docs"}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, p) or fnmatchcase(f"{name}.", p) for p in patterns)


def forbidden_arrows(source: Module) -> list[str]:
    """Return imports of our own packages that no arrow allows."""
    allowed = ARROWS[source.package] | {source.package}
    ours = {*PACKAGES, "tests"}
    return [
        i for i in imports_of(source) if (top := i.split(".")[0]) in ours and top not in allowed
    ]


def forbidden_doors(source: Module) -> list[str]:
    """Return imports of libraries that have no row, or whose row does not name this module."""
    known = sys.stdlib_module_names | {*PACKAGES, "tests"}
    libraries = [i for i in imports_of(source) if i.split(".")[0] not in known]
    return [i for i in libraries if not _matches(source.name, DOORS.get(i.split(".")[0], ()))]


def stray_builders(source: Module) -> list[str]:
    """Return the proof-carrying types that this module builds and may not."""
    return [t for t, home in BUILDERS.items() if source.name != home and builds(source, t)]


@pytest.mark.parametrize("package", PACKAGES)
def test_package_follows_the_arrows(package: str) -> None:
    """No package imports one that the drawing does not point to."""
    wrong = {m.name: w for m in modules_of(package) if (w := forbidden_arrows(m))}
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_libraries_enter_by_their_doors(package: str) -> None:
    """Each library is imported by the modules of its row only, and none has no row."""
    wrong = {m.name: w for m in modules_of(package) if (w := forbidden_doors(m))}
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_proof_carrying_types_have_one_builder(package: str) -> None:
    """A permit, a redacted text and a verified release each come from one module alone."""
    wrong = {m.name: w for m in modules_of(package) if (w := stray_builders(m))}
    assert not wrong


def stray_outputs(source: Module) -> list[str]:
    """Return the ways past `audit.terminal` in which this module prints and may not."""
    used = names_in(source)
    return [way for way, who in OUTPUTS.items() if way in used and source.name not in who]


@pytest.mark.parametrize("package", SERVICES)
def test_services_print_by_the_one_terminal(package: str) -> None:
    """What a name could do to a terminal is undone in one place, which nobody goes around."""
    wrong = {m.name: w for m in modules_of(package) if (w := stray_outputs(m))}
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_files_to_keep_are_named_in_one_place(package: str) -> None:
    """A name that goes into a header goes through `audit.http.attachment`."""
    found = {
        m.name for m in modules_of(package) if any("content-disposition" in t for t in texts(m))
    }
    assert found <= {ATTACHMENT}


@pytest.mark.parametrize("package", PACKAGES)
def test_module_names_say_something(package: str) -> None:
    """No module is called utils, common, helpers or base."""
    names = [m.name for m in modules_of(package)]
    assert not [n for n in names if not NAMES_OF_NOTHING.isdisjoint(n.split("."))]


def packages_below(root: Path) -> set[str]:
    """Return the visible folders and modules with code directly below the root."""
    folders = {p.name for p in root.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    return {n for n in folders if not n.startswith((".", "_"))} | {
        p.stem for p in root.glob("*.py")
    }


def test_there_is_no_seventh_package() -> None:
    """Code lives in the six packages, the tests and the deployment."""
    assert packages_below(ROOT) - NO_CODE <= {*PACKAGES, "build", "dist"}


def test_a_seventh_package_is_seen(tmp_path: Path) -> None:
    """A new folder with code, and a module beside the packages, are both found."""
    (tmp_path / "extras").mkdir()
    (tmp_path / "extras" / "more.py").touch()
    (tmp_path / "glue.py").touch()
    assert packages_below(tmp_path) == {"extras", "glue"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("coordinator.rounds", "import consent.ledger"),
        ("coordinator.rounds", "from client_node import vault"),
        ("models.heads", "from audit.log import EvidenceLog"),
        (
            "policies.engine",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import audit",
        ),
        ("audit.gate", "def late():\n    from consent import records"),
        ("audit.gate", "import importlib\nimportlib.import_module('models.heads')"),
        ("consent.api", "__import__('models')"),
        ("deploy.demo", "from tests.policies import cases"),
    ],
)
def test_a_forbidden_arrow_is_seen(name: str, text: str) -> None:
    """Each way of importing against the arrows is found."""
    assert forbidden_arrows(module(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("audit.gate", "import cedarpy"),
        ("policies.catalogue", "from cedarpy import PolicySet"),
        ("client_node.pipeline", "def late():\n    import torch"),
        ("audit.log", "from cryptography.hazmat.primitives import hashes"),
        ("consent.service", "import fastapi"),
        ("models.heads", "import a_library_without_a_row"),
        ("audit.log", "import numpy as np"),
    ],
)
def test_a_library_beside_its_door_is_seen(name: str, text: str) -> None:
    """A known library elsewhere, and a library without a row, are both found."""
    assert forbidden_doors(module(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("policies.engine", "import cedarpy"),
        ("models", "import torch"),
        ("models.heads", "import torch.nn as nn"),
        ("consent.api", "from fastapi import FastAPI"),
        ("audit.log", "import sqlite3\nfrom . import tree\nfrom policies.canonical import digest"),
    ],
)
def test_the_doors_themselves_are_open(name: str, text: str) -> None:
    """What the tables allow is not refused."""
    assert not forbidden_doors(module(name, text))
    assert not forbidden_arrows(module(name, text))


@pytest.mark.parametrize(
    "text",
    [
        "print('x')",
        "import sys\nsys.stdout.write(x)",
        "from sys import stdout\nstdout.write(x)",
        "import typer as t\nt.echo(x)",
        "from typer import echo\necho(x)",
        "say = typer.echo\nserve(say)",
        "from rich.console import Console as C\nout = C()",
        "out = rich.console.Console(stderr=True)",
    ],
)
def test_printing_past_the_terminal_is_seen(text: str) -> None:
    """Each way is found, by alias, too, and when it is only handed on."""
    assert stray_outputs(module("client_node.some_cli", text))
    assert not stray_outputs(module("client_node.some_cli", "say(x)\nself.stdout.read()"))


def test_a_second_name_of_a_file_is_seen() -> None:
    """The header's name is found in whatever case, and in an f-string."""
    assert "content-disposition" in texts(module("a", "x = {'Content-Disposition': 1}"))
    assert any(
        "content-disposition" in t for t in texts(module("a", "x = f'Content-Disposition: {y}'"))
    )


def test_a_relative_import_is_resolved() -> None:
    """A relative import stays in its package and is judged by what it really reads."""
    inside = module("client_node.uses.handover", "from ..vault import Vault")
    assert list(imports_of(inside)) == ["client_node.vault.Vault"]
    front = module("client_node.uses", "from . import handover", is_package=True)
    assert list(imports_of(front)) == ["client_node.uses.handover"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("consent.service", "from policies.permit import Permit\nPermit(node='n')"),
        ("client_node.vault", "from policies.permit import Permit as P\nP(node='n')"),
        ("models.inference", "import policies.permit as p\np.Permit()"),
        ("deploy.harness", "RedactedText(text='as it was')"),
        ("models.release", "object.__new__(VerifiedRelease)"),
        ("coordinator.rounds", "class Mine(Permit): ..."),
        ("coordinator.rounds", "make = partial(Permit, node='n')"),
    ],
)
def test_a_second_builder_is_seen(name: str, text: str) -> None:
    """A second maker of a proof-carrying type is found, by alias and by trick."""
    assert stray_builders(module(name, text))


def test_the_one_builder_may_build() -> None:
    """The module that is named may build its type, and others may take it as an argument."""
    assert not stray_builders(module("audit.gate", "Permit(node='n')"))
    assert not stray_builders(module("models.inference", "def infer(permit: Permit): ..."))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_goes_into_the_wheel(package: str) -> None:
    """What lies beside the code is found by a pattern; every folder counts as a package there."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["*"]
    homes = [ROOT / package, *(p for p in (ROOT / package).rglob("*") if p.is_dir())]
    carried = {path for home in homes for pattern in patterns for path in home.glob(pattern)}
    there = {p for p in (ROOT / package).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert not {p.name for p in there - carried if p.suffix not in {".py", ".md"}}
