"""Whether doubt is where the errors are: `python -m tests.bench.abstention --data DIR [--json]`.

At 80 % coverage the error should fall by a third. Three questions are put to each head:

- label: which one is expressed;
- negative: is any negative family of rule 10 expressed, as the early warning asks;
- anger: is the family of anger and frustration expressed.

The last two are yes, no or unsure, by the summed probability of the families' labels. Heads are
the shipped one, a central one, taught by the set's train part and not private, and a run's at
epsilon 2 with the settings of `tests.bench.private_learning`. Texts are the parts that are apart by
person; strengths, and the rejector that is learned to compare with, are cross-fitted on train.

Beside each fall: its 95 % interval over people, and what the probabilities promise of themselves:
where they are honest, no ranking by confidence does better.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from deploy.report import Row, at_least, at_most
from models.calibration import expected_calibration_error, fall_at_coverage, promised_fall
from models.evaluation import IntArray
from models.evaluation_set import read_rows
from models.goemotions import gathered
from models.goemotions import read as read_goemotions
from models.heads import softmax
from models.inference import SURELY_NEGATIVE
from models.label_sets import label_sets
from models.pretrained import public_head
from policies.vocabulary import NEGATIVE, Emotion
from tests.bench.encoded import encoded
from tests.bench.federate import federate
from tests.bench.learning_tasks import load_task
from tests.bench.personal import shown
from tests.bench.printed import print_rows
from tests.bench.private_learning import setting_at

COVERAGE, AIM, EPSILON, FOLDS, DRAWS = 0.8, 1 / 3, 2.0, 5, 500
STRENGTHS = (1.0, 3.0, 10.0, 30.0)
TASKS = ("airlines", "meld", "isear")
SHIPPED = MappingProxyType(
    {"airlines": "sentiment", "maia": "service", "meld": "ekman", "isear": "ekman"}
)
QUESTIONS = MappingProxyType({"negative": NEGATIVE, "anger": frozenset({Emotion.ANGER})})
FAMILIES: Mapping[str, Emotion] = MappingProxyType(
    {label.name: label.family for known in label_sets().values() for label in known.labels}
    | {"happiness": Emotion.JOY, "empathy": Emotion.JOY}
    | {"shame": Emotion.SADNESS, "guilt": Emotion.SADNESS}
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """Features `(text, feature)`, places of labels, and whose the texts are."""

    features: FloatArray
    truth: IntArray
    people: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A set: what is taught and what is apart; `unit` is what is drawn anew for an interval."""

    name: str
    unit: str
    labels: tuple[str, ...]
    train: Texts
    apart: Texts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a head answers to one question, `(text, answer)`, and how sure it is, `(text,)`."""

    what: str
    probabilities: FloatArray
    truth: IntArray
    sureness: FloatArray
    people: IntArray
    unit: str

    def row(self) -> Row:
        """Return how far the error falls, with all that qualifies it."""
        wrong = self.probabilities.argmax(axis=1) != self.truth
        fall = fall_at_coverage(wrong, self.sureness, COVERAGE)
        low, high = self._interval(wrong)
        error = float(wrong.mean())
        told = (
            f"95 % over {self.unit}s {low:.3f} to {high:.3f}; error {error:.3f} to "
            f"{error * (1 - fall):.3f}; promised {promised_fall(self.probabilities, COVERAGE):.3f}"
        )
        return at_least(f"{self.what}, fall of the error", round(fall, 3), round(AIM, 3), told)

    def _interval(self, wrong: npt.NDArray[np.bool_]) -> tuple[float, float]:
        place = np.unique(self.people, return_inverse=True)[1]
        texts = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
        random, falls = np.random.default_rng(5), []
        for _ in range(DRAWS):
            drawn = [texts[person] for person in random.integers(len(texts), size=len(texts))]
            rows = np.concatenate(drawn)
            falls.append(fall_at_coverage(wrong[rows], self.sureness[rows], COVERAGE))
        low, high = np.percentile(falls, [2.5, 97.5])
        return float(low), float(high)


def measure(judged: Judged) -> Iterator[Row]:
    """Yield the rows of one set: the shipped head's, a central one's, and a private one's."""
    apart, families = judged.apart, [FAMILIES[label] for label in judged.labels]
    truth = np.array([families[place] for place in apart.truth])
    known = label_sets()[SHIPPED[judged.name]]
    shipped = public_head(known.names)
    if shipped is None:
        raise SystemExit(f"no shipped head for {known.name}")
    read = softmax(apart.features @ shipped.weights.astype(np.float64))
    what = f"{judged.name}, shipped {known.name} head"
    yield from _by_family(judged, what, read, [label.family for label in known.labels], truth)
    read, sureness, crossed = central(judged)
    what = f"{judged.name}, central head"
    yield from _by_label(judged, what, read)
    learned = replace(_answers(judged, f"{what}, label, learned rejector", read, apart.truth))
    yield replace(learned, sureness=sureness).row()
    yield from _by_family(judged, what, read, families, truth)
    yes = crossed[:, [family in NEGATIVE for family in families]].sum(axis=1)
    least = float(np.quantile(np.maximum(yes, 1 - yes), 1 - COVERAGE))
    row = f"{judged.name}, train part, cross-fitted, how sure of negative 80 % at least are"
    yield Row(name=row, value=round(least, 3))


