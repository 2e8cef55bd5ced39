"""Jurisdictions as data: what the law of a place asks on top of the shipped rules.

    name, title                 the profile and the place in words
    [clocks]                    clocks that run shorter or longer here, never in the loose direction
    [provision.NAME]            title, applies_from, confirm: sources of this place's law
    [[duty]]                    id, sentence, sources, met_by: what it asks of other parts
    rules, [words], [[test]]    Cedar prohibitions with words and tests, as in a bundle

A profile only tightens. Its rules go through the very analysis and tests of an organisation's
bundle, and each clock is compared with the law's: a profile that would loosen does not load.
Figures of a place's law that are looser than ours stand in a duty's words; ours count.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from policies.bundle import Bundle, admit, bundle_from_dict
from policies.errors import PolicyInvalid
from policies.law import LAW, Provision, tightest
from policies.rulebook import RuleBook
from policies.vocabulary import RuleId

FOLDER = resources.files("policies").joinpath("profiles")
IN_ORDER = FOLDER.joinpath("in_order.json")
"""A situation in which everything is in order; a profile's tests say what differs from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDuty:
    """What the law of a place asks of another part than a decision, and what meets it here.

    `met_by` is empty where the organisation has to see to it itself.
    """

    duty_id: RuleId
    sentence: str
    source: str
    applies_from: date
    to_confirm: bool
    met_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One place: its clocks where they are tighter, duties, sources, and rules if it has any."""

    name: str
    title: str
    clocks: Mapping[str, int]
    provisions: Mapping[str, Provision]
    duties: tuple[ProfileDuty, ...]
    sources: Mapping[RuleId, tuple[str, ...]]
    bundle: Bundle | None


def parse_profile(text: str) -> Profile:
    """Read a profile, its clocks compared with the law's and its rules admitted.

    Raises:
        PolicyInvalid: Not a profile, a clock that would loosen, or rules that a bundle could
            not have: a permission, one that never applies, one without tests or words.
    """
    try:
        value = tomllib.loads(text)
        provisions = {name: _provision(row) for name, row in value["provision"].items()}
        profile = Profile(
            name=str(value["name"]),
            title=str(value["title"]),
            clocks=MappingProxyType(dict(value.get("clocks", {}))),
            provisions=MappingProxyType(provisions),
            duties=tuple(_duty(row, provisions) for row in value["duty"]),
            sources={RuleId(r): tuple(s) for r, s in value.get("sources", {}).items()},
            bundle=_bundle(value),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PolicyInvalid(f"not a profile: {type(error).__name__}: {error}") from error
    tightest(LAW.clocks, [profile.clocks])
    if profile.bundle is not None:
        admit(RuleBook.shipped(), profile.bundle)
        _check_sources(profile, profile.bundle)
    return profile


def _check_sources(profile: Profile, bundle: Bundle) -> None:
    named = {source for sources in profile.sources.values() for source in sources}
    if set(profile.sources) != set(bundle.words) or not named <= set(profile.provisions):
        raise PolicyInvalid(f"profile {profile.name}: each rule names its sources in its law")


def _provision(row: Mapping[str, Any]) -> Provision:
    return Provision(
        title=row["title"],
        applies_from=row["applies_from"],
        to_confirm=row.get("confirm", False),
    )


def _duty(row: Mapping[str, Any], provisions: Mapping[str, Provision]) -> ProfileDuty:
    sources = [provisions[source] for source in row["sources"]]
    return ProfileDuty(
        duty_id=RuleId(row["id"]),
        sentence=row["sentence"],
        source="; ".join(source.title for source in sources),
        applies_from=min(source.applies_from for source in sources),
        to_confirm=any(source.to_confirm for source in sources),
        met_by=row["met_by"],
    )


def _bundle(value: Mapping[str, Any]) -> Bundle | None:
    if "rules" not in value:
        return None
    return bundle_from_dict(
        {
            "name": value["name"],
            "version": 1,
            "rules": value["rules"],
            "words": value["words"],
            "tests": [_test(row) for row in value["test"]],
        }
    )


def _test(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole test: what is in order, and what this one changes of it."""
    situation = json.loads(IN_ORDER.read_text("utf-8"))
    changes = {name: row[name] for name in ("request", "standing", "governance") if name in row}
    return {"rule": row["rule"], "refused": row["refused"], **_merged(situation, changes)}


def _merged(value: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value with what is named changed in it, within tables too."""
    return value | {
        name: _merged(value[name], change) if isinstance(change, Mapping) else change
        for name, change in changes.items()
    }


def profile_page(name: str) -> dict[str, Any]:
    """Return all that a profile says, as JSON values: clocks, duties, rules with their words.

    Raises:
        PolicyInvalid: There is no such profile.
    """
    profile = find_profile(name)
    words = {} if profile.bundle is None else profile.bundle.words
    titles = {source: p.title for source, p in profile.provisions.items()}
    return {
        "profile": profile.name,
        "title": profile.title,
        "clocks": dict(profile.clocks),
        "rules": [
            {
                "rule": rule,
                "source": "; ".join(titles[source] for source in profile.sources[rule]),
                "words": {reader: dict(said) for reader, said in words[rule].items()},
            }
            for rule in sorted(words)
        ],
        "duties": [
            {
                "duty": duty.duty_id,
                "sentence": duty.sentence,
                "source": duty.source,
                "applies_from": duty.applies_from.isoformat(),
                "to_confirm": duty.to_confirm,
                "met_by": duty.met_by or None,
            }
            for duty in profile.duties
        ],
    }


@cache
def shipped_profiles() -> Mapping[str, Profile]:
    """Return the profiles that come with this version, by name.

    Raises:
        PolicyInvalid: The installation is damaged.
    """
    found = [
        parse_profile(entry.read_text("utf-8"))
        for entry in FOLDER.iterdir()
        if entry.name.endswith(".toml")
    ]
    return MappingProxyType({profile.name: profile for profile in found})


def find_profile(name: str) -> Profile:
    """Return a shipped profile.

    Raises:
        PolicyInvalid: There is none of that name.
    """
    profiles = shipped_profiles()
    if name not in profiles:
        raise PolicyInvalid(f"no profile {name[:40]!r}: there are {', '.join(sorted(profiles))}")
    return profiles[name]
