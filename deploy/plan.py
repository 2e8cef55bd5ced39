"""The demo's plan: fixed on other data than what is shown, declared before anything is read.

Clip, momentum, steps and sampling rate come from `tests/bench/tuning.py`, which chooses for the
airlines on other sets. From a shipped head the learning rate is smaller, so that noise cannot
bury what is known, and in proportion to the people. `nominal_people` is the operator's public
declaration, not a count.
"""

from __future__ import annotations

from typing import Any

from deploy.options import Options
from models.features import FEATURES, FEATURES_DIGEST
from models.pretrained import public_head
from policies.vocabulary import Emotion

DELTA = 1e-5
SAMPLE_PEOPLE = 30
SAMPLE_STEPS = 30
"""Half of what tuning chose: three nodes on two cores then keep the sample's short deadline."""
TABLE_STEPS = 60
TABLE_PEOPLE = 800
SAMPLE_DEADLINE_S = 1.0
TABLE_DEADLINE_S = 6.0
RATE = 4.0
PEOPLE_A_RATE = 400
"""From a shipped head: so many declared people for a learning rate of one."""
MINIMUM_PEOPLE = 5
LARGE = 200
"""From this many declared people on, the head count bears more noise and costs less."""


def draft_plan(options: Options, labels: tuple[tuple[str, Emotion], ...]) -> dict[str, Any]:
    """Return the plan's fields, less the noise, which follows from epsilon and delta."""
    names = tuple(name for name, _ in labels)
    people = options.people or (TABLE_PEOPLE if options.data else SAMPLE_PEOPLE)
    deadline_s = options.deadline_s or (TABLE_DEADLINE_S if options.data else SAMPLE_DEADLINE_S)
    return {
        "name": "demo",
        "labels": [[label, family.value] for label, family in labels],
        "features": FEATURES,
        "encoder_digest": FEATURES_DIGEST,
        "rounds": options.rounds,
        "epsilon": options.epsilon,
        "delta": DELTA,
        "mechanism": {
            "clip": 0.5,
            "sample_rate": 0.1,
            "nominal_people": people,
            "steps": TABLE_STEPS if options.data else SAMPLE_STEPS,
            "learning_rate": RATE if public_head(names) is None else people / PEOPLE_A_RATE,
            "momentum": 0.0,
            "max_turns": 8,
            "count_noise": 20.0 if people >= LARGE else 8.0,
        },
        "minimum_people": MINIMUM_PEOPLE,
        "minimum_nodes": 2,
        "deadline_s": deadline_s,
    }
