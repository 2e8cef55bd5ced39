"""The label sets that ship: what a head may say, and what the law and a picture make of it.

The sets are data (`label_sets.toml`). `families` and places in the circumplex go with every
label, so that rules act on families whichever set a plan names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from policies.vocabulary import Emotion

GOEMOTIONS = "goemotions"
_FILE = Path(__file__).with_name("label_sets.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label; valence and arousal in [-1, 1]; `members` are GoEmotions labels, if any."""

    name: str
    family: Emotion
    valence: float
    arousal: float
    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """Some labels, sorted by name."""

    name: str
    labels: tuple[Label, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The labels' names, in order."""
        return tuple(label.name for label in self.labels)

    def gather(self, found: frozenset[str]) -> str | None:
        """Return the one label that gathers all of these GoEmotions labels; None where several do.

        Labels that no label of the set gathers count for nothing.
        """
        owners = {label.name for label in self.labels if label.members & found}
        return owners.pop() if len(owners) == 1 else None


@cache
def label_sets() -> Mapping[str, LabelSet]:
    """Return the sets by name."""
    with _FILE.open("rb") as file:
        tables = tomllib.load(file)
    return MappingProxyType({name: _read(name, table) for name, table in tables.items()})


def _read(name: str, table: Mapping[str, Mapping[str, object]]) -> LabelSet:
    labels = [
        Label(
            name=label,
            family=Emotion(str(said["family"])),
            valence=float(str(said["valence"])),
            arousal=float(str(said["arousal"])),
            members=frozenset(map(str, said.get("members", []))),  # type: ignore[call-overload]
        )
        for label, said in sorted(table.items())
    ]
    return LabelSet(name=name, labels=tuple(labels))


def valences(labels: Sequence[tuple[str, Emotion]]) -> tuple[float, ...]:
    """Return how pleasant each label is, in [-1, 1].

    By the shipped set that has exactly these labels, else by the mean of each label's family
    over the GoEmotions labels.
    """
    for known in label_sets().values():
        places = {label.name: label.valence for label in known.labels}
        if set(places) == {name for name, _ in labels}:
            return tuple(places[name] for name, _ in labels)
    return tuple(_family_valences()[family] for _, family in labels)


@cache
def _family_valences() -> Mapping[Emotion, float]:
    found: dict[Emotion, list[float]] = {}
    for label in label_sets()[GOEMOTIONS].labels:
        found.setdefault(label.family, []).append(label.valence)
    return MappingProxyType({family: fmean(values) for family, values in found.items()})
