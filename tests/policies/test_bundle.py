"""A bundle tightens or is refused whole: nothing that an organisation adds opens anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policies.analysis import reach
from policies.bundle import Bundle, admit, bundle_from_dict, conflicts
from policies.decision import request_to_dict
from policies.engine import PolicyEngine
from policies.errors import PolicyInvalid, PolicyUnavailable
from policies.parsed import ACTIONS
from policies.rulebook import RuleBook
from policies.shadow import Shadow
from policies.standing import governance_to_dict, standing_to_dict
from policies.vocabulary import Modality, Purpose, RuleId
from tests.policies.cases import GOVERNANCE, INFER, NOW, STANDING, Situation, released, so
from tests.policies.random_cases import random_cases

BOOK = RuleBook.shipped()
RULE = RuleId("x-acme-no-voice")
FORBID = """
@id("x-acme-no-voice")
forbid (principal, action == Action::"infer", resource)
when { principal.modality == "voice" };
"""


def _test(case: Situation, *, refused: bool, rule: str = RULE) -> dict[str, Any]:
    return {
        "rule": rule,
        "refused": refused,
        "request": request_to_dict(case.request),
        "standing": None if case.standing is None else standing_to_dict(case.standing),
        "governance": governance_to_dict(case.governance),
        "now": NOW,
    }


TESTS = [
    _test(so(INFER, modality=Modality.VOICE), refused=True),
    _test(so(INFER, modality=Modality.VOICE, purpose=Purpose.TRAINING), refused=True),
    _test(so(INFER), refused=False),
    _test(so(INFER, modality=Modality.FACE), refused=False),
]
WORDS = {
    reader: {"en": "No voice.", "de": "Keine Stimme.", "fr": "Pas de voix."}
    for reader in ("officer", "customer")
}
BODY: dict[str, Any] = {
    "name": "acme",
    "version": 1,
    "rules": FORBID,
    "words": {RULE: WORDS},
    "tests": TESTS,
}


def _bundle(**changes: Any) -> Bundle:
    return bundle_from_dict(BODY | changes)


def _ruled(rules: str) -> Bundle:
    """Return a bundle of other rules with their words; its tests stay."""
    named = [line.split('"')[1] for line in rules.splitlines() if line.startswith("@id")]
    return _bundle(rules=rules, words=dict.fromkeys(named, WORDS))


def test_bundle_that_tightens_is_admitted_and_decides() -> None:
    """A new prohibition is in force beside the shipped rules, under its own name and digest."""
    tighter = admit(BOOK, _bundle())
    engine = PolicyEngine(tighter)
    voice = replace(INFER, modality=Modality.VOICE)
    assert engine.decide(voice, STANDING, GOVERNANCE, now=NOW).rules == (RULE,)
    assert engine.decide(INFER, STANDING, GOVERNANCE, now=NOW).allowed
    assert tighter.digest != BOOK.digest


@pytest.mark.parametrize(
    ("scope", "named"),
    [
        ('action == Action::"price"', "r11-price-and-access"),
        ('action in [Action::"timing", Action::"infer"]', "r15-timing"),
        ('action == Action::"segment"', "r16-segment"),
        ('action in Action::"use"', "r24-undeclared-use"),
        ('action == Action::"infer"', "r06-withdrawn"),
        ("action", "r11-price-and-access"),
    ],
)
def test_bundle_that_permits_is_refused_with_the_prohibition(scope: str, named: str) -> None:
    """A permission is refused at load, and the message names what forbids it."""
    rules = f'@id("x-acme-open")\npermit (principal, {scope}, resource);'
    with pytest.raises(PolicyInvalid, match="never permit") as caught:
        admit(BOOK, _ruled(rules))
    assert named in str(caught.value)


SMUGGLED = {
    "what a prohibition asks, the other way": """permit (principal, action, resource)
        unless { resource is Person && resource.withdrawn.contains(principal.purpose) };""",
    "a slot": "permit (principal == ?principal, action, resource == ?resource);",
    "a slot in a prohibition": "forbid (principal == ?principal, action, resource);",
    "the hierarchy of actions": 'permit (principal, action in [Action::"use"], resource);',
    "an equality": "permit (principal, action, resource) when { principal == principal };",
    "a set": "permit (principal, action, resource) when { [1, 2].containsAny([2]) };",
    "a presence": "permit (principal, action, resource) when { context has approved_by };",
    "a wildcard": 'permit (principal, action, resource) when { principal.purpose like "*" };',
    "an annotation": '@effect("forbid") permit (principal, action, resource);',
    "a comment": "// forbid (principal, action, resource);\npermit (principal, action, resource);",
    "a name twice": """forbid (principal, action, resource) when { context.cancelling };
        @id("x-acme-a") permit (principal, action, resource);""",
    "signs that turn the line": "/*\u202e*/permit (principal, action, resource);",
}


@pytest.mark.promise(1)
@pytest.mark.parametrize("trick", SMUGGLED)
def test_no_trick_of_the_language_smuggles_a_permission_in(trick: str) -> None:
    """Whatever a permission is dressed as, the bundle that holds it is refused at load."""
    with pytest.raises(PolicyInvalid, match=r"never permit|template|do not parse"):
        admit(BOOK, _ruled(f'@id("x-acme-a")\n{SMUGGLED[trick]}'))


def test_permission_hidden_among_prohibitions_is_found() -> None:
    """One permission in a long bundle, whatever its condition, is enough to refuse it all."""
    hidden = '@id("x-acme-open")\npermit (principal, action, resource) when { 1 == 2 };'
    with pytest.raises(PolicyInvalid, match="x-acme-open"):
        admit(BOOK, _ruled(FORBID + hidden))


def test_conflicts_name_only_prohibitions_that_may_hold() -> None:
    """A permission for infer never runs into a rule about releases or prices."""
    rules = '@id("x-acme-open")\npermit (principal, action == Action::"infer", resource);'
    against = conflicts(BOOK, _ruled(rules))[RuleId("x-acme-open")]
    assert {"r04-no-consent", "r06-erased", "r27-stopped"} <= against
    assert not {"r11-price-and-access", "r23-release-unapproved", "r18-asked-again"} & against


def test_analysis_agrees_with_decisions() -> None:
    """What holds always refuses every random request; what never holds refuses none."""
    engine = PolicyEngine.load()
    found = reach(BOOK, BOOK.policies)
    assert set(found) == set(ACTIONS)
    for case in random_cases(300, seed=9):
        request = case.request
        both = request.use is not None and request.action != "use"
        action = "use" if both else (request.use or request.action)
        decision = engine.decide(request, case.standing, case.governance, now=NOW)
        ruled = {rule for rule in decision.rules if not rule.startswith("r00")}
        assert ruled <= found[action].always | found[action].sometimes
        assert {r for r in found[action].always if r.startswith("r")} <= ruled


ANYTHING = """
@id("x-acme-no-voice")
forbid (principal, action, resource) when { %s };
"""


@pytest.mark.parametrize(
    "condition",
    [
        "true",
        "false",
        'principal.modality == "voice"',
        "context.now * 9223372036854775807 > 0",
        "context has delayed_calls && context.delayed_calls == 0",
        'resource is Person && resource.age == "adult"',
        '!(principal.dpia_purposes.contains("service"))',
    ],
)
def test_no_prohibition_whatever_it_says_opens_a_random_request(condition: str) -> None:
    """The argument of step 3, tried: with more forbids no no becomes a yes, errors included."""
    plain = PolicyEngine.load()
    tighter = PolicyEngine(BOOK.tightened("x-acme.cedar", ANYTHING % condition))
    for case in random_cases(150, seed=10):
        asked = (case.request, case.standing, case.governance)
        try:
            opened = tighter.decide(*asked, now=NOW).allowed
        except PolicyUnavailable:
            continue
        assert plain.decide(*asked, now=NOW).allowed or not opened


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rules": ""}, "no rule"),
        ({"rules": "forbid ("}, "do not parse"),
        ({"rules": FORBID.replace("x-acme-", "r06-")}, "begins with x-acme-"),
        ({"rules": FORBID.replace("modality", "mood")}, "not sound"),
        ({"rules": FORBID.replace('== Action::"infer"', '== Action::"infr"')}, "not sound"),
        ({"words": {}}, "name each other"),
        ({"words": {RULE: {"officer": WORDS["officer"]}}}, "needs words"),
        ({"words": {RULE: WORDS | {"customer": {"en": "No."}}}}, "needs words"),
        ({"tests": TESTS[:3]}, "at least 2"),
        ({"tests": TESTS[1:]}, "at least 2"),
        ({"tests": [*TESTS, TESTS[0] | {"refused": False}]}, "expected a yes"),
        ({"tests": [*TESTS, TESTS[2] | {"refused": True}]}, "a refusal by it"),
        (
            {"rules": FORBID.replace('"infer"', '"infer"').replace("when {", "when { false && ")},
            "x-",
        ),
    ],
)
def test_bundle_that_is_not_sound_is_refused(changes: dict[str, Any], named: str) -> None:
    """Lint, schema, words and the bundle's own tests are each held at load."""
    with pytest.raises(PolicyInvalid, match=named):
        admit(BOOK, _bundle(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Acme"},
        {"name": ""},
        {"version": 0},
        {"version": True},
        {"rules": 7},
        {"tests": [{}]},
        {"tests": [TESTS[0] | {"refused": 1}]},
        {"words": []},
        {"more": 1},
        {"rules": "x" * 300_000},
    ],
)
def test_bundle_out_of_form_is_no_bundle(changes: dict[str, Any]) -> None:
    """A field that is wrong, missing or one too many is refused before anything is loaded."""
    with pytest.raises(PolicyInvalid):
        _bundle(**changes)
    for name in BODY:
        with pytest.raises(PolicyInvalid):
            bundle_from_dict({k: v for k, v in BODY.items() if k != name})


