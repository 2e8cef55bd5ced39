"""Trains the public base: `python -m models.train_base --data goemotions.csv.gz`.

    1 read       GoEmotions; a tenth of train is kept apart, for every choice made afterwards
    2 adapter    low-rank matrices in the encoder (PEFT), by binary cross-entropy on 28 labels
    3 features   of all comments, by the 8-bit encoder that nodes run
    4 heads      one linear head for each label set; penalty chosen on the tenth
    5 thresholds for the 28 labels, on the tenth; temperatures for the other heads, there too
    6 card       every figure on dev, which nothing was chosen on
    7 basis      the whitened directions in which private steps may be taken, of train alone

It needs the extra `train` and, on two cores without a GPU, about an hour. `--adapter` goes on
from step 3 with an adapter that is there already.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from models.adapter_training import EPOCHS, train_adapter
from models.base_card import ABOUT, figures, write
from models.basis import NAME, whitened_basis
from models.encoder import Encoder
from models.goemotions import read
from models.head_fitting import fit_many, fit_one
from models.label_sets import GOEMOTIONS, label_sets
from models.pretrained import ADAPTER, BASIS, FOLDER, HEADS, Tensors
from policies.errors import UndertoneError
from policies.redacted import PublicText


def features_of(texts: Sequence[str], adapter: Tensors) -> npt.NDArray[np.float32]:
    """Return the features of the texts as a node with this adapter has them."""
    encoder, size = Encoder.load(adapter=adapter), 256
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        rows = pool.map(lambda part: encoder.encode([PublicText(text=t) for t in part]), parts)
        return np.concatenate(list(rows))


def main() -> None:
    """Train, measure, write; say which digests go into `models.features`."""
    parser = argparse.ArgumentParser(prog="python -m models.train_base", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="GoEmotions, CSV.GZ")
    parser.add_argument("--out", default=FOLDER, type=Path, help="folder for the base")
    parser.add_argument("--epochs", default=EPOCHS, type=int)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--adapter", type=Path, help="go on with an adapter that is there")
    asked = parser.parse_args()
    try:
        _make(asked)
    except (UndertoneError, ModuleNotFoundError, OSError) as error:
        sys.stderr.write(f"train_base: {error}\n")
        sys.exit(1)


def _make(asked: argparse.Namespace) -> None:
    comments = read(asked.data)  # 1
    if asked.adapter is None:
        adapter = train_adapter(  # 2
            comments["train"], comments["apart"], seed=asked.seed, epochs=asked.epochs
        )
        save_file(adapter, asked.out / ADAPTER)
    else:
        adapter = load_file(asked.adapter)
    features = {name: features_of(part.texts, adapter) for name, part in comments.items()}  # 3
    heads = {
        name: fit_many(features, comments)
        if name == GOEMOTIONS
        else fit_one(features, comments, wanted)
        for name, wanted in label_sets().items()
    }  # 4, 5
    card = {"figures": figures(features, comments, heads), "seed": asked.seed, **ABOUT}  # 6
    write(asked.out, heads, card)
    save_file({NAME: whitened_basis(features["train"])}, asked.out / BASIS)  # 7
    for name in (ADAPTER, HEADS, BASIS):
        digest = hashlib.sha256((asked.out / name).read_bytes()).hexdigest()
        sys.stdout.write(f"{name} {digest}\n")


if __name__ == "__main__":
    main()
