"""A node's service loads what it uses: no torch, no transformers, whatever is installed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from client_node.lean_import import with_empty, without
from models.encoder import Encoder
from models.token_classifier import TokenClassifier

SCRIPT = """
import sys
from pathlib import Path
import client_node.cli
from client_node.redaction import Redactor
from models.accounting import gaussian_curve
from models.encoder import Encoder
graphs = Path(sys.argv[1])
Redactor.load(graphs=graphs), Encoder.load(graphs=graphs)
gaussian_curve(noise_multiplier=5, sample_rate=0.1, steps=3)
unwanted = {"torch", "transformers", "opacus", "spacy", "opentelemetry.exporter", "onnx"}
unwanted |= {"requests", "filelock", "presidio_analyzer.predefined_recognizers"}
print(sorted(unwanted & sys.modules.keys()))
import torch
print(torch.tensor([2]).item())
import spacy.cli
print(callable(spacy.cli.download))
"""
START = """
import gc, sys
from client_node.start import ALLOCATIONS, main
sys.argv = ["undertone-node", "--help"]
loaded = "client_node.cli" in sys.modules
try:
    main()
finally:
    print(loaded, gc.get_threshold()[0] == ALLOCATIONS, gc.get_freeze_count() > 100_000)
"""


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the graphs of an earlier start."""
    folder = tmp_path_factory.mktemp("graphs")
    Encoder.load(graphs=folder)
    TokenClassifier.load(graphs=folder)
    return folder


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )


def test_node_service_loads_no_framework(graphs: Path) -> None:
    """The service's own process stays without them, and can still load one when it is asked to.

    Nor does it load spaCy without a model of it, what fetches lists or sends traces, or the
    writer of graphs that it has.
    """
    done = run(SCRIPT, str(graphs))
    assert done.stdout.split("\n")[:3] == ["[]", "2", "True"], done.stderr


def test_start_of_the_command_imports_under_a_patient_collector() -> None:
    """Nothing is imported before the collector waits longer; what was imported is left alone."""
    done = run(START)
    assert done.returncode == 0, done.stderr
    assert "Serve, and look after one node." in done.stdout
    assert done.stdout.split("\n")[-2] == "False True True"


def test_with_empty_shows_an_empty_module_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, what is asked of it is an empty class; afterwards the real one is found."""
    monkeypatch.delitem(sys.modules, "xml.sax.saxutils", raising=False)
    with with_empty({"xml.sax.saxutils": ["escape"]}), suppress(ValueError):
        assert isinstance(import_module("xml.sax.saxutils").escape, type)
        raise ValueError
    assert not isinstance(import_module("xml.sax.saxutils").escape, type)
    with with_empty({"xml.sax.saxutils": ["escape"]}):
        assert not isinstance(import_module("xml.sax.saxutils").escape, type), "it was loaded"


def test_with_empty_still_finds_what_lies_in_an_empty_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A package's own lines are not run, its parts are; afterwards its lines are run."""
    inner = tmp_path / "leanly" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("WHOLE = True")
    (inner / "part.py").write_text("HERE = True")
    monkeypatch.syspath_prepend(tmp_path)
    with with_empty({"leanly.inner": []}):
        assert import_module("leanly.inner.part").HERE
        assert not hasattr(import_module("leanly.inner"), "WHOLE")
    assert import_module("leanly.inner").WHOLE


def test_without_hides_for_a_while_and_leaves_what_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Inside, the framework is not found; afterwards it is; one that is loaded stays loaded."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys", "json"):
        assert find_spec("json") is not None
        with pytest.raises(ModuleNotFoundError):
            import_module("colorsys")
    assert import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_without_gives_back_what_it_hid_when_an_import_fails() -> None:
    """An import that breaks leaves no framework hidden."""
    with suppress(ValueError), without("colorsys"):
        raise ValueError
    assert find_spec("colorsys") is not None
