"""Jurisdictions as data: a profile tightens, and one that would loosen does not load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.current import Ruled
from policies.engine import PolicyEngine
from policies.errors import PolicyInvalid
from policies.law import LAW, tightest
from policies.profile import FOLDER, find_profile, parse_profile, shipped_profiles
from policies.standing import Standing
from policies.vocabulary import Modality, Purpose
from tests.policies.cases import ASK, DAY_S, GOVERNANCE, INFER, NOW, STANDING, STORE
from tests.policies.random_cases import random_cases

ILLINOIS = FOLDER.joinpath("illinois.toml").read_text("utf-8")
CALIFORNIA = FOLDER.joinpath("california.toml").read_text("utf-8")


def test_every_profile_says_its_law() -> None:
    """Four places; each duty has a sentence, a source and a date, each rule its sources."""
    assert set(shipped_profiles()) == {"eu", "uk", "california", "illinois"}
    for profile in shipped_profiles().values():
        assert profile.duties
        for duty in profile.duties:
            assert duty.sentence.endswith(".")
            assert duty.source
            assert duty.duty_id.startswith(f"{profile.name}-")
        if profile.bundle is not None:
            assert set(profile.sources) == set(profile.bundle.words)


def test_no_profile_opens_a_random_request() -> None:
    """All four at once allow nothing that the shipped rules refuse."""
    plain, all_four = PolicyEngine.load(), Ruled(list(shipped_profiles().values()))
    closed = 0
    for case in random_cases(600, seed=20):
        asked = (case.request, case.standing, case.governance)
        before, after = (rules.decide(*asked, now=NOW).allowed for rules in (plain, all_four))
        assert before or not after
        closed += before and not after
    assert closed


def test_illinois_reads_no_voice_or_face() -> None:
    """Without a written release neither is read; text is."""
    rules = Ruled([find_profile("illinois")])
    for modality in Modality:
        decision = rules.decide(replace(INFER, modality=modality), STANDING, GOVERNANCE, now=NOW)
        assert decision.allowed is (modality not in {Modality.VOICE, Modality.FACE})
    voice = rules.decide(replace(INFER, modality=Modality.VOICE), STANDING, GOVERNANCE, now=NOW)
    assert voice.rules == ("x-illinois-biometric",)
    assert "signature" in voice.reasons[0]


def test_california_takes_one_no_for_all_further_uses() -> None:
    """An objection to offers ends training too, and leaves the service itself alone."""
    rules = Ruled([find_profile("california")])
    limited = replace(STANDING, objected=frozenset({Purpose.OFFERS}))
    assert PolicyEngine.load().decide(STORE, limited, GOVERNANCE, now=NOW).allowed
    assert rules.decide(STORE, limited, GOVERNANCE, now=NOW).rules == ("x-california-limit-use",)
    assert rules.decide(INFER, limited, GOVERNANCE, now=NOW).allowed


def test_california_waits_a_year_before_asking_again() -> None:
    """The longer clock decides, and is part of the digest."""
    refused = ((Purpose.TRAINING, NOW - 200 * DAY_S),)
    said_no = Standing(subject=STANDING.subject, as_of=NOW, refused=refused)
    plain, ruled = PolicyEngine.load(), Ruled([find_profile("california")])
    assert plain.decide(ASK, said_no, GOVERNANCE, now=NOW).allowed
    assert ruled.decide(ASK, said_no, GOVERNANCE, now=NOW).rules == ("r18-asked-again",)
    assert plain.policy_digest != ruled.policy_digest


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("forbid (", "permit (", "may forbid, never permit"),
        ('["voice", "face"].contains(principal.modality)', "false", "a refusal by it"),
        ("x-illinois-biometric", "r06-erased", "begins with x-illinois-"),
        ('[sources]\nx-illinois-biometric = ["bipa-15-b"]', "[sources]", "names its sources"),
        ("[sources]", "[clocks]\nask_again_days = 30\n[sources]", "would loosen"),
        ("[sources]", "[clocks]\nemotion_session_hours = 48\n[sources]", "would loosen"),
        ("[sources]", "[clocks]\nnever = 1\n[sources]", "no clock of the law"),
        ("refused = false", "refused = true", "needs at least 2 tests"),
        ("[[duty]]", "[[duty]]\nodd", "not a profile"),
    ],
)
def test_profile_that_would_loosen_does_not_load(old: str, new: str, named: str) -> None:
    """A permission, a rule without effect, a looser clock and a failing test are each refused."""
    with pytest.raises(PolicyInvalid, match=named):
        parse_profile(ILLINOIS.replace(old, new))


def test_clocks_take_the_tightest_of_all() -> None:
    """Two places' clocks join at the tighter one, whatever the order."""
    both = [{"ask_again_days": 365, "emotion_session_hours": 12}, {"ask_again_days": 400}]
    for order in (both, both[::-1]):
        found = tightest(LAW.clocks, order)
        assert (found.ask_again_days, found.emotion_session_hours) == (400, 12)


def test_unknown_profile_is_named() -> None:
    """A profile that is not shipped is one line that names those that are."""
    with pytest.raises(PolicyInvalid, match="california, eu, illinois, uk"):
        find_profile("texas")
