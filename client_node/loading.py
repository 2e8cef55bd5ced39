"""The models of a node, loaded on threads of their own while the rest of it is imported.

Unpacking, hashing, reading files and making sessions leave the interpreter free, and importing
needs it, so that on two cores a start waits for the longer of the two. Threads import nothing:
two that import one library at once may each find it half made. What they need is imported before
they begin.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from models.encoder import Encoder
from models.encoder_files import import_libraries
from models.features import GRAPH_DIGEST, TOKEN_GRAPH_DIGEST
from models.graph_cache import is_kept
from models.language import Languages, import_library
from models.token_classifier import TokenClassifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What is on its way; whoever asks for a result waits, and is told why there is none."""

    encoder: Future[Encoder]
    classifier: Future[TokenClassifier]
    languages: Future[Languages]


def begin_loading(encoder_path: Path | None = None, *, graphs: Path | None = None) -> Loading:
    """Begin to load; nothing is trusted for being early, all is checked as ever.

    Args:
        encoder_path: The encoder's folder; None looks in the usual places.
        graphs: Where made graphs are kept between starts.
    """
    import_libraries()
    import_library()
    if not is_kept(graphs, GRAPH_DIGEST, TOKEN_GRAPH_DIGEST):
        import models.encoder_graph  # noqa: F401, PLC0415 (what makes them)
    beside = ThreadPoolExecutor(3, thread_name_prefix="loading")
    loading = Loading(
        languages=beside.submit(Languages.load),
        encoder=beside.submit(Encoder.load, encoder_path, graphs=graphs),
        classifier=beside.submit(TokenClassifier.load, encoder_path, graphs=graphs),
    )
    beside.shutdown(wait=False)
    return loading
