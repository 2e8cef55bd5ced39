"""For each rule, situations that it lets pass and situations that it refuses.

Read a row as: all is in order, but what is named. The allow side stands as near as it can to
the deny side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policies.vocabulary import (
    AgeBand,
    Channel,
    Emotion,
    Modality,
    Objective,
    Purpose,
    Role,
    RuleId,
    Setting,
    Use,
    Vulnerability,
)
from tests.policies.cases import (
    ASK,
    COMPENSATION,
    COUNT,
    DAY_S,
    HANDOVER,
    HINT,
    INFER,
    NOW,
    REFERRAL,
    STORE,
    TRAIN,
    Situation,
    released,
    so,
    use,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What one rule lets pass, and what it refuses."""

    allow: tuple[Situation, ...]
    deny: tuple[Situation, ...]


WORKER = {"role": Role.WORKER}
STUDENT = {"role": Role.STUDENT}
LEAVING = {"cancelling": True}
IN_NEED = {"safety_dpia": "dpia-7"}
JOY = Emotion.JOY
ANGRY = {"emotion": Emotion.ANGER}
OWING = {"vulnerabilities": frozenset({Vulnerability.DEBT})}
OTHERS = frozenset(Purpose) - {Purpose.SERVICE}

TABLE: Mapping[str, Sides] = {
    "r01-not-customer": Sides(
        allow=(
            so(INFER),
            so(INFER, role=Role.WORKER, standing=WORKER, setting=Setting.SAFETY, facts=IN_NEED),
            so(REFERRAL, role=Role.WORKER, standing=WORKER, setting=Setting.SAFETY, facts=IN_NEED),
        ),
        deny=(
            so(INFER, role=Role.WORKER, standing=WORKER),
            so(INFER, role=Role.WORKER, standing=WORKER, setting=Setting.SAFETY),
            so(INFER, role=Role.WORKER, standing=WORKER, facts=IN_NEED),
            so(TRAIN, role=Role.WORKER, standing=WORKER, setting=Setting.SAFETY, facts=IN_NEED),
        ),
    ),
    "r01-role-mismatch": Sides(
        allow=(so(INFER), so(STORE)),
        deny=(so(INFER, standing=WORKER), so(INFER, role=Role.WORKER)),
    ),
    "r01-workplace": Sides(
        allow=(so(INFER), so(INFER, setting=Setting.SAFETY, facts=IN_NEED)),
        deny=(
            so(INFER, setting=Setting.WORKPLACE),
            so(HINT, setting=Setting.WORKPLACE, facts=IN_NEED),
        ),
    ),
    "r01-safety-without-dpia": Sides(
        allow=(so(INFER), so(INFER, setting=Setting.SAFETY, facts=IN_NEED)),
        deny=(
            so(INFER, setting=Setting.SAFETY),
            so(INFER, setting=Setting.SAFETY, facts={"safety_dpia": ""}),
        ),
    ),
    "r02-student": Sides(
        allow=(so(INFER), so(TRAIN)),
        deny=(
            so(INFER, role=Role.STUDENT, standing=STUDENT),
            so(
                REFERRAL, role=Role.STUDENT, standing=STUDENT, setting=Setting.SAFETY, facts=IN_NEED
            ),
        ),
    ),
    "r02-education": Sides(
        allow=(so(INFER), so(INFER, setting=Setting.SAFETY, facts=IN_NEED)),
        deny=(so(INFER, setting=Setting.EDUCATION), so(COUNT, setting=Setting.EDUCATION)),
    ),
    "r03-agent-channel": Sides(
        allow=(so(INFER), so(INFER, modality=Modality.VOICE)),
        deny=(
            so(INFER, channel=Channel.AGENT),
            so(INFER, channel=Channel.AGENT, modality=Modality.VOICE),
        ),
    ),
    "r03-speakers-not-separated": Sides(
        allow=(so(INFER), so(INFER, modality=Modality.VOICE)),
        deny=(
            so(INFER, channel=Channel.MIXED, modality=Modality.VOICE),
            so(INFER, channel=Channel.MIXED),
        ),
    ),
    "r04-no-consent": Sides(
        allow=(so(INFER), so(INFER, consent={"modalities": frozenset({Modality.TEXT})})),
        deny=(
            so(INFER, standing={"grants": ()}),
            so(INFER, consent={"purpose": Purpose.RESEARCH}),
            so(INFER, consent={"modalities": frozenset({Modality.VOICE})}),
            so(INFER, modality=Modality.FACE, consent={"modalities": frozenset({Modality.TEXT})}),
        ),
    ),
    "r04-not-explicit": Sides(
        allow=(so(INFER), so(STORE)),
        deny=(so(INFER, consent={"explicit": False}), so(TRAIN, consent={"explicit": False})),
    ),
    "r04-not-in-force": Sides(
        allow=(so(INFER, consent={"expires_at": NOW + 1}), so(INFER, consent={"granted_at": NOW})),
        deny=(
            so(INFER, consent={"expires_at": NOW}),
            so(INFER, consent={"granted_at": NOW + DAY_S}),
        ),
    ),
    "r05-notice-too-old": Sides(
        allow=(so(INFER), so(INFER, consent={"notice_version": 4})),
        deny=(
            so(INFER, consent={"notice_version": 2}),
            so(INFER, governance={"minimum_notice": 4}),
        ),
    ),
    "r05-not-informed": Sides(
        allow=(so(INFER), so(INFER, standing={"informed_at": NOW})),
        deny=(
            so(INFER, standing={"informed_at": None}),
            so(INFER, standing={"informed_at": NOW + DAY_S}),
        ),
    ),
    "r06-withdrawn": Sides(
        allow=(so(INFER), so(INFER, standing={"withdrawn": OTHERS})),
        deny=(
            so(INFER, standing={"withdrawn": frozenset({Purpose.SERVICE})}),
            so(TRAIN, standing={"withdrawn": frozenset(Purpose)}),
        ),
    ),
    "r06-objected": Sides(
        allow=(so(INFER), so(INFER, standing={"objected": OTHERS})),
        deny=(
            so(INFER, standing={"objected": frozenset({Purpose.SERVICE})}),
            so(TRAIN, standing={"objected": frozenset(Purpose)}),
        ),
    ),
    "r06-restricted": Sides(
        allow=(so(INFER), so(STORE)),
        deny=(so(INFER, standing={"restricted": True}), so(STORE, standing={"restricted": True})),
    ),
    "r06-erased": Sides(
        allow=(so(INFER), so(COUNT)),
        deny=(so(INFER, standing={"erased": True}), so(COUNT, standing={"erased": True})),
    ),
    "r06-standing-stale": Sides(
        allow=(
            so(INFER, standing={"as_of": NOW - 60}),
            so(INFER, standing={"as_of": NOW + 5}),  # clocks may differ by that much
        ),
        deny=(
            so(INFER, standing={"as_of": NOW - 61}),
            so(INFER, standing={"as_of": NOW + 6}),
            so(INFER, governance={"standing_max_age_s": 4}),
        ),
    ),
    "r07-minor-or-unknown-age": Sides(
        allow=(
            so(INFER),
            so(COUNT, standing={"age": AgeBand.MINOR}),
            so(COUNT, standing={"age": AgeBand.UNKNOWN}),
        ),
        deny=(
            so(INFER, standing={"age": AgeBand.MINOR}),
            so(INFER, standing={"age": AgeBand.UNKNOWN}),
            so(TRAIN, standing={"age": AgeBand.MINOR}),
        ),
    ),
    "r08-vulnerable": Sides(
        allow=(
            so(REFERRAL, standing={"vulnerabilities": frozenset(Vulnerability)}),
            so(HANDOVER, standing={"vulnerabilities": frozenset({Vulnerability.CRISIS})}),
            so(use(Use.UPSELL, emotion=JOY)),
        ),
        deny=tuple(
            so(use(what, emotion=JOY), standing={"vulnerabilities": frozenset({flag})})
            for what in (Use.UPSELL, Use.OFFER, Use.SEGMENT, Use.TIMING, Use.PRICE)
            for flag in Vulnerability
        ),
    ),
    "r10-negative-emotion": Sides(
        allow=(
            so(use(Use.UPSELL, emotion=JOY)),
            so(HANDOVER, facts={"emotion": Emotion.ANGER}),
            so(REFERRAL, facts={"emotion": Emotion.DISTRESS}),
        ),
        deny=tuple(
            so(use(Use.UPSELL, emotion=emotion))
            for emotion in (Emotion.ANGER, Emotion.FEAR, Emotion.SADNESS, Emotion.DISTRESS)
        ),
    ),
    "r10-undeclared-emotion": Sides(
        allow=(so(use(Use.UPSELL, emotion=JOY)), so(HINT)),
        deny=(so(use(Use.UPSELL)), so(use(Use.UPSELL), standing=WORKER)),
    ),
    "r11-price-and-access": Sides(
        allow=(so(HINT, facts={"emotion": Emotion.ANGER}), so(use(Use.COMPENSATION))),
        deny=tuple(
            so(use(what, emotion=emotion))
            for what in (Use.PRICE, Use.CREDIT, Use.INSURANCE, Use.ELIGIBILITY)
            for emotion in (None, *Emotion)
        ),
    ),
    "r12-worse-off": Sides(
        allow=(
            so(COMPENSATION),
            so(COMPENSATION, facts={"offer_value": 501}),
            so(COMPENSATION, facts={"offer_value": 0, "baseline_value": 0}),
            so(use(Use.OFFER)),
        ),
        deny=(
            so(COMPENSATION, facts={"offer_value": 499}),
            so(COMPENSATION, facts={"offer_value": None}),
            so(COMPENSATION, facts={"baseline_value": None}),
            so(COMPENSATION, facts={"offer_value": -1, "baseline_value": -1}),
            so(use(Use.OFFER, baseline_value=501)),
        ),
    ),
    "r14-calm-not-tested": Sides(
        allow=(
            so(COMPENSATION, facts={"calm_passed_at": NOW - 31 * DAY_S}),
            so(COMPENSATION, facts={"calm_passed_at": NOW}),
            so(use(Use.OFFER, calm_passed_at=None)),
        ),
        deny=(
            so(COMPENSATION, facts={"calm_passed_at": NOW - 31 * DAY_S - 1}),
            so(COMPENSATION, facts={"calm_passed_at": None}),
            so(COMPENSATION, facts={"calm_passed_at": NOW + DAY_S}),
        ),
    ),
    "r13-others-wait": Sides(
        allow=(so(HANDOVER), so(HANDOVER, use=Use.PRIORITY), so(HINT)),
        deny=(
            so(HANDOVER, facts={"delayed_calls": 1}),
            so(HANDOVER, facts={"delayed_calls": None}),
            so(HANDOVER, facts={"delayed_calls": -1}),
            so(HANDOVER, use=Use.PRIORITY, facts={"delayed_calls": 3}),
        ),
    ),
    "r15-timing": Sides(
        allow=(so(HINT), so(use(Use.OFFER, emotion=JOY))),
        deny=(so(use(Use.TIMING)), so(use(Use.TIMING, emotion=JOY))),
    ),
    "r15-brought-on": Sides(
        allow=(
            so(use(Use.OFFER, emotion=JOY)),
            so(use(Use.UPSELL, emotion=JOY)),
            so(COMPENSATION, facts={"due_anyway": False}),
        ),
        deny=(
            so(use(Use.OFFER, due_anyway=False)),
            so(use(Use.OFFER, emotion=JOY, due_anyway=False)),
            so(use(Use.UPSELL, emotion=JOY, due_anyway=False)),
        ),
    ),
    "r16-session-over": Sides(
        allow=(
            so(HINT, facts=ANGRY | {"read_at": NOW - DAY_S}),
            so(HINT, facts=ANGRY | {"read_at": NOW + 5}),
            so(HINT, facts={"emotion": None, "read_at": None}),
        ),
        deny=(
            so(HINT, facts=ANGRY | {"read_at": NOW - DAY_S - 1}),
            so(HINT, facts=ANGRY | {"read_at": None}),
            so(HANDOVER, facts=ANGRY | {"read_at": NOW + 6}),
        ),
    ),
    "r16-segment": Sides(
        allow=(so(HINT), so(COUNT)),
        deny=(so(use(Use.SEGMENT)), so(use(Use.SEGMENT, emotion=JOY))),
    ),
    "r17-cancelling": Sides(
        allow=(so(HANDOVER), so(HINT, facts=LEAVING), so(INFER, facts=LEAVING)),
        deny=(so(HANDOVER, facts=LEAVING), so(COMPENSATION, facts=LEAVING)),
    ),
    "r18-asked-again": Sides(
        allow=(
            so(ASK),
            so(ASK, standing={"refused": ((Purpose.TRAINING, NOW - 183 * DAY_S),)}),
            so(ASK, standing={"refused": ((Purpose.SERVICE, NOW),)}),
            so(ASK, standing={"grants": (), "informed_at": None}),
        ),
        deny=(
            so(ASK, standing={"refused": ((Purpose.TRAINING, NOW - 183 * DAY_S + 1),)}),
            so(ASK, standing={"refused": ((Purpose.TRAINING, NOW),)}),
            so(ASK, standing={"refused": ((Purpose.TRAINING, 1), (Purpose.TRAINING, NOW + 9))}),
        ),
    ),
    "r18-in-distress": Sides(
        allow=(so(ASK, facts={"emotion": JOY}), so(ASK, standing=OWING)),
        deny=(
            so(ASK, facts={"emotion": Emotion.DISTRESS}),
            so(ASK, standing={"vulnerabilities": frozenset({Vulnerability.CRISIS})}),
        ),
    ),
    "r18-final-no": Sides(
        allow=(so(ASK), so(ASK, standing={"objected": frozenset({Purpose.SERVICE})})),
        deny=(
            so(ASK, standing={"objected": frozenset({Purpose.TRAINING})}),
            so(ASK, standing={"restricted": True}),
            so(ASK, standing={"erased": True}),
        ),
    ),
    "r18-standing-stale": Sides(
        allow=(so(ASK, standing={"as_of": NOW - 60}), so(ASK, standing={"as_of": NOW + 5})),
        deny=(so(ASK, standing={"as_of": NOW - 61}), so(ASK, standing={"as_of": NOW + 6})),
    ),
    "r22-uncertain": Sides(
        allow=(so(HINT, facts=ANGRY), so(HINT, facts={"emotion": None, "certain": False})),
        deny=(
            so(HINT, facts=ANGRY | {"certain": False}),
            so(HANDOVER, facts=ANGRY | {"certain": False}),
        ),
    ),
    "r23-offer-unapproved": Sides(
        allow=(so(COMPENSATION), so(use(Use.OFFER))),
        deny=(
            so(COMPENSATION, facts={"approved_by": None}),
            so(COMPENSATION, facts={"approved_by": ""}),
            so(use(Use.OFFER, approved_by=None)),
            so(use(Use.UPSELL, emotion=JOY, approved_by="")),
        ),
    ),
    "r23-release-unapproved": Sides(
        allow=(released(), released(facts={"approved_by": "jo"}), so(INFER)),
        deny=(released(facts={"approved_by": None}), released(facts={"approved_by": ""})),
    ),
    "r24-undeclared-use": Sides(
        allow=(so(HINT), so(INFER)),
        deny=(so(HINT, use=None), so(INFER, use=Use.AGENT_HINT), so(STORE, use=Use.UPSELL)),
    ),
    "r24-objective": Sides(
        allow=(so(HINT), so(INFER), so(HINT, facts={"objective": Objective.RELIEF})),
        deny=(
            so(HINT, facts={"objective": None}),
            so(HINT, facts={"objective": Objective.ENGAGEMENT}),
            so(HANDOVER, facts={"objective": Objective.CONVERSION}),
        ),
    ),
    "r25-leaves-unprotected": Sides(
        allow=(so(TRAIN), so(INFER, facts={"leaves_node": False, "protected": False})),
        deny=(
            so(TRAIN, facts={"protected": False}),
            so(INFER, facts={"leaves_node": True, "protected": False}),
        ),
    ),
    "r25-release-unprotected": Sides(
        allow=(released(), released(facts={"leaves_node": False}), so(INFER)),
        deny=(
            released(facts={"protected": False}),
            released(facts={"protected": False, "leaves_node": False}),
        ),
    ),
    "r25-budget-spent": Sides(
        allow=(so(TRAIN), so(COUNT)),
        deny=(so(TRAIN, facts={"budget_left": False}), so(COUNT, facts={"budget_left": False})),
    ),
    "r27-stopped": Sides(
        allow=(so(INFER), so(TRAIN), released()),
        deny=(
            so(INFER, governance={"stopped": True}),
            so(TRAIN, governance={"stopped": True}),
            released(governance={"stopped": True}),
        ),
    ),
    "r27-no-dpia": Sides(
        allow=(so(INFER), so(INFER, governance={"dpia_purposes": frozenset({Purpose.SERVICE})})),
        deny=(
            so(INFER, governance={"dpia_purposes": OTHERS}),
            so(TRAIN, governance={"dpia_purposes": frozenset()}),
            released(governance={"dpia_purposes": frozenset(Purpose) - {Purpose.TRAINING}}),
        ),
    ),
    "r27-governance-stale": Sides(
        allow=(so(INFER, governance={"as_of": NOW - 60}), so(INFER, governance={"as_of": NOW})),
        deny=(
            so(INFER, governance={"as_of": NOW - 61}),
            so(INFER, governance={"as_of": NOW + DAY_S}),
            released(governance={"as_of": NOW - 61}),
        ),
    ),
}

DENIALS = [(RuleId(rule), case) for rule, sides in TABLE.items() for case in sides.deny]
"""Every refused situation with the rule that must refuse it."""
