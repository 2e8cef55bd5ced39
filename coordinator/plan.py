"""Read a plan, complete its noise, and say what it costs before it runs.

A plan file is TOML or JSON with the fields of `policies.terms.Plan`; it may leave out
`mechanism.noise_multiplier`, which then follows from the declared epsilon and delta. The
arithmetic is `models.accounting`, which loads torch: the service asks for a preview in a
short process of its own (`preview_apart`), so that the service stays small.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coordinator.errors import PlanRejected
from policies.canonical import digest
from policies.errors import PolicyInvalid, UndertoneError
from policies.terms import Plan, evaluation_from_dict, plan_from_dict, plan_to_dict
from policies.vocabulary import Digest

MOST_NODES = 5
"""The k-node table goes to a person whose records lie at this many nodes."""
PREVIEW_S = 120.0
UNUSED_NOISE = 1.0
"""The noise multiplier of a plan that holds no round and leaves it out."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a plan costs a person at a node, by three accountants, and at k nodes.

    `epsilon` is by Renyi curves (what ledgers count), `epsilon_prv` by privacy loss random
    variables (tighter, for plans fixed beforehand), `second_opinion` by dp-accounting.
    """

    plan: Plan
    digest: Digest
    epsilon: float
    epsilon_prv: float
    second_opinion: float
    epsilon_at_nodes: Mapping[int, float]


def read_draft(path: Path) -> dict[str, Any]:
    """Return the fields of a plan file, unchecked.

    Raises:
        PlanRejected: It cannot be read, or is neither TOML nor JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
        draft = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise PlanRejected(f"plan {path}: {type(error).__name__}: {error}") from error
    if not isinstance(draft, dict):
        raise PlanRejected(f"plan {path}: expected fields, found a {type(draft).__name__}")
    return draft


def complete(draft: Mapping[str, Any]) -> Plan:
    """Return the plan, with the noise that its epsilon and delta call for if it names none.

    What the head count and the evaluations cost is taken off first.

    Raises:
        PlanRejected: A field is missing, unknown or out of range, or no noise is enough.
    """
    from models.accounting import (  # noqa: PLC0415 (loads torch)
        NOTHING_SPENT,
        calibrate,
        evaluation_curve,
        gradient_noise,
    )

    try:
        mechanism = dict(draft["mechanism"])
        mechanism.setdefault("noise_multiplier", None if draft["rounds"] else UNUSED_NOISE)
        if mechanism["noise_multiplier"] is None:
            tables = evaluation_from_dict(draft.get("evaluation"))
            joint = calibrate(
                epsilon=float(draft["epsilon"]),
                delta=float(draft["delta"]),
                rounds=int(draft["rounds"]),
                steps=int(mechanism["steps"]),
                sample_rate=float(mechanism["sample_rate"]),
                count_noise=float(mechanism["count_noise"]),
                also=NOTHING_SPENT
                if tables is None
                else evaluation_curve(tables) * tables.held_in(int(draft["rounds"])),
            )
            mechanism["noise_multiplier"] = (
                gradient_noise(joint, quantile_noise=float(mechanism["quantile_noise"]))
                if mechanism.get("clip_quantile")
                else joint
            )
        plan = plan_from_dict(dict(draft) | {"mechanism": mechanism})
    except (KeyError, TypeError, ValueError, UndertoneError) as error:
        raise PlanRejected(f"not a plan: {_said(error)}") from error
    if _NAME.fullmatch(plan.name) is None:
        raise PlanRejected("a plan's name is one word of letters, digits, dots and dashes")
    return plan


def preview(draft: Mapping[str, Any]) -> Preview:
    """Return the plan with its costs.

    Raises:
        PlanRejected: As in `complete`, or the plan costs more than it declares.
    """
    from models.accounting import (  # noqa: PLC0415 (loads torch)
        epsilon_at_nodes,
        plan_epsilon,
        prv_epsilon,
        second_opinion,
    )

    plan = complete(draft)
    try:
        found = Preview(
            plan=plan,
            digest=digest(plan_to_dict(plan)),
            epsilon=plan_epsilon(plan),
            epsilon_prv=prv_epsilon(plan),
            second_opinion=second_opinion(plan),
            epsilon_at_nodes={k: epsilon_at_nodes(plan, k) for k in range(1, MOST_NODES + 1)},
        )
    except UndertoneError as error:
        raise PlanRejected(f"plan {plan.name}: {error}") from error
    if found.epsilon > plan.epsilon:
        raise PlanRejected(
            f"plan {plan.name} declares epsilon {plan.epsilon:g} and costs {found.epsilon:.4f}: "
            "raise its noise, or leave noise_multiplier out"
        )
    return found


def preview_apart(draft: Mapping[str, Any]) -> Preview:
    """Do as `preview` in a process of its own, which ends and gives its memory back.

    Raises:
        PlanRejected: As in `preview`, or the process did not answer in time.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "coordinator.plan"],
            input=json.dumps(dict(draft)),
            capture_output=True,
            text=True,
            timeout=PREVIEW_S,
            check=False,
            cwd=Path(__file__).resolve().parent.parent,
        )
    except (subprocess.TimeoutExpired, TypeError) as error:
        raise PlanRejected(f"the plan could not be costed: {type(error).__name__}") from error
    if done.returncode == 1:
        raise PlanRejected(done.stdout.strip())
    if done.returncode != 0:
        raise PlanRejected(f"the plan could not be costed: exit {done.returncode}")
    return preview_from_dict(json.loads(done.stdout))


def preview_to_dict(value: Preview) -> dict[str, Any]:
    """Return the preview as JSON values."""
    return asdict(value) | {
        "plan": plan_to_dict(value.plan),
        "epsilon_at_nodes": {str(k): e for k, e in value.epsilon_at_nodes.items()},
    }


def preview_from_dict(value: Mapping[str, Any]) -> Preview:
    """Rebuild a preview from `preview_to_dict`.

    Raises:
        PlanRejected: A field is missing or unknown.
    """
    try:
        return Preview(
            **(
                dict(value)
                | {
                    "plan": plan_from_dict(value["plan"]),
                    "digest": Digest(value["digest"]),
                    "epsilon_at_nodes": {int(k): e for k, e in value["epsilon_at_nodes"].items()},
                }
            )
        )
    except (KeyError, TypeError, ValueError, PolicyInvalid) as error:
        raise PlanRejected(f"not a preview: {_said(error)}") from error


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, UndertoneError) else f"{type(error).__name__}: {error}"


def main() -> None:
    """Read a draft from standard input; write its preview, or why not and exit 1."""
    try:
        found = preview(json.loads(sys.stdin.read()))
    except PlanRejected as error:
        sys.stdout.write(f"{error}\n")
        raise SystemExit(1) from error
    sys.stdout.write(json.dumps(preview_to_dict(found)) + "\n")


if __name__ == "__main__":
    main()
