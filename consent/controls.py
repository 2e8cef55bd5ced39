"""The live controls that a mitigation may name, and whether each holds right now.

A mitigation that names none of these cannot be written into an assessment. `find` says what the
control is in the running system, or why it does not hold; nothing is taken on trust.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from consent.live import Live, figures_of
from consent.register import UNABLE
from policies.errors import PolicyInvalid
from policies.law import LAW

FRESH_S = 3600
"""Standing that may grow older than this does not count as a withdrawal heard at once."""

_RULE = "rule:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control as it stands; `now` is what it is, or why it does not hold."""

    name: str
    holds: bool
    now: str


def find(name: str, live: Live) -> Control:
    """Return a control as it stands.

    Raises:
        PolicyInvalid: There is no such control.
    """
    check_name(name)
    if name.startswith(_RULE):
        return _rule(name, live)
    holds, now = _CONTROLS[name](live)
    return Control(name=name, holds=holds, now=now)


def check_name(name: str) -> None:
    """Return if a mitigation may name this control.

    Raises:
        PolicyInvalid: There is no such control.
    """
    if name not in _CONTROLS and not name.startswith(_RULE):
        known = ", ".join(sorted(_CONTROLS))
        raise PolicyInvalid(f"no control {name[:60]!r}: expected rule:ID, or one of {known}")


def _rule(name: str, live: Live) -> Control:
    wanted = name.removeprefix(_RULE)
    page = next((page for page in live.rules if page["rule"] == wanted), None)
    if page is None:
        return Control(name=name, holds=False, now="this rule is not among those in force")
    return Control(name=name, holds=True, now=str(page["sentence"]))


def _oversight(live: Live) -> tuple[bool, str]:
    alone = [p.value for p in live.purposes if not live.overseers(p)]
    if alone:
        return False, f"nobody who can act is appointed for: {', '.join(alone)}{_unable(live)}"
    people = sorted({person for p in live.purposes for person in live.overseers(p)})
    return True, f"appointed: {', '.join(people)}"


def _unable(live: Live) -> str:
    """Return in words who is appointed and cannot act, and why."""
    found = {
        f"{made['person']} {UNABLE[made['account']]}"
        for made in live.oversight
        if made["within_term"] and not made["in_force"]
    }
    return f" ({'; '.join(sorted(found))})" if found else ""


def _notice(live: Live) -> tuple[bool, str]:
    if not live.notices:
        return False, "no notice is published"
    return True, f"notice {live.notices[-1]['version']} names emotion analysis"


def _standing(live: Live) -> tuple[bool, str]:
    age = live.governance.standing_max_age_s
    return age <= FRESH_S, f"standing grows at most {age} s old, then the gate closes"


def _retention(live: Live) -> tuple[bool, str]:
    floor = int(live.retention["ai_act_floor_days"])
    days = f"logs at least {floor} days, readings at most {LAW.clocks.emotion_session_hours} hours"
    return floor >= LAW.clocks.high_risk_log_days, days


def _witnesses(live: Live) -> tuple[bool, str]:
    known = [str(name) for name in live.log["witnesses"]]
    if not known:
        return False, "nobody witnesses the evidence log: enrol a node, or name an auditor"
    return True, f"the evidence log is witnessed by {len(known)} others"


def _unreleased(live: Live) -> tuple[bool, str]:
    """Say what holds while no card is known: nothing is read before there is a release."""
    if not live.coordinator:
        return (
            False,
            "cards of releases do not reach this service: name the coordinator in settings",
        )
    return True, "no release is published yet: branches give no answers"


def _fairness(live: Live) -> tuple[bool, str]:
    release = live.release()
    if release is None:
        return _unreleased(live)
    gaps = figures_of(release, "gap in")
    if not gaps:
        return False, f"the card of {release['release']} states no gap between groups"
    worst = max(gaps, key=lambda row: float(row["value"]))
    return True, f"{release['release']}: the widest is {worst['name']}, {worst['value']:.3g}"


def _privacy(live: Live) -> tuple[bool, str]:
    release = live.release()
    if release is None:
        return _unreleased(live)
    card = release["card"]
    if card["rounds"] and card["epsilon"] is None:
        return False, f"the card of {release['release']} states no bound on what it tells"
    bound = "nobody's data" if card["epsilon"] is None else f"epsilon {card['epsilon']:.2f}"
    return True, f"{release['release']}: {bound}, for {card['unit']}"


def _contact(live: Live) -> tuple[bool, str]:
    unnamed = [c for c in live.companies() if not live.parties.get(c, {}).get("contact")]
    if unnamed or not live.companies():
        return False, f"no contact for people: {', '.join(unnamed) or 'no company is enrolled'}"
    return True, "every company names a contact and takes requests"


_CONTROLS: Mapping[str, Callable[[Live], tuple[bool, str]]] = MappingProxyType(
    {
        "oversight": _oversight,
        "notice": _notice,
        "fresh-standing": _standing,
        "retention": _retention,
        "witnesses": _witnesses,
        "fairness": _fairness,
        "privacy": _privacy,
        "contact": _contact,
    }
)
