"""A scenario of the twin from a TOML file: checked whole, and one line for what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from client_node.errors import ScenarioInvalid
from client_node.uses.queue_simulation import Policy
from client_node.whatif import Handling, Hour, Plan, RuleChange, Scenario

MOST_STARTS = 2_000_000
"""Calls times plans times replications: some minutes of one processor."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,47}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _HourIn(_Shape):
    calls: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
    handling_s: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _ChangeIn(_Shape):
    handovers: Annotated[int, Field(ge=1)]
    closed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _part(self) -> Self:
        if self.closed > self.handovers:
            raise ValueError("more closed than asked")
        return self


class _PlanIn(_Shape):
    name: Name
    policy: Literal[Policy.BLIND, Policy.ROUTED, Policy.JUMP]
    ordinary: Annotated[int, Field(ge=1, le=1_000)]
    reserved: Annotated[int, Field(ge=0, le=1_000)] = 0
    rule_change: _ChangeIn | None = None

    def plan(self) -> Plan:
        change = self.rule_change
        return Plan(
            name=self.name,
            policy=self.policy,
            ordinary=self.ordinary,
            reserved=self.reserved,
            change=None if change is None else RuleChange(**change.model_dump()),
        )


class _ScenarioIn(_Shape):
    name: Name
    cue_share: Share
    cue_margin: Share = 0.0
    handling: Handling = Handling.LOGNORMAL
    replications: Annotated[int, Field(ge=10, le=1_000)] = 30
    seed: Annotated[int, Field(ge=0)] = 0
    hour: Annotated[tuple[_HourIn, ...], Field(max_length=744)] = ()
    plan: Annotated[tuple[_PlanIn, ...], Field(min_length=2, max_length=8)]


def load_scenario(path: Path, recorded: tuple[Hour, ...] | None = None) -> Scenario:
    """Read a scenario; its hours are the file's, or `recorded` ones.

    Raises:
        ScenarioInvalid: It cannot be read, a field is missing, unknown or out of range, two plans
            have one name, or it would take too long.
    """
    try:
        value = _ScenarioIn(**tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = ", ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'} ({e['msg'].lower()})"
            for e in error.errors(include_input=False, include_url=False)
        )
        raise ScenarioInvalid(f"scenario {path.name}: {wrong}") from error
    except (OSError, ValueError, TypeError) as error:
        raise ScenarioInvalid(f"scenario {path.name}: no TOML ({type(error).__name__})") from error
    if len({one.name for one in value.plan}) < len(value.plan):
        raise ScenarioInvalid(f"scenario {path.name}: each plan has a name of its own")
    if bool(value.hour) is (recorded is not None):
        raise ScenarioInvalid(f"scenario {path.name}: either hours in the file, or recorded ones")
    hours = recorded or tuple(Hour(calls=h.calls, handling_s=h.handling_s) for h in value.hour)
    starts = sum(h.calls for h in hours) * len(value.plan) * value.replications
    if starts > MOST_STARTS:
        raise ScenarioInvalid(
            f"scenario {path.name}: {starts:.0f} calls to play, at most {MOST_STARTS}: "
            "take fewer hours or replications"
        )
    return Scenario(
        name=value.name,
        hours=hours,
        plans=tuple(one.plan() for one in value.plan),
        cue_share=value.cue_share,
        cue_margin=value.cue_margin,
        handling=value.handling,
        replications=value.replications,
        seed=value.seed,
    )
