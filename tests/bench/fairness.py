"""How alike groups of people are served: `python -m tests.bench.fairness --data DIR [--json]`.

ISEAR: what 747 students of 16 countries told of an event for each of seven emotions. The shipped
Ekman head reads it; nothing was fitted on it, so all of it judges. Shame and guilt count as
sadness, where GoEmotions' embarrassment and remorse are. For each gap its 95 % interval, with
people drawn anew, and the median gap where groups are dealt out by lot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from coordinator.errors import ReleaseRejected
from coordinator.standard import Standard
from deploy.report import Row
from models.errors import ModelError
from models.evaluation_set import EvaluationSet, grouped, places_of, read_rows
from models.fairness import gap_doubts, group_gaps
from models.features import FEATURES_DIGEST
from models.figures import SHOWN, figures_on, judge
from models.label_sets import label_sets
from models.pretrained import load_adapter
from models.release import Release, public_release
from models.train_base import features_of
from policies.vocabulary import Digest
from tests.bench.printed import print_rows

EKMAN = label_sets()["ekman"]
SAME = {"shame": "sadness", "guilt": "sadness"}
GROUPS = ("sex", "age:20:25", "country")
FEWEST_PEOPLE = 20
LIMIT = 0.05


def read_isear(path: Path) -> EvaluationSet:
    """Return ISEAR, encoded."""
    rows = read_rows(path)
    people = sorted({row["subject"] for row in rows})
    labels = [SAME.get(row["label"], row["label"]) for row in rows]
    return EvaluationSet(
        name="ISEAR",
        digest=Digest("0" * 64),
        features_digest=FEATURES_DIGEST,
        labels=EKMAN.names,
        features=features_of([" ".join(row["text"].split()) for row in rows], load_adapter()),
        truth=places_of(labels, EKMAN.names, what="label"),
        owners=places_of([row["subject"] for row in rows], people, what="person"),
        groups=tuple(grouped([r[g.split(":")[0]] for r in rows], g) for g in GROUPS),
    )


def measure(judges: EvaluationSet) -> list[Row]:
    """Return the rows of this benchmark."""
    release = public_release(
        tuple((label.name, label.family) for label in EKMAN.labels), FEATURES_DIGEST
    )
    if release is None:
        raise SystemExit("no shipped head for Ekman's labels")
    rows = [
        Row(name=f"{m.name}, all", value=round(m.value, 3))
        for m in figures_on(release, judges, fewest_people=FEWEST_PEOPLE)
        if " by " not in m.name
    ]
    judged, _ = judge(release, judges)
    for groups in judges.groups:
        found = group_gaps(judged, groups, fewest_people=FEWEST_PEOPLE)
        doubts = gap_doubts(judged, groups, fewest_people=FEWEST_PEOPLE)
        for figure, gap in found.gaps.items():
            doubt = doubts[figure]
            rows += [
                Row(
                    name=f"gap in {SHOWN[figure]} by {groups.attribute}",
                    value=round(gap, 3),
                    unit=f"95 %: {doubt.low:.3f} to {doubt.high:.3f}",
                ),
                Row(name="  the same, by lot", value=round(doubt.by_lot, 3)),
            ]
        rows += [
            Row(name=f"  error, {one.name}", value=round(one.error, 3), unit=f"{one.people} people")
            for one in sorted(found.groups, key=lambda one: one.error)
        ]
    return [*rows, *_gates(release, judges)]


def _gates(release: Release, judges: EvaluationSet) -> list[Row]:
    """Return whether the gate refuses a head that reads one sex as worse, made on purpose."""
    sex = np.asarray(judges.groups[0].places)
    broken = judges.truth.copy()
    broken[sex == 0] = (broken[sex == 0] + 1) % len(EKMAN.labels)
    worse = EvaluationSet(
        name="ISEAR, one sex mislabelled",
        digest=judges.digest,
        features_digest=judges.features_digest,
        labels=judges.labels,
        features=judges.features,
        truth=broken,
        owners=judges.owners,
        groups=judges.groups[:1],
    )
    rows = []
    for what, evaluation, limit in (
        (f"the gate refuses the shipped head at {LIMIT:g}", judges, LIMIT),
        ("the gate refuses it where one sex is misread on purpose, at 0.2", worse, 0.2),
    ):
        try:
            Standard(most_gap=limit, evaluation=evaluation).hold(release)
            refused = False
        except ReleaseRejected:
            refused = True
        rows.append(Row(name=what, value=refused, aim="true", held=refused))
    return rows


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fairness")
    parser.add_argument("--data", required=True, type=Path, help="folder with text/")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    asked = parser.parse_args()
    try:
        rows = measure(read_isear(asked.data / "text" / "isear.csv.gz"))
    except ModelError as error:
        raise SystemExit(f"fairness: {error}") from error
    print_rows(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
