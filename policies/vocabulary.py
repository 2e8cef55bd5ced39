"""The shared nouns: ids and closed sets, each member with its source.

Every word here is from a statute, a specification or the design, and means the same
everywhere. What is not in a set does not exist for the rules.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

SubjectId = NewType("SubjectId", str)
"""Pseudonym of a person at one company: a keyed hash (GDPR 4(5)). Never a name or number."""
NodeId = NewType("NodeId", str)
"""Name of an enrolled branch or device node."""
RunId = NewType("RunId", str)
"""Name of one federated run."""
ReleaseId = NewType("ReleaseId", str)
"""Name of one published model."""
DecisionId = NewType("DecisionId", str)
"""Name of one decision of the gate."""
RuleId = NewType("RuleId", str)
"""The @id of one rule."""
Digest = NewType("Digest", str)
"""SHA-256, lower-case hexadecimal, 64 characters."""


class Action(StrEnum):
    """What is done with emotional data (design, settled questions)."""

    INFER = "infer"  # read an expressed cue from a turn
    STORE = "store"  # seal features or a reading
    LABEL = "label"  # attach the customer's own rating or correction
    TRAIN = "train"  # compute a private update
    USE = "use"  # act on a reading: see Use
    COUNT = "count"  # private analytics
    RELEASE = "release"  # publish a model
    EXPORT = "export"  # hand data to the person or an authority
    ASK = "ask"  # ask for a consent, again (rule 18)


class Use(StrEnum):
    """What acting on a reading means (RULES.md, rules 8 to 17)."""

    HANDOVER = "handover"  # to a person (rule 13)
    PRIORITY = "priority"  # a place in the queue (rule 13)
    AGENT_HINT = "agent_hint"  # rule 21
    REFERRAL = "referral"  # to help or protection (rule 9)
    COMPENSATION = "compensation"  # rules 12, 14
    OFFER = "offer"  # rules 8, 12
    UPSELL = "upsell"  # rules 8, 10
    PRICE = "price"  # rule 11
    CREDIT = "credit"  # rule 11
    INSURANCE = "insurance"  # rule 11
    ELIGIBILITY = "eligibility"  # rule 11
    TIMING = "timing"  # rules 8, 15
    SEGMENT = "segment"  # rules 8, 16


class Objective(StrEnum):
    """What a use is for (rule 24): what serves the person, and two things that never may."""

    RELIEF = "relief"  # the conversation is calmed
    ACCESS = "access"  # a person is reached
    HELP = "help"  # the concern is answered better
    REDRESS = "redress"  # what went wrong is made good
    PROTECTION = "protection"  # harm is kept away
    ENGAGEMENT = "engagement"  # they stay longer: refused
    CONVERSION = "conversion"  # they buy or stay a customer: refused


class Purpose(StrEnum):
    """Why: one for each request; consent names it (GDPR 5(1)(b), 6, 7)."""

    SERVICE = "service"
    HANDOVER = "handover"
    AGENT_HELP = "agent_help"
    TRAINING = "training"
    AGGREGATE_REPORTING = "aggregate_reporting"
    OFFERS = "offers"
    RESEARCH = "research"
    RECORDING = "recording"  # apart from analysing (ePrivacy 5(1)): opens nothing at the gate


class Modality(StrEnum):
    """Where the cue comes from; voice, face and signals are biometric (AI Act 3(39))."""

    TEXT = "text"
    VOICE = "voice"
    FACE = "face"
    SIGNALS = "signals"


class Setting(StrEnum):
    """Where it happens (AI Act 5(1)(f))."""

    CUSTOMER_SERVICE = "customer_service"
    WORKPLACE = "workplace"
    EDUCATION = "education"
    SAFETY = "safety"  # medical or safety reasons, with a DPIA


class Role(StrEnum):
    """Who the person is to the company in this request (AI Act 5(1)(f))."""

    CUSTOMER = "customer"
    WORKER = "worker"
    STUDENT = "student"


class Channel(StrEnum):
    """Whose words: only the customer's are read (promise 4)."""

    CUSTOMER = "customer"
    AGENT = "agent"
    MIXED = "mixed"  # speakers not separated


class AgeBand(StrEnum):
    """Adult, minor or not known (rule 7)."""

    ADULT = "adult"
    MINOR = "minor"
    UNKNOWN = "unknown"


class Vulnerability(StrEnum):
    """Situations that may not be exploited (AI Act 5(1)(b); rule 8)."""

    AGE = "age"
    DISABILITY = "disability"
    DEBT = "debt"
    BEREAVEMENT = "bereavement"
    ILLNESS = "illness"
    CRISIS = "crisis"


class Emotion(StrEnum):
    """Regulated families of expressed cues; a plan maps each of its labels to one."""

    ANGER = "anger"
    FEAR = "fear"
    SADNESS = "sadness"
    DISTRESS = "distress"
    DISGUST = "disgust"
    CONFUSION = "confusion"
    SURPRISE = "surprise"
    JOY = "joy"
    NEUTRAL = "neutral"


NEGATIVE = frozenset({Emotion.ANGER, Emotion.FEAR, Emotion.SADNESS, Emotion.DISTRESS})
"""Rule 10's negative emotions."""


class Provenance(StrEnum):
    """Where a label comes from: never an agent's score (design, a round)."""

    CUSTOMER_RATING = "customer_rating"
    CONSENTED_CORRECTION = "consented_correction"
    REPLAYED = "replayed"  # the demo's harness only
