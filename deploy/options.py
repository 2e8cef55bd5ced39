"""What a newcomer may choose for the demo, and the plan that follows from it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import Misuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The demo's options as given; None means the default of the sample or of a table."""

    data: Path | None = None
    text: str = "text"
    label: str = "label"
    tenant: str = "tenant"
    subject: str = "subject"
    split: str | None = None
    families: str = ""
    consent: float = 1.0
    epsilon: float = 2.0
    rounds: int = 10
    people: int | None = None
    deadline_s: float | None = None
    encoder: Path | None = None
    folder: Path | None = None
    json: Path | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            Misuse: A number is out of its range; says which and what would do.
        """
        for name, ok, expected in (
            ("CONSENT", 0 <= self.consent <= 1, "a share from 0 to 1"),
            ("EPSILON", 0.05 <= self.epsilon <= 16, "from 0.05 to 16"),  # noqa: PLR2004
            ("ROUNDS", 2 <= self.rounds <= 100, "from 2 to 100"),  # noqa: PLR2004
            ("PEOPLE", self.people is None or self.people > 0, "a positive number"),
            (
                "DEADLINE",
                self.deadline_s is None or 0.2 <= self.deadline_s <= 600,  # noqa: PLR2004
                "seconds, from 0.2 to 600",
            ),
        ):
            if not ok:
                raise Misuse(f"{name} is out of range: expected {expected}")


def parse(arguments: Sequence[str]) -> Options:
    """Return the options on a command line; ends the program with code 2 on misuse.

    Raises:
        Misuse: A value is out of its range.
    """
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo",
        description="Run a whole private federation on this machine.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=Path, help="a CSV or CSV.GZ; without it the built-in sample")
    add("--text", help="column of the message (default: text)")
    add("--label", help="column of the customer's rating (default: label)")
    add("--tenant", help="column of the branch; each becomes a node (default: tenant)")
    add("--subject", help="column of the person (default: subject)")
    add("--split", help="column that says train or dev (default: people kept apart by hash)")
    add("--families", help="families of labels it does not know: label=family,label=family")
    add("--consent", type=float, help="share of people who agreed (default: 1.0)")
    add("--epsilon", type=float, help="for a person at a node, over all rounds (default: 2)")
    add("--rounds", type=int, help="rounds of the run (default: 10)")
    add("--people", type=int, help="nominal people at a node, a public declaration")
    add("--deadline", type=float, dest="deadline_s", help="seconds until every node replies")
    add("--encoder", type=Path, help="folder of the encoder, if not in the usual places")
    add("--folder", type=Path, help="a new folder to work in (default: one that is removed)")
    add("--json", type=Path, help="write the rows to this file")
    add("--keep", action="store_true", help="leave everything running at the end")
    return Options(**vars(parser.parse_args(arguments)))
