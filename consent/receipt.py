"""The receipt that a person takes away, shaped by ISO/IEC TS 27560:2023 in JSON-LD.

Terms are those of the W3C Data Privacy Vocabulary 2.3, after its guide for 27560, profile
`dpv-27560:receipt-eu-gdpr`; what it has no word for is `undertone:`. A receipt names the pseudonym,
never the person, and carries no secret: the manage token and the log's proof lie beside it. Its
shape is `receipt_schema_v3.json`; receipts of earlier shapes, the first without channel and proof,
the second with five words that DPV does not have, verify as before. Who read a notice out is not
in it: that is another person's data.

The log's entry holds the SHA-256 of the receipt's canonical bytes. The salt, which the service
does not keep, makes that digest say nothing to anybody but whoever has the receipt.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from consent.basis import strictest
from consent.capture import Layer, Relation
from consent.notice import Notice
from consent.records import (
    DAY_S,
    Act,
    Deferred,
    Erased,
    Granted,
    Invalidated,
    Objected,
    Record,
    Refused,
    Requested,
    Restricted,
    Revoked,
    Unconfirmed,
    Withdrawn,
)
from policies.law import LAW
from policies.vocabulary import Modality, Purpose

SCHEMA_VERSION = "dpv-27560:receipt-eu-gdpr"
SCHEMA = "undertone-receipt/3"
CONTEXT = {
    "ai": "https://w3id.org/dpv/ai#",
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "dpv-27560": "https://w3id.org/dpv/schema/dpv-27560#",
    "eu-aiact": "https://w3id.org/dpv/legal/eu/aiact#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "pd": "https://w3id.org/dpv/pd#",
    "undertone": "urn:undertone:consent#",
}
SALT = "undertone:salt"
RIGHTS = (
    "eu-gdpr:A7-3", "eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A17", "eu-gdpr:A18",
    "eu-gdpr:A20", "eu-gdpr:A21", "eu-gdpr:A22", "eu-gdpr:A77",
)  # fmt: skip
_STATUS = {
    Granted: "dpv:ConsentGiven",
    Requested: "dpv:ConsentRequested",
    Unconfirmed: "dpv:ConsentRequested",
    Deferred: "dpv:ConsentRequestDeferred",
    Refused: "dpv:ConsentRefused",
    Revoked: "dpv:ConsentRevoked",
    Invalidated: "dpv:ConsentInvalidated",
    Withdrawn: "dpv:ConsentWithdrawn",
    Erased: "dpv:ConsentWithdrawn",
}
_EVENT = {
    Granted: "undertone:grant",
    Requested: "undertone:request",
    Unconfirmed: "undertone:unconfirmed",
    Deferred: "undertone:deferral",
    Refused: "undertone:refusal",
    Revoked: "undertone:revocation",
    Invalidated: "undertone:invalidation",
    Withdrawn: "undertone:withdrawal",
    Objected: "undertone:objection",
    Restricted: "undertone:restriction",
    Erased: "undertone:erasure",
}
_GUARDIANS = {
    Relation.PARENT: "dpv:ParentOfDataSubject",
    Relation.GUARDIAN: "dpv:GuardianOfDataSubject",
}


def receipt_of(
    record: Record,
    *,
    notice: Notice | None,
    controller: dict[str, str],
    storage: str,
    withdraw_at: str,
    salt: str,
    token_digest: str | None,
) -> dict[str, Any]:
    """Return the receipt of one record as JSON-LD.

    Args:
        record: What the person did.
        notice: The notice it was done under; None for anything but a grant.
        controller: Party name, address and contact of the company.
        storage: Where the record is kept.
        withdraw_at: The address that takes the manage token back.
        salt: Random hexadecimal digits that the caller forgets.
        token_digest: SHA-256 of the manage token that comes with the receipt; None without one.
    """
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": SCHEMA_VERSION,
        "undertone:schema": SCHEMA,
        SALT: salt,
        "dct:identifier": f"receipt-{record.record_id}",
        "dct:isPartOf": {"@type": "dpv:ConsentRecord", "dct:identifier": record.record_id},
        "dpv:hasDataSubject": record.subject,
        "dpv:hasDataController": {"dct:identifier": record.company} | controller,
        "dpv:hasStorageCondition": {"dpv:hasLocation": storage},
        "dpv:hasRight": list(RIGHTS),
        "undertone:event": {
            "dct:type": _EVENT[type(record.act)],
            "dct:date": _iso(record.at),
            "dpv:isIndicatedBy": _entity(record.act),
        },
    }
    if token_digest is not None:
        document["undertone:manageTokenDigest"] = token_digest
    if type(record.act) in _STATUS:
        document["dpv:hasConsentStatus"] = _STATUS[type(record.act)]
    return document | _particulars(record, notice, withdraw_at)


def _entity(act: Act) -> str:
    """Return whose act it was (ISO/IEC TS 27560, event entity)."""
    if isinstance(act, Requested | Revoked | Invalidated):
        return "dpv:DataController"
    granted = act.granted if isinstance(act, Unconfirmed) else act
    guardian = granted.guardian if isinstance(granted, Granted) else None
    return "dpv:DataSubject" if guardian is None else _GUARDIANS[guardian.relation]


def _particulars(record: Record, notice: Notice | None, withdraw_at: str) -> dict[str, Any]:
    match record.act:
        case Granted():
            return _grant_particulars(record, record.act, notice, withdraw_at)
        case Withdrawn(purpose=purpose):
            return {"dpv:hasPurpose": [f"undertone:{purpose}"]}
        case (
            Objected(purposes=purposes)
            | Requested(purposes=purposes)
            | Unconfirmed(purposes=purposes)
            | Deferred(purposes=purposes)
            | Refused(purposes=purposes)
            | Revoked(purposes=purposes)
            | Invalidated(purposes=purposes)
        ):
            return {"dpv:hasPurpose": _names(purposes)} | _more(record.act)
        case Restricted(restricted=restricted):
            return {"undertone:restricted": restricted}
        case Erased():
            return {"undertone:rightExercised": "eu-gdpr:A17"}


def _more(act: Act) -> dict[str, Any]:
    match act:
        case Invalidated(finding=finding):
            return {"undertone:finding": finding}
        case Unconfirmed(until=until):
            return {"undertone:until": _iso(until)}
        case _:
            return {}


def _grant_particulars(
    record: Record, granted: Granted, notice: Notice | None, withdraw_at: str
) -> dict[str, Any]:
    until = _iso(record.at + granted.valid_days * DAY_S)
    return (
        {
            "dct:type": "dpv:ExplicitlyExpressedConsent",
            "dpv:hasPurpose": _names(granted.purposes),
            "dpv:hasDataSource": [f"undertone:{m}" for m in sorted(granted.modalities)],
            "dpv:hasJurisdiction": granted.jurisdiction,
            "dpv:hasRecipient": [record.company],
            "undertone:transfers": [],
            "dpv:hasDuration": {"dct:valid": until, "undertone:days": granted.valid_days},
            "dpv:hasIndicationMethod": granted.act,
            "dpv:hasLegalBasis": strictest(granted.purposes).term,
            "dpv:hasConsentControl": {
                "@type": "dpv:WithdrawConsent",
                "undertone:withdraw": withdraw_at,
                "undertone:steps": 1,
            },
            "dpv:hasNotice": _notice_particulars(granted, notice),
        }
        | (_of_recording() if granted.purposes == {Purpose.RECORDING} else _of_analysis(granted))
        | _proof(granted)
    )


def _of_recording() -> dict[str, Any]:
    """Return what recording does with which data; it is the company's, and analyses nothing."""
    return {
        "dpv:hasPersonalData": ["pd:VoiceCommunicationRecording"],
        "dpv:hasProcessing": ["dpv:Record", "dpv:Store"],
        "dpv:isImplementedUsingTechnology": [],
        "undertone:retention": {"undertone:copies": "undertone:keptByController"},
    }


