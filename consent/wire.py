"""The shapes of what callers send, checked by pydantic before anything else sees them.

Unknown fields are refused: a misspelt restriction must not be overlooked in silence.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from audit.branch_leaves import MOST_LEAVES
from audit.refusals import field_at
from consent.capture import (
    Capture,
    Channel,
    Guardian,
    Layer,
    Relation,
    Shown,
    Sign,
    Verified,
)
from consent.errors import RequestInvalid
from consent.records import Granted
from policies.budget import BudgetState
from policies.canonical import canonical
from policies.decision import UseRequest
from policies.vocabulary import (
    AgeBand,
    Digest,
    Modality,
    Purpose,
    Role,
    SubjectId,
    Vulnerability,
)

MOST_IN_BULK = 5_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Pseudonym = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Evidence = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
Jurisdiction = Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
Token = Annotated[str, Field(min_length=43, max_length=43)]
Index = Annotated[int, Field(ge=0, lt=2**53)]


def _digestible(value: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical(value)
    except ValueError:
        raise ValueError("holds what has no canonical form, such as a number too large") from None
    return value


Document = Annotated[dict[str, Any], AfterValidator(_digestible)]
"""A free object that a digest is held against: JSON has more numbers than canonical bytes have."""


class Shape(BaseModel):
    """Stand at the root: frozen, and nothing but the named fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a JSON body.

        Raises:
            RequestInvalid: Not JSON, or a field is missing, unknown or wrong. The message
                names the fields and never what was in them.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise RequestInvalid(_complaints(error), field=_first(error)) from error


class NodeIn(Shape):
    """A node to enrol."""

    node: Name
    key: Annotated[str, Field(max_length=400)]
    company: Name


class ShownIn(Shape):
    """What the person had before them when they said yes."""

    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    text_digest: Evidence
    channel: Channel
    layer: Layer = Layer.FULL

    def shown(self) -> Shown:
        """Return it as a value."""
        return Shown(
            language=self.language,
            text_digest=Digest(self.text_digest),
            channel=self.channel,
            layer=self.layer,
        )


class CaptureIn(Shape):
    """The proof of an answer: a digest of what the company keeps, never the thing itself."""

    evidence: Evidence
    reference: Reference | None = None
    script: Reference | None = None
    agent: Pseudonym | None = None

    def capture(self) -> Capture:
        """Return it as a value."""
        return Capture(
            evidence=Digest(self.evidence),
            reference=self.reference,
            script=self.script,
            agent=None if self.agent is None else SubjectId(self.agent),
        )


class GuardianIn(Shape):
    """Who says yes for a minor, under a pseudonym of their own."""

    subject: Pseudonym
    relation: Relation
    verified: Verified
    evidence: Evidence

    def guardian(self) -> Guardian:
        """Return it as a value."""
        return Guardian(
            subject=SubjectId(self.subject),
            relation=self.relation,
            verified=self.verified,
            evidence=Digest(self.evidence),
        )


class GrantIn(Shape):
    """One person's consent; whether its act is one of its channel, `consent.capture` says."""

    subject: Pseudonym
    purposes: Annotated[frozenset[Purpose], Field(min_length=1)]
    modalities: Annotated[frozenset[Modality], Field(min_length=1)]
    notice_version: Annotated[int, Field(ge=1, lt=2**53)]
    act: Sign
    role: Role = Role.CUSTOMER
    age: AgeBand = AgeBand.UNKNOWN
    vulnerabilities: frozenset[Vulnerability] = frozenset()
    informed: Annotated[bool, Field(strict=True)]
    valid_days: Annotated[int, Field(ge=1, le=730)]
    jurisdiction: Jurisdiction = "EU"
    shown: ShownIn | None = None
    capture: CaptureIn | None = None
    guardian: GuardianIn | None = None

    def granted(self) -> tuple[SubjectId, Granted]:
        """Return the person and what they granted."""
        plain = GrantIn.model_fields.keys() - {"subject", "act", "shown", "capture", "guardian"}
        return SubjectId(self.subject), Granted(
            **{name: getattr(self, name) for name in plain},
            act=self.act.value,
            shown=None if self.shown is None else self.shown.shown(),
            capture=None if self.capture is None else self.capture.capture(),
            guardian=None if self.guardian is None else self.guardian.guardian(),
        )


class GrantsIn(Shape):
    """Many grants at once: all of them are recorded, or none."""

    grants: Annotated[tuple[GrantIn, ...], Field(min_length=1, max_length=MOST_IN_BULK)]