def private(name: str, data: Path, judged: Judged) -> Iterator[Row]:
    """Yield the rows of a run's release."""
    weights = federate(load_task(name, data), setting_at(name, EPSILON), epsilon=EPSILON)
    read = softmax(judged.apart.features @ weights.astype(np.float64))
    families = [FAMILIES[label] for label in judged.labels]
    truth = np.array([families[place] for place in judged.apart.truth])
    what = f"{name}, private head at epsilon {EPSILON:g}"
    yield from _by_label(judged, what, read)
    yield from _by_family(judged, what, read, families, truth)


def central(judged: Judged) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what a head taught by the train part reads of the rest, and a learned sureness.

    The third is what heads taught without them read of the train part's texts.

    The sureness is a logistic regression of being right, on what a head that had not seen the
    text said of it.
    """
    train, folds = judged.train, StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    tried = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=3000)
        split = folds.split(train.features, train.truth, train.people)
        read = cross_val_predict(
            model, train.features, train.truth, cv=list(split), method="predict_proba"
        )
        tried[strength] = (log_loss(train.truth, read), read)
    best = min(tried, key=lambda strength: tried[strength][0])
    crossed = tried[best][1]
    model = LogisticRegression(C=best, max_iter=3000).fit(train.features, train.truth)
    read = model.predict_proba(judged.apart.features)
    rejector = LogisticRegression(C=0.1, max_iter=3000)
    rejector.fit(_signs(crossed), crossed.argmax(axis=1) == train.truth)
    return read, np.asarray(rejector.predict_proba(_signs(read))[:, 1]), crossed


def _signs(read: FloatArray) -> FloatArray:
    """Return what may tell an error: likeliest, margin, entropy, and each label's logarithm."""
    surest, logs = -np.sort(-read, axis=1), np.log(read + 1e-6)
    entropy = -(read * logs).sum(axis=1)
    return np.column_stack([surest[:, 0], surest[:, 0] - surest[:, 1], entropy, logs])


def _answers(judged: Judged, what: str, read: FloatArray, truth: IntArray) -> Answers:
    return Answers(
        what=what,
        probabilities=read,
        truth=truth,
        sureness=read.max(axis=1),
        people=judged.apart.people,
        unit=judged.unit,
    )


def _by_label(judged: Judged, what: str, read: FloatArray) -> Iterator[Row]:
    truth = judged.apart.truth
    yield _answers(judged, f"{what}, label", read, truth).row()
    gap = expected_calibration_error(read, truth)
    yield at_most(f"{what}, calibration error", round(gap, 3), 0.05)


def _by_family(
    judged: Judged,
    what: str,
    read: FloatArray,
    families: list[Emotion],
    truth: npt.NDArray[np.str_],
) -> Iterator[Row]:
    """Yield the questions of yes and no, and for the product's the same by the label's doubt."""
    for question, wanted in QUESTIONS.items():
        yes = read[:, [family in wanted for family in families]].sum(axis=1)
        is_so = np.isin(truth, sorted(wanted)).astype(int)
        asked = _answers(judged, f"{what}, {question}", np.stack([1 - yes, yes], axis=1), is_so)
        yield asked.row()
        if question == "negative":
            by_label = replace(asked, what=f"{asked.what}, ranked by the likeliest label")
            yield replace(by_label, sureness=read.max(axis=1)).row()
            yield _told(asked)


