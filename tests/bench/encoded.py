"""Features of a data set's texts, kept between runs of a benchmark.

Encoding forty thousand texts takes minutes, and the features depend on nothing but the texts
and the encoder: so they lie in a temporary folder, under the digest of both. Only benchmarks
keep features that way; a node seals them (`client_node.vault`).
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.encoder import Encoder
from models.features import FEATURES_DIGEST
from policies.redacted import RedactedText

FOLDER = Path(tempfile.gettempdir()) / "undertone-features"
_CHUNK = 2000


def encoded(texts: Sequence[str], *, folder: Path = FOLDER) -> npt.NDArray[np.float32]:
    """Return features `(text, feature)`, from the folder where it holds them already."""
    told = json.dumps([FEATURES_DIGEST, *texts]).encode()
    path = folder / f"{hashlib.sha256(told).hexdigest()}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    encoder, parts = Encoder.load(), []
    for start in range(0, len(texts), _CHUNK):
        chunk = [RedactedText(text=text) for text in texts[start : start + _CHUNK]]
        parts.append(encoder.encode(chunk))
        print(f"encoded {start + len(chunk)} of {len(texts)} texts", file=sys.stderr, flush=True)
    features = np.vstack(parts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_suffix(".part.npy")  # whole or not at all, whoever else is writing
    np.save(part, features)
    part.replace(path)
    return features
