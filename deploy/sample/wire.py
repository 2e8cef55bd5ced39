"""The lines of the sample's files, as they are written and checked.

A line has exactly its fields, no type is guessed, and no error repeats a value of a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from importlib.resources.abc import Traversable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.errors import SampleInvalid
from policies.vocabulary import AgeBand, Purpose, Vulnerability


class SampleLabel(StrEnum):
    """How the customer would rate the turn."""

    FRUSTRATION = "frustration"
    ANXIETY = "anxiety"
    DISAPPOINTMENT = "disappointment"
    CONFUSION = "confusion"
    SATISFACTION = "satisfaction"
    ENTHUSIASM = "enthusiasm"
    NEUTRAL = "neutral"


class Line(BaseModel):
    """What every line has in common: strictness."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class TurnLine(Line):
    """One message, its personal data marked inline (`deploy.sample.marks`)."""

    customer: str
    conversation: str
    turn: int = Field(ge=1)
    label: SampleLabel
    text: str = Field(min_length=1)


class CustomerLine(Line):
    """What the demo plays about one customer."""

    customer: str
    branch: Literal["shop", "telephone", "airline"]
    split: Literal["train", "dev"]
    consent: tuple[Literal[Purpose.SERVICE, Purpose.TRAINING], ...]
    age: AgeBand
    vulnerabilities: tuple[Vulnerability, ...]


AnyLine = TypeVar("AnyLine", bound=Line)


def read_lines(
    source: Traversable, name: str, kind: type[AnyLine]
) -> Iterator[tuple[str, AnyLine]]:
    """Yield each line of a file, checked, with the place to name if a later check fails.

    Raises:
        SampleInvalid: The file cannot be read, or a line is not of this kind.
    """
    try:
        content = source.joinpath(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SampleInvalid(f"{name} cannot be read ({type(error).__name__})") from error
    for number, line in enumerate(content.splitlines(), start=1):
        place = f"{name}, line {number}"
        try:
            yield place, kind.model_validate_json(line)
        except ValidationError as error:
            raise SampleInvalid(f"{place}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in fault["loc"]) or "the line"
    return f"{field} is not as it should be ({fault['type']})"
