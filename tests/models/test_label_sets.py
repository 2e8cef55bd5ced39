"""Claims about the shipped label sets: complete, sorted, and each label in a regulated family."""

from __future__ import annotations

import pytest

from deploy.sample import load_sample
from models.label_sets import GOEMOTIONS, label_sets, valences
from policies.vocabulary import NEGATIVE, Emotion


def test_sets_have_the_labels_that_were_promised() -> None:
    """28 of GoEmotions, Ekman's six and neutral, seven of a service desk, three sentiments."""
    sizes = {name: len(found.labels) for name, found in label_sets().items()}
    assert sizes == {"goemotions": 28, "ekman": 7, "service": 7, "sentiment": 3}


@pytest.mark.parametrize("name", ["ekman", "service", "sentiment"])
def test_gatherings_are_of_known_labels_and_disjoint(name: str) -> None:
    """No GoEmotions label is gathered twice or misspelt; the texts of none are lost to Ekman."""
    known = set(label_sets()[GOEMOTIONS].names)
    members = [member for label in label_sets()[name].labels for member in label.members]
    assert len(members) == len(set(members))
    assert set(members) <= known
    if name != "service":
        assert set(members) == known


def test_places_are_in_the_circumplex_and_agree_with_the_families() -> None:
    """Valence and arousal lie in [-1, 1]; what the law calls negative is unpleasant."""
    for found in label_sets().values():
        assert list(found.names) == sorted(found.names)
        for label in found.labels:
            assert -1 <= label.valence <= 1
            assert -1 <= label.arousal <= 1
            if label.family in NEGATIVE:
                assert label.valence < 0
            if label.family is Emotion.JOY:
                assert label.valence > 0


def test_text_in_two_gatherings_teaches_nothing() -> None:
    """One gathering is an answer; two, or none, are not."""
    service = label_sets()["service"]
    assert service.gather(frozenset({"anger", "annoyance"})) == "frustration"
    assert service.gather(frozenset({"anger", "surprise"})) == "frustration"
    assert service.gather(frozenset({"anger", "joy"})) is None
    assert service.gather(frozenset({"surprise"})) is None


def test_service_set_is_that_of_the_sample() -> None:
    """The built-in sample begins with the shipped head."""
    assert {turn.label.value for turn in load_sample()} == set(label_sets()["service"].names)


def test_valences_follow_the_set_or_else_the_family() -> None:
    """A shipped set has its own places, in any order; unknown labels have their family's."""
    service = label_sets()["service"]
    backward = [(label.name, label.family) for label in service.labels[::-1]]
    assert valences(backward) == tuple(label.valence for label in service.labels[::-1])
    angry, pleased = valences([("cross", Emotion.ANGER), ("pleased", Emotion.JOY)])
    assert angry < 0 < pleased
    every = valences([(family.value, family) for family in Emotion])
    assert all(-1 <= valence <= 1 for valence in every)
