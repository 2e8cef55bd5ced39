"""A set of texts to judge releases by: features, labels and groups, from a public set.

    python -m models.evaluation_set --data isear.csv.gz --labels ekman --person subject \
        --same shame=sadness --same guilt=sadness --group sex --group age:20:25 --out isear.set

What it writes holds no text, so that whoever publishes needs neither encoder nor texts. It is for
sets that are public, or whose people consented to an evaluation: figures of people's data at the
nodes are charged to a budget instead, and never come from here.
"""

from __future__ import annotations

import argparse
import bisect
import csv
import gzip
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.errors import EvaluationInvalid, ModelError
from models.fairness import Groups
from models.features import FEATURES_DIGEST
from models.label_sets import label_sets
from policies.vocabulary import Digest

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationSet:
    """Features `(text, feature)`, and for each text its label's place, its person and groups.

    Raises:
        EvaluationInvalid: The columns differ in length, or a place or number is out of range.
    """

    name: str
    digest: Digest
    features_digest: Digest
    labels: tuple[str, ...]
    features: npt.NDArray[np.float32]
    truth: IntArray
    owners: IntArray
    groups: tuple[Groups, ...]

    def __post_init__(self) -> None:
        columns = [self.truth, self.owners, *(group.places for group in self.groups)]
        sizes = {column.shape for column in columns} | {self.features.shape[:1]}
        fits = len(sizes) == 1 and self.features.ndim == 2 and self.truth.size  # noqa: PLR2004
        if not fits or not np.isfinite(self.features).all():
            raise EvaluationInvalid("an evaluation set needs equal columns of finite features")
        limits = [(self.truth, 0, len(self.labels))]
        limits += [(group.places, -1, len(group.names)) for group in self.groups]
        if any(column.min() < low or column.max() >= high for column, low, high in limits):
            raise EvaluationInvalid("an evaluation set has a place outside its labels or groups")


def load_set(path: Path) -> EvaluationSet:
    """Read a set.

    Raises:
        EvaluationInvalid: It cannot be read, or is none.
    """
    try:
        data = path.read_bytes()
        said = json.loads(_metadata(data)["set"])
        tensors = load(data)
        return EvaluationSet(
            name=str(said["name"]),
            digest=Digest(hashlib.sha256(data).hexdigest()),
            features_digest=Digest(said["features"]),
            labels=tuple(map(str, said["labels"])),
            features=tensors["features"],
            truth=tensors["truth"],
            owners=tensors["owners"],
            groups=tuple(
                Groups(attribute=a, names=tuple(names), places=tensors[f"group.{a}"])
                for a, names in said["groups"].items()
            ),
        )
    except EvaluationInvalid:
        raise
    except OSError as error:
        raise EvaluationInvalid(f"evaluation set {path}: {error.strerror}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvaluationInvalid(
            f"{path} is no evaluation set: make one with python -m models.evaluation_set"
        ) from error