def test_bundles_own_tests_may_concern_a_release() -> None:
    """A rule on publishing is tested without a person's standing."""
    rules = (
        '@id("x-acme-two")\n'
        'forbid (principal, action == Action::"release", resource)\n'
        'unless { context has approved_by && context.approved_by == "none" };'
    )
    tests = [
        _test(released(facts={"approved_by": by}), refused=by != "none", rule="x-acme-two")
        for by in ("jo", "ann", "none", "none")
    ]
    bundle = bundle_from_dict(
        BODY | {"rules": rules, "words": {"x-acme-two": WORDS}, "tests": tests}
    )
    assert RuleId("x-acme-two") in PolicyEngine(admit(BOOK, bundle)).rule_ids


def test_shadow_enforces_the_old_and_counts_the_new() -> None:
    """The rules in force answer; what the next would change is counted by kind and rule."""
    plain = PolicyEngine.load()
    shadow = Shadow(enforced=plain, proposed=PolicyEngine(admit(BOOK, _bundle())))
    voice = replace(INFER, modality=Modality.VOICE)
    for request in (INFER, voice, voice):
        decision = shadow.decide(request, STANDING, GOVERNANCE, now=NOW)
        assert (decision.allowed, decision.policy_digest) == (True, plain.policy_digest)
    report = shadow.report()
    ((change, count),) = report.changes
    assert (report.decided, report.failed, count) == (3, 0, 2)
    assert (change.action, change.opens, change.after) == ("infer", False, (RULE,))


def test_shadow_report_names_nobody() -> None:
    """Counts hold no pseudonym, no time and no request."""
    shadow = Shadow(enforced=PolicyEngine.load(), proposed=PolicyEngine(admit(BOOK, _bundle())))
    shadow.decide(replace(INFER, modality=Modality.VOICE), STANDING, GOVERNANCE, now=NOW)
    text = repr(shadow.report())
    assert STANDING.subject not in text
    assert str(NOW) not in text


def test_shadow_of_rules_that_break_changes_nothing() -> None:
    """Next rules that cannot answer are counted and delay no answer of those in force."""

    class Broken(PolicyEngine):
        def decide(self, *_: Any, **__: Any) -> Any:
            raise PolicyUnavailable("out of order")

    shadow = Shadow(enforced=PolicyEngine.load(), proposed=Broken(BOOK))
    assert shadow.decide(INFER, STANDING, GOVERNANCE, now=NOW).allowed
    assert (shadow.report().decided, shadow.report().failed) == (1, 1)
