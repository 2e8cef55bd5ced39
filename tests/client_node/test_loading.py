"""Claims about models that load while the rest of a node is imported."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from client_node.errors import StartRefused
from client_node.loading import begin_loading
from client_node.parts import Parts, load_models
from client_node.service import open_node
from models.errors import EncoderRejected
from tests.client_node.conftest import World

IMPORTS = """
import sys, threading
from pathlib import Path
from client_node.loading import begin_loading
asked = []
class Watching:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread().name.startswith("loading"):
            asked.append(name)
sys.meta_path.insert(0, Watching())
for time in ("made", "kept"):
    loading = begin_loading(graphs=Path(sys.argv[1]))
    loading.encoder.result(), loading.classifier.result(), loading.languages.result()
    print(time, [name for name in asked if name in sys.modules and "encodings" not in name])
"""


def test_loading_imports_nothing_on_its_threads(tmp_path: Path) -> None:
    """A library is imported before they begin, whether graphs are to be made or kept.

    Python's own table of a character set may be, which imports nothing further.
    """
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", IMPORTS, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "made []\nkept []\n", done.stderr


def test_loading_tells_who_waits_what_was_refused(tmp_path: Path) -> None:
    """An encoder that is not the published one is refused where the start waits for it."""
    loading = begin_loading(tmp_path)
    with pytest.raises(EncoderRejected):
        load_models(None, Parts(loading=loading))


def test_loading_early_changes_no_order_of_refusals(world: World) -> None:
    """Secrets are checked before models: an encoder that failed meanwhile is not what is told."""
    settings = world.settings()
    settings.api_keys_file.chmod(0o644)
    early = begin_loading(settings.folder / "nowhere")
    parts = replace(world.parts(), encoder=None, redactor=None, loading=early)
    with pytest.raises(StartRefused, match=settings.api_keys_file.name):
        open_node(settings, parts)
    assert isinstance(early.encoder.exception(), EncoderRejected)
