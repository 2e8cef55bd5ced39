"""The built-in sample: made-up customers of a shop, a telephone company and an airline desk.

It lets a newcomer run the whole federation with no data of their own, and measure redaction
where the answers are known. Every message was written for this sample and rated as its writer
would rate it. No person, company or account in it is real: `deploy/sample/README.md` says which
reserved ranges the numbers come from. It is no benchmark: the writing is tidy, and small.

One file a branch holds the turns, one line each; `customers.jsonl` holds what the demo plays
about each customer: split, consent, age and vulnerability. `load_sample` reads both, strictly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.errors import SampleInvalid
from deploy.sample.marks import MarkKind, Span, read_marks
from policies.vocabulary import AgeBand, Purpose, Vulnerability

__all__ = ["BRANCHES", "MarkKind", "SampleLabel", "SampleTurn", "Span", "load_sample"]

BRANCHES = ("shop", "telephone", "airline")
"""The three branches; each has the file `<branch>.jsonl`."""

_CUSTOMERS = "customers.jsonl"


class SampleLabel(StrEnum):
    """How the customer would rate the turn."""

    FRUSTRATION = "frustration"
    ANXIETY = "anxiety"
    DISAPPOINTMENT = "disappointment"
    CONFUSION = "confusion"
    SATISFACTION = "satisfaction"
    ENTHUSIASM = "enthusiasm"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTurn:
    """One message of one made-up customer, and what the demo plays about that customer.

    `text` has no marks left in it; `marks` are `(start, end, kind)` in characters of `text`,
    end exclusive, in order, each kind the word of a MarkKind. `turn` counts from 1 within the
    conversation. `consent` holds the purposes agreed to, none to both of service and training.
    """

    branch: str
    customer: str
    conversation: str
    turn: int
    text: str
    marks: tuple[Span, ...]
    label: SampleLabel
    split: Literal["train", "dev"]
    consent: frozenset[Purpose]
    age: AgeBand
    vulnerabilities: frozenset[Vulnerability]


class _Line(BaseModel):
    """A line of a file: no field more, none fewer, no type guessed, no value in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _TurnLine(_Line):
    customer: str
    conversation: str
    turn: int = Field(ge=1)
    label: SampleLabel
    text: str = Field(min_length=1)


class _CustomerLine(_Line):
    customer: str
    branch: Literal["shop", "telephone", "airline"]
    split: Literal["train", "dev"]
    consent: tuple[Literal[Purpose.SERVICE, Purpose.TRAINING], ...]
    age: AgeBand
    vulnerabilities: tuple[Vulnerability, ...]


_AnyLine = TypeVar("_AnyLine", bound=_Line)


def load_sample(*, folder: Traversable | None = None) -> tuple[SampleTurn, ...]:
    """Return every turn, branch by branch, in the order of the conversations.

    Args:
        folder: Where the files are; None means those shipped with this package.

    Raises:
        SampleInvalid: A file is missing, or a line is malformed, has a broken mark, is out of
            order, or speaks of an unlisted customer. Names the file and the line.
    """
    source = files(__name__) if folder is None else folder
    customers = _customers(source)
    turns = tuple(turn for branch in BRANCHES for turn in _turns(source, branch, customers))
    if silent := customers.keys() - {turn.customer for turn in turns}:
        raise SampleInvalid(f"{_CUSTOMERS} lists {min(silent)}, who writes nothing: remove it")
    return turns


def _customers(source: Traversable) -> Mapping[str, _CustomerLine]:
    listed: dict[str, _CustomerLine] = {}
    for place, line in _lines(source, _CUSTOMERS, _CustomerLine):
        if line.customer in listed or not line.customer.startswith(f"{line.branch}-"):
            raise SampleInvalid(f"{place}: the customer is listed twice or of another branch")
        listed[line.customer] = line
    return listed


def _turns(
    source: Traversable, branch: str, customers: Mapping[str, _CustomerLine]
) -> Iterator[SampleTurn]:
    last: dict[str, int] = {}
    for place, line in _lines(source, f"{branch}.jsonl", _TurnLine):
        customer = customers.get(line.customer)
        if customer is None or customer.branch != branch:
            raise SampleInvalid(f"{place}: {_CUSTOMERS} lists no such customer of this branch")
        if line.conversation.rpartition("-")[0] != line.customer:
            raise SampleInvalid(f"{place}: the conversation is not named after its customer")
        if line.turn != last.get(line.conversation, 0) + 1:
            raise SampleInvalid(f"{place}: turn {line.turn} does not follow the one before it")
        last[line.conversation] = line.turn
        yield _joined(line, customer, place)


def _joined(line: _TurnLine, customer: _CustomerLine, place: str) -> SampleTurn:
    try:
        text, marks = read_marks(line.text)
    except ValueError as error:
        raise SampleInvalid(f"{place}: {error}: write [[KIND:surface]]") from error
    return SampleTurn(
        branch=customer.branch,
        customer=line.customer,
        conversation=line.conversation,
        turn=line.turn,
        text=text,
        marks=marks,
        label=line.label,
        split=customer.split,
        consent=frozenset(customer.consent),
        age=customer.age,
        vulnerabilities=frozenset(customer.vulnerabilities),
    )


def _lines(source: Traversable, name: str, kind: type[_AnyLine]) -> Iterator[tuple[str, _AnyLine]]:
    """Yield each line of a file, checked, with the place to name if a later check fails."""
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