def _told(asked: Answers) -> Row:
    """Return how often the product answers at its own threshold, and how right it is."""
    sure = asked.sureness >= SURELY_NEGATIVE
    told = asked.probabilities[:, 1] >= SURELY_NEGATIVE
    right = asked.truth[told].mean() if told.any() else float("nan")
    wrong = (asked.probabilities.argmax(axis=1) != asked.truth)[sure].mean()
    return Row(
        name=f"{asked.what}, answered where at least {SURELY_NEGATIVE:g} sure",
        value=round(float(sure.mean()), 3),
        unit=f"error {wrong:.3f}; of {int(told.sum())} told negative, {right:.3f} are",
    )


def goemotions(data: Path) -> Iterator[Row]:
    """Yield the rows of the shipped heads on the set that taught them, its dev part."""
    dev = read_goemotions(data / "text" / "goemotions.csv.gz")["dev"]
    features = encoded(dev.texts).astype(np.float64)
    for name in ("ekman", "service", "sentiment"):
        known, shipped = label_sets()[name], public_head(label_sets()[name].names)
        if shipped is None:
            raise SystemExit(f"no shipped head for {name}")
        truth = gathered(dev.labels, known)
        mine = np.flatnonzero(truth >= 0)
        texts = Texts(features=features[mine], truth=truth[mine], people=mine)
        families = [label.family for label in known.labels]
        judged = Judged(
            name="goemotions", unit="comment", labels=known.names, train=texts, apart=texts
        )
        read = softmax(texts.features @ shipped.weights.astype(np.float64))
        what = f"goemotions dev, shipped {name} head"
        yield from _by_label(judged, what, read)
        of = np.array([families[place] for place in texts.truth])
        yield from _by_family(judged, what, read, families, of)


def load(name: str, data: Path) -> Judged:
    """Return one set."""
    if name == "maia":
        return _maia(data)
    task = load_task(name, data)
    pooled = task.pooled()
    return Judged(
        name=name,
        unit=task.unit.removesuffix(" at a node"),
        labels=task.labels,
        train=Texts(
            features=pooled.features.astype(np.float64),
            truth=pooled.labels,
            people=pooled.owners,
        ),
        apart=Texts(
            features=task.features.astype(np.float64), truth=task.truth, people=task.persons
        ),
    )


def _maia(data: Path) -> Judged:
    """Return customers' sentences of MAIA, the English side."""
    rows = read_rows(data / "text" / "maia_support.csv.gz")
    rows = [row for row in rows if row["role"] == "customer" and row["text"].strip()]
    labels = tuple(sorted({row["label"] for row in rows}))
    whole = Texts(
        features=encoded([row["text"] for row in rows]).astype(np.float64),
        truth=np.array([labels.index(row["label"]) for row in rows]),
        people=np.unique([row["dialogue"] for row in rows], return_inverse=True)[1],
    )
    held = np.array([row["split"] == "train" for row in rows])
    return Judged(
        name="maia",
        unit="conversation",
        labels=labels,
        train=_only(whole, held),
        apart=_only(whole, ~held),
    )


def _only(texts: Texts, mine: npt.NDArray[np.bool_]) -> Texts:
    return Texts(features=texts.features[mine], truth=texts.truth[mine], people=texts.people[mine])


def raters(data: Path) -> Row:
    """Return how often a rater of airlines dev disagrees with the label: no head errs less."""
    rows = read_rows(data / "text" / "airline_tweets.csv.gz")
    agreed = [float(row["sentiment_conf"]) for row in rows if row["split"] == "dev"]
    return Row(
        name="airlines, raters who disagree with the label",
        value=round(1 - float(np.mean(agreed)), 3),
    )


def _rows(data: Path) -> Iterator[Row]:
    yield from goemotions(data)
    for name in SHIPPED:
        judged = load(name, data)
        yield from measure(judged)
        if name in TASKS:
            yield from private(name, data, judged)
    yield raters(data)


def main() -> None:
    """Read the arguments, measure, and print the rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.abstention")
    parser.add_argument("--data", type=Path, required=True, help="folder with text/*.csv.gz")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    asked = parser.parse_args()
    rows = shown(_rows(asked.data))
    print_rows(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
