"""How long the facts beside the log's entries are kept, for what and why: policy as data.

A file names periods; each has its kinds of entry, its days, its purpose and its legal grounds,
and every kind is in exactly one. Which kinds are logs in the sense of the AI Act is said here,
not in the file: for those no file can go below the law's floor.

Not here: what is removed when (`audit.retention`).
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from audit.errors import RetentionInvalid
from audit.events import EventKind
from policies.canonical import digest
from policies.law import LAW
from policies.vocabulary import Digest

DAY_S = 86_400
SHIPPED = resources.files("audit").joinpath("retention.toml")

NO_AI_ACT_LOG = frozenset(
    {
        EventKind.NODE_ENROLLED,
        EventKind.GRANT_RECORDED,
        EventKind.WITHDRAWAL_RECORDED,
        EventKind.CONSENT_MOVED,
        EventKind.WITNESSED,
        EventKind.WITNESS_ALARM,
        EventKind.REQUEST_STEP,
        EventKind.REQUEST_ANSWERED,
        EventKind.REGISTER_STEP,
        EventKind.SIGNED_IN,
        EventKind.SIGNED_OUT,
        EventKind.SIGN_IN_REFUSED,
        EventKind.SIGN_IN_BLOCKED,
        EventKind.SIGN_ON,
        EventKind.STAFF_CHANGED,
        EventKind.INPUT_REFUSED,
        EventKind.RETENTION_APPLIED,
        EventKind.ARCHIVE_SEALED,
        EventKind.HOLD_STEP,
    }
)
"""Entries about consents, staff and the log itself; all others log the system's operation."""

_MOST_DAYS = 36_525


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """How long payload and salt of some kinds of entry are kept."""

    name: str
    days: int
    purpose: str
    grounds: tuple[str, ...]
    kinds: frozenset[EventKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """Every kind's period; `digest` is over all that the file says."""

    version: str
    periods: tuple[Period, ...]
    archive_after_days: int
    archive_fewest: int
    archive_drop: bool
    digest: Digest
    _by_kind: Mapping[EventKind, Period] = field(repr=False)

    def period_of(self, kind: EventKind) -> Period:
        """Return the period of a kind."""
        return self._by_kind[kind]

    def kept_s(self, kind: EventKind) -> float:
        """Return how long a payload of that kind is kept."""
        return float(self._by_kind[kind].days * DAY_S)

    def shortest_s(self) -> float:
        """Return how long every payload is kept at least."""
        return float(min(period.days for period in self.periods) * DAY_S)


def load_retention(path: Path | None = None) -> RetentionPolicy:
    """Read an operator's file, or the one that ships.

    Raises:
        RetentionInvalid: It cannot be read, or not accepted; see `parse_retention`.
    """
    name = SHIPPED.name if path is None else path.name
    try:
        text = (SHIPPED if path is None else path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RetentionInvalid(f"{name} cannot be read: check `retention` in settings") from error
    return parse_retention(text, name=name)


def parse_retention(
    text: str, *, name: str = "retention", floor_days: int = LAW.clocks.high_risk_log_days
) -> RetentionPolicy:
    """Return the policy that a file says.

    Raises:
        RetentionInvalid: Not TOML, a field is missing or wrong, a kind is unknown, in no period
            or in two, or an AI Act log would be kept for less than `floor_days`.
    """
    try:
        said = tomllib.loads(text)
        periods = tuple(_period(row) for row in said["period"])
        archive = dict(said["archive"])
        after_days, fewest = archive.pop("after_days"), archive.pop("fewest_entries")
        drop = archive.pop("drop")
        version = said["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise RetentionInvalid(f"{name}: {type(error).__name__}: {error}") from error
    _check_numbers(name, [period.days for period in periods], after_days, fewest)
    if not isinstance(version, str) or set(said) != {"version", "archive", "period"}:
        raise RetentionInvalid(f"{name}: expected version, [archive] and [[period]], no more")
    if archive or not isinstance(drop, bool):
        raise RetentionInvalid(
            f"{name}: [archive] has after_days, fewest_entries and drop, which is true or false"
        )
    _check_kinds(name, periods)
    _check_floor(name, periods, floor_days)
    return RetentionPolicy(
        version=version,
        periods=periods,
        archive_after_days=after_days,
        archive_fewest=fewest,
        archive_drop=drop,
        digest=digest(said),
        _by_kind={kind: period for period in periods for kind in period.kinds},
    )


def policy_to_dict(policy: RetentionPolicy) -> dict[str, Any]:
    """Return the policy as JSON values."""
    return {
        "version": policy.version,
        "digest": policy.digest,
        "ai_act_floor_days": LAW.clocks.high_risk_log_days,
        "archive": {
            "after_days": policy.archive_after_days,
            "fewest_entries": policy.archive_fewest,
            "drop": policy.archive_drop,
        },
        "periods": [
            {
                "name": period.name,
                "days": period.days,
                "purpose": period.purpose,
                "grounds": list(period.grounds),
                "kinds": sorted(period.kinds),
            }
            for period in policy.periods
        ],
    }


def _period(row: Mapping[str, Any]) -> Period:
    if set(row) != {"name", "days", "purpose", "grounds", "kinds"}:
        raise ValueError("a period has name, days, purpose, grounds and kinds, no more")
    kinds = [EventKind(kind) for kind in row["kinds"]]
    if len(set(kinds)) != len(kinds):
        raise ValueError(f"period {row['name']} names a kind twice")
    words = [row["name"], row["purpose"], *row["grounds"]]
    if not row["grounds"] or not all(isinstance(w, str) and w.strip() for w in words):
        raise ValueError(f"period {row['name']}: give a purpose, and at least one legal ground")
    return Period(
        name=row["name"],
        days=row["days"],
        purpose=row["purpose"],
        grounds=tuple(row["grounds"]),
        kinds=frozenset(kinds),
    )


def _check_numbers(name: str, days: list[Any], *others: Any) -> None:
    for number in (*days, *others):
        if type(number) is not int or not 1 <= number <= _MOST_DAYS:
            raise RetentionInvalid(
                f"{name}: days and counts are whole numbers from 1 to {_MOST_DAYS}, got {number!r}"
            )


def _check_kinds(name: str, periods: tuple[Period, ...]) -> None:
    counted = Counter(kind for period in periods for kind in period.kinds)
    if twice := sorted(kind for kind, count in counted.items() if count > 1):
        raise RetentionInvalid(f"{name}: in two periods: {', '.join(twice)}; keep one")
    if missing := sorted(set(EventKind) - set(counted)):
        raise RetentionInvalid(f"{name}: in no period: {', '.join(missing)}; every kind needs one")


def _check_floor(name: str, periods: tuple[Period, ...], floor_days: int) -> None:
    for period in periods:
        logs = sorted(period.kinds - NO_AI_ACT_LOG)
        if logs and period.days < floor_days:
            raise RetentionInvalid(
                f"{name}: period {period.name} keeps {logs[0]} for {period.days} days; AI Act "
                f"26(6) asks for at least six months: give {floor_days} days or more"
            )
