"""An organisation's own rules: a bundle that tightens, admitted whole or not at all.

    {name, version, rules: Cedar text,
     words: {rule: {officer: {en, de, fr}, customer: {en, de, fr}}},
     tests: [{rule, refused, request, standing, governance, now}]}

A bundle is admitted in this order:
1. well formed; 2. lint: ids begin with `x-NAME-`, every rule has its words; 3. **only
prohibitions**; 4. it fits the schema beside the shipped rules; 5. no rule that never applies;
6. its own tests hold, at least two on each side of each rule.

Step 3 is what makes it sound: where forbid beats permit and any error refuses, adding forbids
to a set of rules can only turn a yes into a no, whatever they say. Signature, order of versions
and the record of it belong to whoever loads it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.analysis import reach, rules_in
from policies.engine import PolicyEngine
from policies.errors import PolicyInvalid, PolicyUnavailable
from policies.remedy import Situation, situation_from_dict
from policies.rulebook import RuleBook
from policies.vocabulary import RuleId

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_FEWEST = 2
_LANGUAGES = {"en", "de", "fr"}
_READERS = {"officer", "customer"}
MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleTest:
    """One situation that a rule of the bundle must refuse, or must leave alone."""

    rule: RuleId
    refused: bool
    situation: Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Rules of an organisation's own, with their words and tests beside them."""

    name: str
    version: int
    rules: str
    words: Mapping[RuleId, Mapping[str, Mapping[str, str]]]
    tests: tuple[BundleTest, ...]


def bundle_from_dict(value: Mapping[str, Any]) -> Bundle:
    """Read a bundle (1).

    Raises:
        PolicyInvalid: A field is missing, unknown or of the wrong kind, or it is too large.
    """
    try:
        if odd := set(value) ^ {"name", "version", "rules", "words", "tests"}:
            raise PolicyInvalid(f"a bundle lacks or does not know {len(odd)} of its fields")
        name, version, rules = value["name"], value["version"], value["rules"]
        tests = tuple(
            BundleTest(
                rule=RuleId(str(row["rule"])),
                refused=_flag(row["refused"]),
                situation=situation_from_dict(row),
            )
            for row in value["tests"]
        )
        words = {RuleId(rule): dict(said) for rule, said in value["words"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PolicyInvalid(f"not a bundle: {type(error).__name__}") from error
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise PolicyInvalid("a bundle's name is small letters, digits and hyphens, at most 40")
    if type(version) is not int or version < 1 or not isinstance(rules, str):
        raise PolicyInvalid("a bundle has a version from 1 on and its rules as text")
    if len(rules) > MOST_BYTES:
        raise PolicyInvalid(f"a bundle's rules are at most {MOST_BYTES} characters")
    return Bundle(name=name, version=version, rules=rules, words=words, tests=tests)


def admit(book: RuleBook, bundle: Bundle) -> RuleBook:
    """Return the book with the bundle's rules, after steps 2 to 6.

    Raises:
        PolicyInvalid: A step failed; the message names the rule, and for a permission the
            prohibitions that it would run into.
    """
    _lint(bundle)  # 2
    _only_prohibitions(book, bundle)  # 3
    tighter = book.tightened(f"x-{bundle.name}.cedar", bundle.rules)
    engine = PolicyEngine(tighter)  # 4
    _check_reach(book, bundle)  # 5
    _check_tests(engine, bundle)  # 6
    return tighter


def _lint(bundle: Bundle) -> None:
    rules = [ruling.rule for ruling in rules_in(bundle.rules)]
    if not rules:
        raise PolicyInvalid(f"bundle {bundle.name} holds no rule")
    prefix = f"x-{bundle.name}-"
    if wrong := [rule for rule in rules if not rule.startswith(prefix)]:
        raise PolicyInvalid(f"{wrong[0]}: an id of this bundle begins with {prefix}")
    if odd := set(rules) ^ set(bundle.words):
        raise PolicyInvalid(f"{min(odd)}: rules and words of a bundle name each other")
    for rule, said in bundle.words.items():
        whole = set(said) == _READERS and all(
            set(texts) == _LANGUAGES
            and all(isinstance(t, str) and t.strip() for t in texts.values())
            for texts in said.values()
        )
        if not whole:
            raise PolicyInvalid(f"{rule}: needs words for officer and customer in en, de and fr")


def _only_prohibitions(book: RuleBook, bundle: Bundle) -> None:
    permits = {ruling.rule for ruling in rules_in(bundle.rules) if not ruling.forbids}
    if not permits:
        return
    against = conflicts(book, bundle)
    first = min(permits)
    named = ", ".join(sorted(against[first])) or "none that is certain"
    raise PolicyInvalid(
        f"{first}: a bundle may forbid, never permit; this would permit what these forbid: {named}"
    )


def conflicts(book: RuleBook, bundle: Bundle) -> Mapping[RuleId, frozenset[RuleId]]:
    """Return for each permission of a bundle the prohibitions that it would run into.

    Where for some action that it reaches a prohibition holds of every request, these are
    named; where none does, all that may hold.
    """
    shipped = {r.rule for r in rules_in(book.policies) if r.forbids}
    theirs, ours = reach(book, bundle.rules), reach(book, book.policies)
    found: dict[RuleId, frozenset[RuleId]] = {}
    for ruling in rules_in(bundle.rules):
        if ruling.forbids:
            continue
        reached = [a for a, r in theirs.items() if ruling.rule in r.always | r.sometimes]
        always = frozenset(rule for a in reached for rule in ours[a].always & shipped)
        sometimes = frozenset(rule for a in reached for rule in ours[a].sometimes & shipped)
        found[ruling.rule] = always or sometimes
    return found


def _check_reach(book: RuleBook, bundle: Bundle) -> None:
    reached: set[RuleId] = set()
    for found in reach(book, bundle.rules).values():
        reached |= found.always | found.sometimes
    if idle := {ruling.rule for ruling in rules_in(bundle.rules)} - reached:
        raise PolicyInvalid(f"{min(idle)}: applies to no action whatever is asked: mend or drop it")


def _check_tests(engine: PolicyEngine, bundle: Bundle) -> None:
    sides = Counter((test.rule, test.refused) for test in bundle.tests)
    for ruling in rules_in(bundle.rules):
        if min(sides[ruling.rule, True], sides[ruling.rule, False]) < _FEWEST:
            raise PolicyInvalid(
                f"{ruling.rule}: needs at least {_FEWEST} tests that it refuses and {_FEWEST} "
                "that it leaves alone"
            )
    for number, test in enumerate(bundle.tests, 1):
        s = test.situation
        try:
            decision = engine.decide(s.request, s.standing, s.governance, now=s.now)
        except PolicyUnavailable as error:
            raise PolicyInvalid(f"{test.rule}: its test {number} could not be decided") from error
        # Left alone means allowed: a test that another rule refuses would show nothing.
        held = test.rule in decision.rules if test.refused else decision.allowed
        if not held:
            raise PolicyInvalid(
                f"{test.rule}: test {number} of the bundle expected "
                f"{'a refusal by it' if test.refused else 'a yes'}, got {', '.join(decision.rules)}"
            )


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value