def _metadata(data: bytes) -> Mapping[str, str]:
    """Return what a safetensors file says of itself: JSON of a length in eight bytes."""
    size = int.from_bytes(data[:8], "little")
    found: Mapping[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return found


def set_bytes(made: EvaluationSet) -> bytes:
    """Return the file's bytes; the digest is of them and not in them."""
    tensors = {
        "features": np.ascontiguousarray(made.features, np.float32),
        "truth": np.asarray(made.truth, np.int32),
        "owners": np.asarray(made.owners, np.int32),
    } | {f"group.{g.attribute}": np.asarray(g.places, np.int32) for g in made.groups}
    said = {
        "name": made.name,
        "features": made.features_digest,
        "labels": made.labels,
        "groups": {g.attribute: g.names for g in made.groups},
    }
    return save(tensors, metadata={"set": json.dumps(said)})


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a gzipped CSV.

    Raises:
        EvaluationInvalid: It cannot be read, or has no rows.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationInvalid(f"{path} cannot be read: {type(error).__name__}") from error
    if not rows:
        raise EvaluationInvalid(f"{path} has no rows")
    return rows


def places_of(values: Sequence[str], names: Sequence[str], *, what: str) -> IntArray:
    """Return the place of each value.

    Raises:
        EvaluationInvalid: A value is none of the names; says which, and what there is.
    """
    if unknown := sorted(set(values) - set(names)):
        raise EvaluationInvalid(f"{what} {unknown[0]!r} is none of {', '.join(sorted(names))}")
    return np.array([names.index(value) for value in values])


def grouped(values: Sequence[str], asked: str) -> Groups:
    """Return the groups of a column: by its values, or with `age:20:25` in bands up to those.

    Raises:
        EvaluationInvalid: A band is asked for and a value or bound is no number.
    """
    attribute, *bounds = asked.split(":")
    if bounds:
        names = (f"to {bounds[0]}", *(f"to {b}" for b in bounds[1:]), f"over {bounds[-1]}")
        try:
            cuts = sorted(float(bound) for bound in bounds)
            places = [bisect.bisect_left(cuts, float(v)) if v else -1 for v in values]
        except ValueError as error:
            raise EvaluationInvalid(f"bands of {attribute} need numbers") from error
        return Groups(attribute=attribute, names=names, places=np.array(places))
    names = tuple(sorted({value for value in values if value}))
    return Groups(
        attribute=attribute,
        names=names,
        places=np.array([names.index(value) if value else -1 for value in values]),
    )


def make_set(asked: argparse.Namespace) -> EvaluationSet:
    """Read, gather and encode a set as the command was asked to.

    Raises:
        EvaluationInvalid: The data lacks a column, or a label is not one of the set.
    """
    from models.pretrained import load_adapter  # noqa: PLC0415 (loads the encoder)
    from models.train_base import features_of  # noqa: PLC0415

    rows = [r for r in read_rows(asked.data) if asked.split in (None, r.get("split"))]
    columns = {"text", "label", asked.person, *(group.split(":")[0] for group in asked.group)}
    if not rows or (missing := columns - set(rows[0])):
        wanted = ", ".join(sorted(missing)) if rows else f"rows of split {asked.split}"
        raise EvaluationInvalid(f"{asked.data} lacks {wanted}")
    same = dict(pair.partition("=")[::2] for pair in asked.same)
    known = label_sets()[asked.labels].names
    labels = [same.get(row["label"], row["label"]) for row in rows]
    people = sorted({row[asked.person] for row in rows})
    return EvaluationSet(
        name=asked.name or asked.data.name.split(".")[0],
        digest=Digest(""),
        features_digest=FEATURES_DIGEST,
        labels=known,
        features=features_of([" ".join(row["text"].split()) for row in rows], load_adapter()),
        truth=places_of(labels, known, what="label"),
        owners=places_of([row[asked.person] for row in rows], people, what="person"),
        groups=tuple(
            grouped([row[group.split(":")[0]] for row in rows], group) for group in asked.group
        ),
    )


def main() -> None:
    """Make a set; say its digest."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation_set")
    parser.add_argument("--data", required=True, type=Path, help="CSV.GZ: text, label, and groups")
    parser.add_argument("--labels", required=True, choices=sorted(label_sets()))
    parser.add_argument("--person", default="subject", help="column that says whose text it is")
    parser.add_argument("--group", action="append", default=[], help="column, or column:20:25")
    parser.add_argument("--same", action="append", default=[], help="label=label of the set")
    parser.add_argument("--split", help="only rows of this split")
    parser.add_argument("--name", help="what cards call the set")
    parser.add_argument("--out", required=True, type=Path)
    asked = parser.parse_args()
    try:
        data = set_bytes(make_set(asked))
        asked.out.write_bytes(data)
    except (ModelError, OSError) as error:
        sys.stderr.write(f"evaluation_set: {error}\n")
        sys.exit(1)
    sys.stdout.write(f"{asked.out} {hashlib.sha256(data).hexdigest()}\n")


if __name__ == "__main__":
    main()
