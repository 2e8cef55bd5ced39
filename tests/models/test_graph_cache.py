"""Claims about graphs kept between starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.encoder import Encoder
from models.errors import EncoderRejected
from models.features import GRAPH_DIGEST, TOKEN_GRAPH_DIGEST
from models.graph_cache import kept_graph
from models.token_classifier import PieceReader
from policies.redacted import PublicText
from policies.vocabulary import Digest

GRAPH = b"a graph"
DIGEST = Digest(hashlib.sha256(GRAPH).hexdigest())


class Maker:
    """Makes a graph, and counts how often."""

    def __init__(self, graph: bytes = GRAPH) -> None:
        self.graph, self.made = graph, 0

    def __call__(self) -> bytes:
        """Return the graph."""
        self.made += 1
        return self.graph


def test_graph_is_made_once_and_then_taken_from_a_private_folder(tmp_path: Path) -> None:
    """The second start makes nothing; nobody else may read the folder or the file."""
    make, folder = Maker(), tmp_path / "graphs"
    assert [kept_graph(folder, DIGEST, make) for _ in range(2)] == [GRAPH, GRAPH]
    assert make.made == 1
    (kept,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o077, kept.stat().st_mode & 0o077) == (0, 0)


@pytest.mark.parametrize("changed", [b"", b"a grapf", GRAPH + b"\0", GRAPH[:-1]])
def test_graph_that_was_changed_is_made_anew_and_mended(changed: bytes, tmp_path: Path) -> None:
    """A byte changed, lost or added is seen; what was made takes its place."""
    make = Maker()
    kept_graph(tmp_path, DIGEST, make)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(changed)
    assert kept_graph(tmp_path, DIGEST, make) == GRAPH
    assert (make.made, kept.read_bytes()) == (2, GRAPH)


def test_graph_of_other_bytes_is_used_and_never_kept(tmp_path: Path) -> None:
    """A machine that makes other bytes runs by what it made itself, each time."""
    make = Maker(b"another")
    assert [kept_graph(tmp_path, DIGEST, make) for _ in range(2)] == [b"another"] * 2
    assert (make.made, list(tmp_path.iterdir())) == (2, [])


def test_graph_is_made_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """No folder, or one that is a file, costs time and nothing else; no part is left behind."""
    (tmp_path / "file").write_bytes(b"")
    for folder in (None, tmp_path / "file"):
        assert kept_graph(folder, DIGEST, Maker()) == GRAPH
    (tmp_path / f"{DIGEST}.onnx").mkdir()
    assert kept_graph(tmp_path, DIGEST, Maker()) == GRAPH
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["file", f"{DIGEST}.onnx"])


def test_published_weights_make_the_stated_graphs(tmp_path: Path) -> None:
    """Both graphs have their digests, and one that is kept gives the very same features."""
    texts = [PublicText(text="my parcel never came"), PublicText(text="thank you")]
    first = Encoder.load(graphs=tmp_path)
    PieceReader.load(graphs=tmp_path)
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {GRAPH_DIGEST, TOKEN_GRAPH_DIGEST}
    second = Encoder.load(graphs=tmp_path)
    assert first.encode(texts).tobytes() == second.encode(texts).tobytes()


def test_kept_graph_stands_in_for_no_missing_encoder(tmp_path: Path) -> None:
    """A folder without the encoder is refused, whatever is kept."""
    Encoder.load(graphs=tmp_path)
    with pytest.raises(EncoderRejected):
        Encoder.load(tmp_path / "nowhere", graphs=tmp_path)