def _of_analysis(granted: Granted) -> dict[str, Any]:
    biometric = granted.modalities - {Modality.TEXT}
    emotion_recognition = [
        "ai:BiometricEmotionRecognition",
        "eu-aiact:EmotionRecognitionSystem",
        "eu-aiact:HighRiskAISystem-AnnexIII-1-c",
    ]
    return {
        "dpv:hasPersonalData": ["pd:Emotion"],
        "dpv:hasProcessing": ["dpv:Infer", "dpv:Store", "dpv:Use"],
        "dpv:isImplementedUsingTechnology": emotion_recognition if biometric else [],
        "undertone:retention": {
            "undertone:copies": "undertone:untilConsentEnds",
            "undertone:readingsHours": LAW.clocks.emotion_session_hours,
        },
    }


def _proof(granted: Granted) -> dict[str, Any]:
    """Return by which proof, through whom, and in answer to what the consent was given."""
    found: dict[str, Any] = {}
    capture, guardian = granted.capture, granted.guardian
    if capture is not None:
        kept = {"evidence": capture.evidence, "reference": capture.reference}
        kept |= {"script": capture.script}
        found["undertone:capture"] = {
            f"undertone:{name}": of for name, of in kept.items() if of is not None
        }
    if guardian is not None:
        found["undertone:guardian"] = {
            "dct:identifier": guardian.subject,
            "undertone:verified": guardian.verified.value,
            "undertone:evidence": guardian.evidence,
        }
    completed = {"undertone:answers": granted.answers, "undertone:confirms": granted.confirms}
    return found | {name: of for name, of in completed.items() if of is not None}


def _notice_particulars(granted: Granted, notice: Notice | None) -> dict[str, Any]:
    shown = granted.shown
    seen: dict[str, Any] = {}
    if shown is not None:
        seen = {
            "dct:language": shown.language,
            "undertone:layer": shown.layer.value,
            "undertone:shownDigest": shown.text_digest,
            "undertone:channel": shown.channel.value,
        }
    if notice is not None and notice.short:
        seen["undertone:shortDigest"] = notice.text_digests(Layer.SHORT)
    return seen | {
        "@type": "dpv:ConsentNotice",
        "dct:hasVersion": granted.notice_version,
        "undertone:digest": {} if notice is None else notice.text_digests(),
        "undertone:shownFirst": granted.informed,
    }


def _names(purposes: frozenset[Purpose]) -> list[str]:
    return [f"undertone:{purpose}" for purpose in sorted(purposes)]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(int(at), tz=UTC).isoformat().replace("+00:00", "Z")
