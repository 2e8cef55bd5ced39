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
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

from deploy.errors import SampleInvalid
from deploy.sample.marks import MarkKind, Span, read_marks
from deploy.sample.wire import CustomerLine, SampleLabel, TurnLine, read_lines
from policies.vocabulary import AgeBand, Purpose, Vulnerability

__all__ = ["BRANCHES", "MarkKind", "SampleLabel", "SampleTurn", "Span", "load_sample"]

BRANCHES = ("shop", "telephone", "airline")
"""The three branches; each has the file `<branch>.jsonl`."""

_CUSTOMERS = "customers.jsonl"


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


def _customers(source: Traversable) -> Mapping[str, CustomerLine]:
    listed: dict[str, CustomerLine] = {}
    for place, line in read_lines(source, _CUSTOMERS, CustomerLine):
        if line.customer in listed or not line.customer.startswith(f"{line.branch}-"):
            raise SampleInvalid(f"{place}: the customer is listed twice or of another branch")
        listed[line.customer] = line
    return listed


def _turns(
    source: Traversable, branch: str, customers: Mapping[str, CustomerLine]
) -> Iterator[SampleTurn]:
    last: dict[str, int] = {}
    for place, line in read_lines(source, f"{branch}.jsonl", TurnLine):
        customer = customers.get(line.customer)
        if customer is None or customer.branch != branch:
            raise SampleInvalid(f"{place}: {_CUSTOMERS} lists no such customer of this branch")
        if line.conversation.rpartition("-")[0] != line.customer:
            raise SampleInvalid(f"{place}: the conversation is not named after its customer")
        if line.turn != last.get(line.conversation, 0) + 1:
            raise SampleInvalid(f"{place}: turn {line.turn} does not follow the one before it")
        last[line.conversation] = line.turn
        yield _joined(line, customer, place)


def _joined(line: TurnLine, customer: CustomerLine, place: str) -> SampleTurn:
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
