"""What the compliance officer seals: notices, impact assessments and the stop switch.

The bodies of the sealed envelopes (kinds `notice`, `dpia`, `stop`); `issued_at` is the Unix
time of sealing and keeps an old envelope from being sent again:

    notice  {version, texts: {language: text}, short: {language: text}, material, issued_at}
    dpia    {dpia, purposes, mitigations, approved_by, issued_at}
    stop    {stopped, by, issued_at}

A notice has a full text and may have a short one before it, its first layer, in the same
languages; without one, `short` is left out. The first notice and each `material` one make
consents under earlier versions insufficient (rule 5). A later envelope for the same `dpia`
replaces the earlier one; no purposes left means withdrawn. `governance_of` folds all of them into
the Governance that the rules read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from consent.capture import Layer
from consent.errors import RequestInvalid
from policies.canonical import digest_bytes
from policies.standing import Governance
from policies.vocabulary import Digest, Purpose

NAMES_EMOTION = {
    "bg": "емоци", "cs": "emoc", "da": "følelse", "de": "emotion|gefühl", "el": "συναισθ",
    "en": "emotion", "es": "emoci", "et": "emotsioon|tunde", "fi": "tunte|tunne|emootio",
    "fr": "émotion", "ga": "mothúch", "hr": "emocij|osjećaj", "hu": "érzel|érzés|emóci",
    "it": "emozion", "lt": "emocij", "lv": "emocij", "mt": "emozzjon", "nl": "emotie",
    "pl": "emocj", "pt": "emoç", "ro": "emoți|emoţi", "sk": "emóci", "sl": "čustv|čustev",
    "sv": "känsl|emotion",
}  # fmt: skip
"""For each official language of the EU, how a text that names emotions must speak."""

_NAME = re.compile(r"[^\W_][\w .'-]{0,99}")
MOST_SHORT_SIGNS = 1_000
"""What a first layer may hold: about what a telephone shows without much scrolling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One version of the notice that people see before they choose (GDPR 13)."""

    version: int
    texts: Mapping[str, str]
    material: bool
    issued_at: float
    short: Mapping[str, str] = field(default_factory=dict)

    def text_digests(self, layer: Layer = Layer.FULL) -> dict[str, Digest]:
        """Return the SHA-256 of each language's UTF-8 text."""
        texts = self.layer(layer)
        return {lang: digest_bytes(text.encode()) for lang, text in sorted(texts.items())}

    def layer(self, layer: Layer) -> Mapping[str, str]:
        """Return one layer's text by language."""
        return self.short if layer is Layer.SHORT else self.texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpia:
    """One impact assessment with its mitigations, approved for purposes (GDPR 35)."""

    dpia: str
    purposes: frozenset[Purpose]
    mitigations: tuple[str, ...]
    approved_by: str
    issued_at: float


class StopReason(StrEnum):
    """Why somebody stops everything: a word, since the log takes no text."""

    INCIDENT = "incident"  # a breach, or the suspicion of one
    WRONG_DECISIONS = "wrong-decisions"  # uses are allowed or refused that should not be
    COMPLAINT = "complaint"  # of a person, or of those who speak for them
    AUTHORITY = "authority"  # an authority or a court asked for it
    PRECAUTION = "precaution"  # something is unclear, and nothing shall happen meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The stop switch, set or cleared (rule 27); `reason` where it was set at the portal."""

    stopped: bool
    by: str
    issued_at: float
    reason: StopReason | None = None


Decree = Notice | Dpia | Stop


@dataclass(slots=True)
class _Governing:
    """The running state of the fold."""

    stopped: bool = False
    minimum_notice: int | None = None
    dpias: dict[str, frozenset[Purpose]] = field(default_factory=dict)


def approvals_of(decrees: Iterable[tuple[Decree, Digest, int]]) -> tuple[str, ...]:
    """Return what is in force as words, `KIND/ID/BY/INDEX/DIGEST`, for nodes to record.

    Of each impact assessment and of the stop switch the last, and every notice that a consent
    may still rest on; `INDEX` is the entry in this service's log, `DIGEST` the envelope's.
    """
    kept: dict[tuple[str, str], str] = {}
    for decree, digest, index in decrees:
        match decree:
            case Notice(version=version, material=material):
                if material:
                    kept = {of: word for of, word in kept.items() if of[0] != "notice"}
                of, by = ("notice", str(version)), "officer"
            case Dpia():
                of, by = ("dpia", as_word(decree.dpia)), as_word(decree.approved_by)
            case Stop():
                of, by = ("stop", "set" if decree.stopped else "clear"), as_word(decree.by)
                kept = {old: word for old, word in kept.items() if old[0] != "stop"}
        kept[of] = f"{of[0]}/{of[1]}/{by}/{index}/{digest}"
    return tuple(kept[of] for of in sorted(kept))


