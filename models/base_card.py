"""The card of the public base: every figure of dev, and the files that are shipped with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from sklearn.metrics import f1_score

from models.calibration import error_at_coverage, expected_calibration_error
from models.goemotions import Comments, gathered
from models.head_fitting import COVERAGE, Features, Fitted, FloatArray
from models.heads import softmax
from models.label_sets import LabelSet, label_sets
from models.pretrained import CARD, HEADS

README = "README.md"
ABOUT = {
    "data": "GoEmotions (Demszky et al. 2020), Reddit comments, 28 labels",
    "licence": "Apache-2.0: the data, the encoder, and what was made of them",
    "method": "low-rank adaptation of all-MiniLM-L6-v2, 8-bit features, linear heads",
    "choices": "penalty, thresholds, temperature and abstention on a tenth of train kept apart",
    "figures_are_of": "dev, on which nothing was fitted; two ways to find thresholds were compared",
    "files": {
        "adapter.safetensors": "what is added to the encoder's matrices, of rank 16",
        "heads.safetensors": "a linear head for each label set, with its limits",
        "basis.safetensors": "64 whitened directions of the features of train (models/basis.py)",
        "token_classifier.safetensors": "personal data by context; its card is beside it",
        "token_classifier.json": "card: data, licence, recall by kind",
        "message_guard.safetensors": "manipulation in generated messages; its card is beside it",
        "message_guard.json": "card: data, licence, what it finds",
    },
    "known_failures": [
        "English only; irony, and coarse but friendly words, are read by their surface.",
        "Raters disagree on GoEmotions: its labels are one person's guess at another's words.",
        "Reddit is not a service desk: requests are rarer there, thanks and complaints franker.",
        (
            "What students of 16 countries told (ISEAR) it read unlike: "
            "error .55 for women, .64 for men, .35 to .80 by country."
        ),
        (
            "Of complaints it calls few negative: told by airlines' customers, one in seven of "
            "them, though then rightly; a release taught by customers' own labels mends that."
        ),
        (
            "Doubt by label: at 80 % coverage errors fall by .20 to .25, and honest probabilities "
            "promise no more than .29; whether a negative family is expressed: by .48 to .54."
        ),
        "grief, relief, pride and nervousness were taught by fewer than two hundred texts each.",
    ],
}


def figures(
    features: Features, comments: dict[str, Comments], heads: dict[str, Fitted]
) -> dict[str, Any]:
    """Return what the card says, all of it from dev."""
    dev, found = comments["dev"], dict[str, Any]()
    for name, wanted in label_sets().items():
        head = heads[name]
        logits = features["dev"] @ head.weights
        if head.thresholds is not None:
            found[name] = _many_figures(logits > head.thresholds, dev.labels, wanted)
        else:
            truth = gathered(dev.labels, wanted)
            found[name] = _one_figures(softmax(logits)[truth >= 0], truth[truth >= 0], wanted)
            found[name]["abstain_below"] = round(head.abstain_below or 0.0, 4)
        found[name]["penalty"] = head.penalty
    return found


def _many_figures(said: Any, labels: npt.NDArray[np.float32], wanted: LabelSet) -> dict[str, Any]:
    by_label = f1_score(labels, said, average=None, zero_division=0)
    return {
        "texts": len(labels),
        "macro_f1": round(float(by_label.mean()), 4),
        "micro_f1": round(float(f1_score(labels, said, average="micro")), 4),
        "by_label": _table(wanted, by_label, labels.sum(0)),
    }


def _one_figures(
    probabilities: FloatArray, truth: npt.NDArray[np.int64], wanted: LabelSet
) -> dict[str, Any]:
    by_label = f1_score(truth, probabilities.argmax(axis=1), average=None, zero_division=0)
    counts = np.bincount(truth, minlength=len(wanted.labels))
    return {
        "texts": len(truth),
        "macro_f1": round(float(by_label.mean()), 4),
        "calibration_error": round(expected_calibration_error(probabilities, truth), 4),
        "error": round(error_at_coverage(probabilities, truth, 1.0), 4),
        "error_at_80_percent": round(error_at_coverage(probabilities, truth, COVERAGE), 4),
        "by_label": _table(wanted, by_label, counts),
    }


def _table(wanted: LabelSet, scores: Any, counts: Any) -> dict[str, dict[str, float]]:
    rows = zip(wanted.names, scores, counts, strict=True)
    return {name: {"f1": round(float(f1), 4), "texts": int(n)} for name, f1, n in rows}


def write(folder: Path, heads: dict[str, Fitted], card: dict[str, Any]) -> None:
    """Write heads and card; the adapter is there already."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, head in heads.items():
        tensors[name] = head.weights.astype(np.float16)
        if head.thresholds is not None:
            tensors[f"{name}.thresholds"] = head.thresholds.astype(np.float32)
        if head.abstain_below is not None:
            tensors[f"{name}.abstain_below"] = np.array([head.abstain_below], np.float32)
    save_file(tensors, folder / HEADS)
    write_card(folder, card)


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write the card, for programs and for people."""
    text = json.dumps(card, indent=2, sort_keys=True) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")
    (folder / README).write_text(for_people(card), encoding="utf-8")


def for_people(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    stated = ("data", "licence", "method", "choices", "figures_are_of", "seed")
    lines = ["# Card of the public base", ""]
    lines += [f"- **{name.replace('_', ' ')}**: {card[name]}" for name in stated]
    lines += ["", "## Files", "", "| file | what |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in sorted(card["files"].items())]
    lines += ["", "## Known failures", "", *(f"- {line}" for line in card["known_failures"])]
    for name in label_sets():
        found = card["figures"][name]
        lines += ["", f"## {name}", ""]
        lines += [f"- {key}: {value}" for key, value in sorted(found.items()) if key != "by_label"]
        lines += ["", "| label | F1 | texts |", "|---|---|---|"]
        lines += [f"| {k} | {v['f1']:.3f} | {v['texts']} |" for k, v in found["by_label"].items()]
    return "\n".join(lines) + "\n"
