"""What a newcomer may choose for the demo, and the plan that follows from it."""

from __future__ import annotations

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