class OnSomeone(Shape):
    """An act on one person: by their manage token, or by a node under the pseudonym."""

    manage_token: Token | None = None
    subject: Pseudonym | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> OnSomeone:
        if (self.manage_token is None) == (self.subject is None):
            raise ValueError("give either manage_token or subject")
        return self


class WithdrawalIn(OnSomeone):
    """Withdrawal of a purpose; `purpose` null, said explicitly, erases everything.

    A node that may have to say it again gives the record its name, and the receipt its salt: the
    same `record` counts once, whatever became of the answer.
    """

    purpose: Purpose | None
    record: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None

    @model_validator(mode="after")
    def _named_by_a_node(self) -> WithdrawalIn:
        named = (self.record is not None, self.salt is not None)
        if any(named) and not (all(named) and self.manage_token is None):
            raise ValueError("a node gives record and salt together")
        return self

    @property
    def once(self) -> tuple[str, str] | None:
        """Name and salt of the record; None where it is ours to name."""
        return None if self.record is None or self.salt is None else (self.record, self.salt)


class ObjectionIn(OnSomeone):
    """Objection to purposes."""

    purposes: Annotated[frozenset[Purpose], Field(min_length=1)]


class RestrictionIn(OnSomeone):
    """Restriction, set or lifted."""

    restricted: Annotated[bool, Field(strict=True)]


class AnswerIn(Shape):
    """A node's own decision, opened for a challenge, with the facts it was made on.

    `now` is the Unix second of the decision; without it, that of the standing. Whatever else
    the node's payload holds is passed over: governance we take from our own ledger.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    index: Index
    request: Document
    standing: Document | None
    allowed: Annotated[bool, Field(strict=True)]
    rules: tuple[str, ...]
    now: Annotated[float, Field(ge=0, lt=2**53)] | None = None


Epsilon = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class BudgetIn(Shape):
    """What a node says that remains of its privacy budget (`policies.budget.BudgetState`)."""

    day: Day
    period_days: Annotated[int, Field(ge=1, le=36_500)]
    delta: Annotated[float, Field(ge=0, lt=1)]
    epsilon_spent: Epsilon
    epsilon_limit: Epsilon
    epsilon_at_nodes: Epsilon
    by_purpose: dict[Purpose, Epsilon] = {}
    caps: dict[Purpose, Epsilon] = {}
    more_like_the_last: Annotated[int, Field(ge=0, le=10_000)] = 0
    first_over_on: Day | None = None
    readable: Annotated[bool, Field(strict=True)] = True

    def state(self) -> BudgetState:
        """Return it as a value."""
        return BudgetState(**{name: getattr(self, name) for name in BudgetIn.model_fields})


class AcknowledgementIn(Shape):
    """What a node did with the standing it got, and its log's checkpoint."""

    sequence: Index
    checkpoint: Annotated[str, Field(max_length=4096)] | None = None
    keys_destroyed: Index = 0
    erased: tuple[Pseudonym, ...] = ()
    answers: Annotated[tuple[AnswerIn, ...], Field(max_length=1000)] = ()
    budget: BudgetIn | None = None


Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=90_000)]
Hash64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]


class ProvenLeafIn(Shape):
    """One leaf of a node's log with its audit path, in base64."""

    index: Index
    leaf: Base64
    proof: Annotated[tuple[Hash64, ...], Field(max_length=63)]


class LeafPageIn(Shape):
    """A node's decisions among the entries from `start` up to `end` (`audit.branch_leaves`)."""

    start: Index
    end: Index
    size: Index
    leaves: Annotated[tuple[ProvenLeafIn, ...], Field(max_length=MOST_LEAVES)]


class DecisionIn(Shape):
    """A use to decide on."""

    request: dict[str, Any]


_USE_REQUEST = TypeAdapter(UseRequest)


def use_request(value: dict[str, Any]) -> UseRequest:
    """Read a use request from JSON values.

    Raises:
        RequestInvalid: A field is missing or wrong; the message names it.
    """
    try:
        return _USE_REQUEST.validate_python(value)
    except ValidationError as error:
        raise RequestInvalid(_complaints(error), field=_first(error)) from error


def _complaints(error: ValidationError) -> str:
    found = [_complaint(item["type"], item["loc"], item["msg"]) for item in error.errors()]
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""  # noqa: PLR2004
    return "; ".join(found[:5]) + more


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    return field_at(found["loc"], found["type"])


def _complaint(kind: str, where: tuple[int | str, ...], what: str) -> str:
    """Say what is wrong and where, without repeating anything that the caller wrote."""
    if kind == "extra_forbidden":
        where, what = where[:-1], "a field that is not known here"
    if kind == "json_invalid":
        what = "not JSON"
    return f"{'.'.join(str(part) for part in where) or 'body'}: {what}"
