"""A made graph kept on disk between starts, and trusted for nothing but its digest.

Making the 8-bit graphs from the published weights costs a start half a second, and the same
weights make the same bytes. Which bytes is stated (`models.features`), so a kept file is used
if it has exactly that digest, as the published file itself is; any other is made anew. A machine
that makes other bytes works as well, keeps nothing, and starts more slowly.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from policies.vocabulary import Digest


def kept_graph(folder: Path | None, expected: Digest, make: Callable[[], bytes]) -> bytes:
    """Return the graph from the folder if it is there whole, else made, and kept if it may be.

    Args:
        folder: Where graphs lie, each under its digest; None keeps nothing.
        expected: The SHA-256 of the graph's bytes.
        make: Makes it from the published weights, and raises what making it raises.
    """
    if folder is None:
        return make()
    path = _place(folder, expected)
    with suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == expected:
            return data
    made = make()
    if hashlib.sha256(made).hexdigest() == expected:
        with suppress(OSError):  # a full disk costs the next start its half second
            _write(path, made)
    return made


def is_kept(folder: Path | None, *expected: Digest) -> bool:
    """Return True where files of these names lie; whether they are whole, their digests say."""
    return folder is not None and all(_place(folder, graph).is_file() for graph in expected)


def _place(folder: Path, expected: Digest) -> Path:
    return folder / f"{expected}.onnx"


def _write(path: Path, data: bytes) -> None:
    """Write a private file whole or not at all, whoever else is writing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            file.write(data)
            file.close()
            os.replace(file.name, path)  # noqa: PTH105 (from a name to a path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