def governance_of(decrees: Iterable[Decree], *, as_of: int, standing_max_age_s: int) -> Governance:
    """Return what the officer's acts, in the order they were recorded, add up to."""
    state = _Governing()
    for decree in decrees:
        match decree:
            case Notice(version=version, material=material):
                first = state.minimum_notice is None
                state.minimum_notice = version if first or material else state.minimum_notice
            case Dpia(dpia=name, purposes=purposes):
                state.dpias[name] = purposes
            case Stop(stopped=stopped):
                state.stopped = stopped
    return Governance(
        as_of=as_of,
        stopped=state.stopped,
        dpia_purposes=frozenset().union(*state.dpias.values()),
        minimum_notice=state.minimum_notice or 1,
        standing_max_age_s=standing_max_age_s,
    )


def decree_from_body(kind: str, body: Mapping[str, Any]) -> Decree:
    """Read an unsealed body.

    Raises:
        RequestInvalid: A field is missing or wrong, a text does not name emotion analysis, a
            DPIA has no mitigation; the message says which.
    """
    try:
        decree = _READERS[kind](body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestInvalid(f"the {kind} lacks a field or has a wrong one: {error}") from error
    check_decree(decree)
    return decree


def check_decree(decree: Decree) -> None:
    """Return if the decree says all that it must.

    Raises:
        RequestInvalid: As in `decree_from_body`.
    """
    match decree:
        case Notice():
            _check_notice(decree)
        case Dpia():
            _check_name("dpia", decree.dpia)
            _check_name("approved_by", decree.approved_by)
            if decree.purposes and not any(m.strip() for m in decree.mitigations):
                raise RequestInvalid(f"DPIA {decree.dpia} names no mitigation: add at least one")
        case Stop():
            _check_name("by", decree.by)


def decree_to_body(decree: Decree) -> tuple[str, dict[str, Any]]:
    """Return the envelope's kind and the JSON body, sets sorted."""
    match decree:
        case Notice():
            return "notice", {
                "version": decree.version,
                "texts": dict(decree.texts),
                "material": decree.material,
                "issued_at": decree.issued_at,
            } | ({"short": dict(decree.short)} if decree.short else {})
        case Dpia():
            return "dpia", {
                "dpia": decree.dpia,
                "purposes": sorted(decree.purposes),
                "mitigations": list(decree.mitigations),
                "approved_by": decree.approved_by,
                "issued_at": decree.issued_at,
            }
        case Stop():
            return "stop", {
                "stopped": decree.stopped,
                "by": decree.by,
                "issued_at": decree.issued_at,
            } | ({"reason": decree.reason.value} if decree.reason is not None else {})


def as_word(name: str) -> str:
    """Return a name as one ASCII word, as events carry it; the envelope has it in full."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-") or "unnamed"


def _check_notice(notice: Notice) -> None:
    if notice.version < 1 or not notice.texts:
        raise RequestInvalid("a notice needs a version from 1 on and a text in some language")
    for layer in Layer:
        for language, text in notice.layer(layer).items():
            _check_text(language, text)
    if notice.short and notice.short.keys() != notice.texts.keys():
        raise RequestInvalid("a notice has both layers in each of its languages, or no short one")
    if any(len(text) > MOST_SHORT_SIGNS for text in notice.short.values()):
        raise RequestInvalid(f"a short layer has at most {MOST_SHORT_SIGNS} signs")


def _check_text(language: str, text: str) -> None:
    words = NAMES_EMOTION.get(language)
    if words is None:
        raise RequestInvalid(f"no notice can be checked in language {language!r} yet")
    if not re.search(words, text, re.IGNORECASE):
        raise RequestInvalid(f"the {language} notice does not name emotion analysis")


def _check_name(field_name: str, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise RequestInvalid(f"{field_name} must be a name of at most 100 letters and digits")


def _notice(body: Mapping[str, Any]) -> Notice:
    return Notice(
        version=_integer(body["version"]),
        texts={str(language): str(text) for language, text in body["texts"].items()},
        material=_flag(body.get("material", False)),
        issued_at=float(body["issued_at"]),
        short={str(language): str(text) for language, text in body.get("short", {}).items()},
    )


def _dpia(body: Mapping[str, Any]) -> Dpia:
    return Dpia(
        dpia=str(body["dpia"]),
        purposes=frozenset(Purpose(p) for p in body["purposes"]),
        mitigations=tuple(str(m) for m in body["mitigations"]),
        approved_by=str(body["approved_by"]),
        issued_at=float(body["issued_at"]),
    )


def _stop(body: Mapping[str, Any]) -> Stop:
    reason = body.get("reason")
    return Stop(
        stopped=_flag(body["stopped"]),
        by=str(body["by"]),
        issued_at=float(body["issued_at"]),
        reason=None if reason is None else StopReason(reason),
    )


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected an integer")
    return value


_READERS: dict[str, Callable[[Mapping[str, Any]], Decree]] = {
    "notice": _notice,
    "dpia": _dpia,
    "stop": _stop,
}

DECREE_KINDS = frozenset(_READERS)
"""The kinds of envelopes that fold into a governance; others beside them in the ledger do not."""
