"""Each rule in a sentence that a customer understands, with its source and its date.

The rules themselves are Cedar, in `rules/`; this says what they mean. Ids are `rNN-…` after
the number in the rule list (`r00-…` are the engine's own refusals) and `pNN-…` for what may
be allowed at all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib import resources
from types import MappingProxyType
from typing import Any

from policies.errors import PolicyInvalid
from policies.law import LAW, Law
from policies.vocabulary import RuleId

CATALOGUE_FILE = resources.files("policies").joinpath("rules", "catalogue.toml")

NO_STANDING = RuleId("r04-no-standing")
NO_GOVERNANCE = RuleId("r27-no-governance")
OTHER_PERSON = RuleId("r00-other-person")
NAMES_A_PERSON = RuleId("r00-names-a-person")
ENGINE_ERROR = RuleId("r00-engine-error")
NO_PERMISSION = RuleId("r00-no-permission")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: its number in the rule list (0 for none), its plain sentence and its source.

    `statute` names every provision behind it, `applies_from` is the earliest of their dates
    (None for a rule that is ours alone), `to_confirm` says that a date was still moving.
    `absolute` rules are prohibitions that no permission, role or local setting overrides.
    """

    rule_id: RuleId
    number: int
    sentence: str
    statute: str
    applies_from: date | None
    to_confirm: bool
    absolute: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What a rule asks of a part that decides about no request, and the tests that hold it to it.

    `applies_from` and `to_confirm` are as in `Rule`.
    """

    duty_id: RuleId
    number: int
    sentence: str
    statute: str
    applies_from: date | None
    to_confirm: bool
    tests: tuple[str, ...]


def parse_catalogue(text: str, law: Law) -> Mapping[RuleId, Rule]:
    """Read the catalogue from TOML, sources looked up in the law.

    Raises:
        PolicyInvalid: Not TOML, a field is missing, or a source the law does not know.
    """
    try:
        rows = tomllib.loads(text)["rule"]
        rules = [
            _rule(
                RuleId(rule_id),
                sentence=row["sentence"].format(**asdict(law.clocks)),
                sources=row["sources"],
                absolute=row["absolute"],
                law=law,
            )
            for rule_id, row in rows.items()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"catalogue.toml: {type(error).__name__}: {error}") from error
    return MappingProxyType({rule.rule_id: rule for rule in rules})


def _rule(rule_id: RuleId, *, sentence: str, sources: list[str], absolute: bool, law: Law) -> Rule:
    return Rule(
        rule_id=rule_id,
        number=int(rule_id[1:3]) if rule_id.startswith("r") else 0,
        sentence=sentence,
        absolute=absolute,
        **_behind(sources, law),
    )


def _behind(sources: list[str], law: Law) -> dict[str, Any]:
    """Return the statute behind a rule or a duty, and since when it applies."""
    provisions = [law.provisions[source] for source in sources]
    return {
        "statute": "; ".join(p.title for p in provisions) or "Undertone's own rule",
        "applies_from": min((p.applies_from for p in provisions), default=None),
        "to_confirm": any(p.to_confirm for p in provisions),
    }


def parse_duties(text: str, law: Law) -> Mapping[RuleId, Duty]:
    """Read the duties from the same TOML.

    Raises:
        PolicyInvalid: As in `parse_catalogue`, or nothing holds somebody to a duty.
    """
    try:
        duties = {
            RuleId(name): Duty(
                duty_id=RuleId(name),
                number=row["number"],
                sentence=row["sentence"].format(**asdict(law.clocks)),
                tests=tuple(row["tests"]),
                **_behind(row["sources"], law),
            )
            for name, row in tomllib.loads(text)["duty"].items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"catalogue.toml: {type(error).__name__}: {error}") from error
    if untested := [name for name, duty in duties.items() if not duty.tests]:
        raise PolicyInvalid(f"catalogue.toml: {untested[0]} names no test that holds it")
    return MappingProxyType(duties)


CATALOGUE = parse_catalogue(CATALOGUE_FILE.read_text("utf-8"), LAW)
DUTIES = parse_duties(CATALOGUE_FILE.read_text("utf-8"), LAW)


def explain(rule_id: RuleId) -> str:
    """Return the rule's plain sentence; one that an organisation added is named as its own."""
    rule = CATALOGUE.get(rule_id)
    return rule.sentence if rule else f"This organisation's own rule {rule_id} decides this."
