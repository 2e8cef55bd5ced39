"""The receipt that a person takes away, shaped by ISO/IEC TS 27560:2023 in JSON-LD.

Terms are those of the W3C Data Privacy Vocabulary, after its guide for 27560, profile
`dpv-27560:receipt-eu-gdpr`. A receipt names the pseudonym, never the person, and carries no
secret: the manage token and the log's proof lie beside it. Its shape is `receipt_schema_v1.json`.

The log's entry holds the SHA-256 of the receipt's canonical bytes. The salt, which the service
does not keep, makes that digest say nothing to anybody but whoever has the receipt.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from consent.notice import Notice
from consent.records import (
    DAY_S,
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
    Withdrawn,
)
from policies.vocabulary import Modality, Purpose

SCHEMA_VERSION = "dpv-27560:receipt-eu-gdpr"
SCHEMA = "undertone-receipt/1"
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
RIGHTS = (
    "eu-gdpr:A7-3", "eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A17", "eu-gdpr:A18",
    "eu-gdpr:A20", "eu-gdpr:A21", "eu-gdpr:A22", "eu-gdpr:A77",
)  # fmt: skip
_STATUS = {
    Granted: "dpv:ConsentGiven",
    Requested: "dpv:ConsentRequested",
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
    Deferred: "undertone:deferral",
    Refused: "undertone:refusal",
    Revoked: "undertone:revocation",
    Invalidated: "undertone:invalidation",
    Withdrawn: "undertone:withdrawal",
    Objected: "undertone:objection",
    Restricted: "undertone:restriction",
    Erased: "undertone:erasure",
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
        "undertone:salt": salt,
        "dct:identifier": f"receipt-{record.record_id}",
        "dct:isPartOf": {"@type": "dpv:ConsentRecord", "dct:identifier": record.record_id},
        "dpv:hasDataSubject": record.subject,
        "dpv:hasDataController": {"dct:identifier": record.company} | controller,
        "dpv:hasStorageCondition": {"dpv:hasLocation": storage},
        "dpv:hasRight": list(RIGHTS),
        "undertone:event": {
            "dct:type": _EVENT[type(record.act)],
            "dct:date": _iso(record.at),
            "dpv:isIndicatedBy": (
                "dpv:DataController"
                if isinstance(record.act, Requested | Revoked | Invalidated)
                else "dpv:DataSubject"
            ),
        },
    }
    if token_digest is not None:
        document["undertone:manageTokenDigest"] = token_digest
    if type(record.act) in _STATUS:
        document["dpv:hasConsentStatus"] = _STATUS[type(record.act)]
    return document | _particulars(record, notice, withdraw_at)


def _particulars(record: Record, notice: Notice | None, withdraw_at: str) -> dict[str, Any]:
    match record.act:
        case Granted():
            return _grant_particulars(record, record.act, notice, withdraw_at)
        case Withdrawn(purpose=purpose):
            return {"dpv:hasPurpose": [f"undertone:{purpose}"]}
        case Invalidated(purposes=purposes, finding=finding):
            return {"dpv:hasPurpose": _names(purposes), "undertone:finding": finding}
        case (
            Objected(purposes=purposes)
            | Requested(purposes=purposes)
            | Deferred(purposes=purposes)
            | Refused(purposes=purposes)
            | Revoked(purposes=purposes)
        ):
            return {"dpv:hasPurpose": _names(purposes)}
        case Restricted(restricted=restricted):
            return {"undertone:restricted": restricted}
        case Erased():
            return {"dpv:hasRightExercised": "eu-gdpr:A17"}


def _grant_particulars(
    record: Record, granted: Granted, notice: Notice | None, withdraw_at: str
) -> dict[str, Any]:
    biometric = sorted(granted.modalities - {Modality.TEXT})
    return {
        "dpv:hasPurpose": _names(granted.purposes),
        "dpv:hasPersonalData": ["pd:Emotion"],
        "dpv:hasDataSource": [f"undertone:{modality}" for modality in sorted(granted.modalities)],
        "dpv:hasProcessing": ["dpv:Infer", "dpv:Store", "dpv:Use"],
        "dpv:hasLegalBasis": "eu-gdpr:A9-2-a",
        "dpv:hasTechnology": (
            [
                "ai:BiometricEmotionRecognition",
                "eu-aiact:EmotionRecognitionSystem",
                "eu-aiact:HighRiskAISystem-AnnexIII-1-c",
            ]
            if biometric
            else []
        ),
        "dpv:hasJurisdiction": granted.jurisdiction,
        "dpv:hasRecipient": [record.company],
        "dpv:hasDataTransfer": [],
        "dpv:hasDuration": {
            "dct:valid": _iso(record.at + granted.valid_days * DAY_S),
            "undertone:days": granted.valid_days,
        },
        "dpv:hasIndicationMethod": granted.act,
        "dpv:isProvidedBy": {"undertone:withdraw": withdraw_at, "undertone:steps": 1},
        "dpv:hasNotice": _notice_particulars(granted, notice),
    }


def _notice_particulars(granted: Granted, notice: Notice | None) -> dict[str, Any]:
    shown = granted.shown
    seen: dict[str, Any] = {}
    if shown is not None:
        seen = {
            "dct:language": shown.language,
            "undertone:shownDigest": shown.text_digest,
            "undertone:channel": shown.channel.value,
        }
    return seen | {
        "@type": "dpv:ConsentNotice",
        "dct:hasVersion": granted.notice_version,
        "dpv:hasDigest": {} if notice is None else notice.text_digests(),
        "undertone:shownFirst": granted.informed,
    }


def _names(purposes: frozenset[Purpose]) -> list[str]:
    return [f"undertone:{purpose}" for purpose in sorted(purposes)]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(int(at), tz=UTC).isoformat().replace("+00:00", "Z")
