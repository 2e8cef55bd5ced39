"""A node's service loads what it uses: no torch, no transformers, whatever is installed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

import pytest

from client_node.lean_import import without

SCRIPT = """
import sys
import client_node.cli
from client_node.redaction import Redactor
from models.accounting import gaussian_curve
from models.encoder import Encoder
Redactor.load(), Encoder.load(), gaussian_curve(noise_multiplier=5, sample_rate=0.1, steps=3)
print(sorted({"torch", "transformers", "opacus"} & sys.modules.keys()))
import torch
print(torch.tensor([2]).item())
"""


def test_node_service_loads_no_framework() -> None:
    """The service's own process stays without them, and can still load one when it is asked to."""
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n")[:2] == ["[]", "2"], done.stderr


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
