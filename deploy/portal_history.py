"""A month of made-up history at a trust service, through the service's own desks and gate.

Nothing is written behind the service's back: people consent through an enrolled node, uses are
decided by the one gate, requests and breaches take their steps at their desks, staff get accounts
as staff do. Only the clock is moved. The same seed makes the same month; all people are invented
and named by number.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from audit.portal.access import Access
from audit.portal.accounts import BOOTSTRAP
from audit.signing import SigningKey, seal
from audit.staff import StaffRole
from consent.acts import Person
from consent.capture import Capture, Channel, Shown
from consent.records import Granted
from consent.register import Part, Risk
from consent.rights import Identity, Right, Way
from consent.service import TrustService
from consent.tables import NodeRow
from consent.wire import AcknowledgementIn, BudgetIn, DecisionIn, NodeIn
from deploy.portal_logs import BranchLog, open_branch_log
from deploy.portal_rules import roll_out, shadow_report
from policies.decision import UseRequest
from policies.vocabulary import (
    Action,
    AgeBand,
    Digest,
    Modality,
    NodeId,
    Purpose,
    Role,
    SubjectId,
    Use,
)

DAY_S, HOUR_S = 86_400.0, 3_600.0
DAYS = 30
PASSWORD = "nine calm herons wade"  # noqa: S105 (of made-up people, printed where it is used)
PEOPLE = {
    "olga": (StaffRole.OFFICER,),
    "dario": (StaffRole.DPO,),
    "aiko": (StaffRole.AUDITOR,),
    "sam": (StaffRole.DATA_SCIENTIST,),
    "otto": (StaffRole.OPERATOR,),
}
NODES = {"harbour": "north-air", "meadow": "north-air", "station": "tele-one"}
SILENT = "station"
NOTICE = "We analyse the emotion that your messages express, if you agree."
_USES = (
    ("infer", "service", None),
    ("infer", "service", None),
    ("infer", "service", None),
    ("store", "training", None),
    ("infer", "handover", None),
    ("infer", "offers", None),
)


@dataclass(slots=True)
class MovedClock:
    """A clock that the history moves; afterwards it is the machine's."""

    now: float
    follow: Callable[[], float] | None = None

    def __call__(self) -> float:
        """Return the time."""
        return self.now if self.follow is None else self.follow()


@dataclass(slots=True, kw_only=True)
class History:
    """The month as it is played; `meanwhile` is called as its time passes."""

    service: TrustService
    clock: MovedClock
    officer: SigningKey
    end: float
    people: int = 60
    uses: int = 600
    seed: int = 7
    meanwhile: Callable[[], None] = lambda: None
    codes: dict[str, list[str]] = field(default_factory=dict)
    keys: dict[str, SigningKey] = field(default_factory=dict)
    _random: random.Random = field(init=False)
    _nodes: dict[str, NodeRow] = field(default_factory=dict)
    _logs: dict[str, BranchLog] = field(default_factory=dict)
    _refused: list[tuple[str, SubjectId, NodeRow]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 (a story, no secret)

    def play(self) -> None:
        """Play the month, in order."""
        self.clock.now = self.end - DAYS * DAY_S
        self._found()
        roll_out(self._rule)
        self.codes = open_accounts(self.service.access, self.clock)
        subjects = self._consent()
        self._breach(Risk.LIKELY, told=True)
        self._use(subjects)
        self._change_minds(subjects)
        self._ask(subjects)
        self.clock.now = self.end - 30 * HOUR_S
        self._breach(Risk.HIGH, told=False)
        self._oversee()
        self.clock.now = self.end
        for name, spent in (("harbour", 1.6), ("meadow", 7.5)):
            self._hear(name, spent=spent)
            rules = self.service.bundles.rules_of(NodeId(name))
            report = shadow_report(rules.policy_digest, decided=int(190 * spent), otherwise=14)
            self.service.bundles.report(NodeId(name), report)

    def go_on(self) -> None:
        """Let every branch but the silent one say that it is there, and answer what it is asked."""
        for name, log in self._logs.items():
            if name != SILENT:
                log.report()
                log.answer()

    def close(self) -> None:
        """Close the branches, and the service."""
        for log in self._logs.values():
            log.close()
        self.service.close()

    def yes(self, purposes: frozenset[Purpose], number: int) -> Granted:
        """Return the number's yes on the web, with its proof of capture."""
        text = self.service.officer.notice(1).text_digests()["en"]
        evidence = Digest(hashlib.sha256(f"yes {self.seed} {number}".encode()).hexdigest())
        return Granted(
            purposes=purposes,
            modalities=frozenset({Modality.TEXT}),
            notice_version=1,
            act="ticked_box",
            role=Role.CUSTOMER,
            age=AgeBand.UNKNOWN if number % 29 == 0 else AgeBand.ADULT,
            vulnerabilities=frozenset(),
            informed=True,
            valid_days=365,
            jurisdiction="IE",
            shown=Shown(language="en", text_digest=text, channel=Channel.WEB),
            capture=Capture(evidence=evidence),
        )

    # -- the parts ----------------------------------------------------------------------

    def _found(self) -> None:
        """Enrol the nodes, publish the notice, approve the assessment."""
        self._decree("notice", version=1, texts={"en": NOTICE}, material=False)
        self._decree(
            "dpia",
            dpia="dpia-1",
            purposes=["service", "handover", "training", "agent_help"],
            mitigations=["redaction", "sealed-by-person"],
            approved_by="O. Made-Up",
        )
        for node, company in NODES.items():
            key = self.keys[node] = SigningKey.generate(node)
            wanted = NodeIn(node=node, key=str(key.verify_key), company=company)
            self._nodes[node] = self.service.enrolment.enrol(wanted)
            folder = self.service.settings.folder.parent / "branches" / node
            self._logs[node] = open_branch_log(
                folder, self._nodes[node], key, service=self.service, clock=self.clock
            )

    def _decree(self, kind: str, **body: object) -> None:
        self.clock.now += 1
        sealed = seal(kind, {"issued_at": self.clock.now} | body, self.officer)
        self.service.officer.decree(kind, sealed)

    def _rule(self, kind: str, **body: object) -> None:
        self.clock.now += HOUR_S
        sealed = seal(kind, body | {"issued_at": self.clock.now}, self.officer)
        self.service.bundles.take(kind, sealed)

    def _consent(self) -> list[tuple[SubjectId, NodeRow]]:
        """Let people say yes through their branches, over the first days."""
        found = []
        for number in range(self.people):
            node = self._nodes[self._random.choice(list(NODES))]
            subject = SubjectId(_pseudonym(self.seed, number))
            purposes = {Purpose.SERVICE, *self._random.sample(list(Purpose)[1:4], k=1)}
            self.clock.now += 5 * DAY_S / self.people
            self.service.acts.grant(node, [(subject, self.yes(frozenset(purposes), number))])
            found.append((subject, node))
        return found

    def _use(self, subjects: list[tuple[SubjectId, NodeRow]]) -> None:
        """Let the branches decide on uses and ask for some, which not everybody agreed to."""
        chance = random.Random(self.seed)  # noqa: S311 (a story, no secret)
        for number in range(self.uses):
            self.clock.now += 20 * DAY_S / self.uses
            self.meanwhile()
            subject, node = self._random.choice(subjects)
            action, purpose, use = self._random.choice(_USES)
            request = {
                "node": node.node,
                "action": action,
                "purpose": purpose,
                "subject": subject,
                "use": use,
            }
            if number % 83 == 0:
                request["setting"] = "workplace"
            self._decide_there(*chance.choice(subjects), chance.choice(_USES))
            said = self.service.decisions.decide(node, DecisionIn(request=request))
            if not said["allowed"]:
                self._refused.append((str(said["decision_id"]), subject, node))

        self._hear(SILENT, spent=0.5)  # its last word: it falls silent before the month is over

    def _decide_there(
        self, subject: SubjectId, node: NodeRow, asks: tuple[str, str, str | None]
    ) -> None:
        """Let a branch decide by its own gate, as nearly all uses are decided."""
        action, purpose, use = asks
        asked = UseRequest(
            node=NodeId(node.node),
            action=Action(action),
            purpose=Purpose(purpose),
            subject=subject,
            use=None if use is None else Use(use),
        )
        self._logs[node.node].decide(asked)

    def _change_minds(self, subjects: list[tuple[SubjectId, NodeRow]]) -> None:
        """Let some withdraw, object, or be restricted."""
        for number, (subject, node) in enumerate(self._random.sample(subjects, k=8)):
            self.clock.now += HOUR_S
            person = self.service.acts.person(node, subject)
            if number < 5:  # noqa: PLR2004 (most withdraw one purpose)
                self.service.acts.withdraw(person, Purpose.SERVICE)
            else:
                self.service.acts.object_to(person, frozenset({Purpose.OFFERS}))

    def _ask(self, subjects: list[tuple[SubjectId, NodeRow]]) -> None:
        """Take requests in: some open, one late, one whose identity is not known yet."""
        rights = (Right.ACCESS, Right.ERASURE, Right.RESTRICTION, Right.PORTABILITY, Right.ACCESS)
        asked = self._random.sample(subjects, k=len(rights))
        for number, (right, (subject, node)) in enumerate(zip(rights, asked, strict=True)):
            known = Identity.BRANCH if number != len(rights) - 1 else None
            self._request(right, self.service.acts.person(node, subject), known)
        decision, subject, node = self._refused[-1]
        person = self.service.acts.person(node, subject)
        self._request(Right.REVIEW, person, Identity.BRANCH, decision=decision)

    def _request(self, right: Right, person: Person, known: Identity | None, **about: str) -> str:
        self.clock.now += 9 * HOUR_S
        opened = self.service.rights.open(
            right, person, by="dario", about=about, jurisdiction="IE", method=known
        )
        if known is None:
            self.service.rights.ask_identity(opened["request"], by="dario", way=Way.LETTER.value)
        return str(opened["request"])

    def _breach(self, risk: Risk, *, told: bool) -> None:
        """Register a breach: one is told to the authority and closed, or its 72 hours run."""
        desk = self.service.registers
        details = {
            "known_at": self.clock.now,
            "part": Part.CONTROLLER.value,
            "risk": risk.value,
            "digest": hashlib.sha256(f"breach {risk}".encode()).hexdigest(),
        }
        breach = desk.register_breach(details, by="dario").breach
        if told:
            sent = {"who": "authority", "digest": details["digest"]}
            self.clock.now += 20 * HOUR_S
            desk.on_breach(breach, "told", sent, by="dario")
            desk.on_breach(breach, "closed", {}, by="olga")

    def _oversee(self) -> None:
        """Appoint who oversees handover, and make an account that waits for a second yes."""
        self.clock.now = self.end - 20 * HOUR_S
        details = {
            "person": "olga",
            "purpose": Purpose.HANDOVER.value,
            "since": self.clock.now,
            "until": self.clock.now + 365 * DAY_S,
            "competence": hashlib.sha256(b"course").hexdigest(),
        }
        self.service.registers.appoint(details, by="dario")
        self.service.access.accounts.add("nora", [StaffRole.DPO], by="otto")

    def _hear(self, name: str, *, spent: float) -> None:
        """Let a node say where it is, and hand over what it decided."""
        budget = BudgetIn(
            day=datetime.fromtimestamp(self.clock.now, tz=UTC).date().isoformat(),
            period_days=365,
            delta=1e-5,
            epsilon_spent=spent,
            epsilon_limit=8.0,
            epsilon_at_nodes=spent * 1.4,
            by_purpose={Purpose.TRAINING: spent},
            more_like_the_last=int((8.0 - spent) // 1.5),
        )
        self._logs[name].report()
        said = AcknowledgementIn(sequence=0, budget=budget)
        self.service.acknowledgements.receive(self._nodes[name], said)


def open_accounts(access: Access, clock: MovedClock) -> dict[str, list[str]]:
    """Make the made-up staff's accounts; return each one's recovery codes, for signing in."""
    codes = {}
    for name, roles in PEOPLE.items():
        clock.now += 60
        token = access.accounts.add(name, roles, by=BOOTSTRAP)
        secret = access.accounts.choose_password(name, token, PASSWORD).secret
        code = one_time_code(secret, clock.now)
        codes[name] = access.accounts.activate(name, token, code)
        if access.accounts.known(name).asked_roles:
            access.accounts.confirm(name, by="olga")
    return codes


def one_time_code(secret: str, now: float) -> str:
    """Return what an authenticator app shows (RFC 6238: SHA-1, 30 s, 6 digits)."""
    counter = struct.pack(">Q", int(now // 30))
    digest = hmac.new(base64.b32decode(secret), counter, "sha1").digest()
    offset = digest[-1] & 15
    (number,) = struct.unpack(">I", digest[offset : offset + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06d}"


def _pseudonym(seed: int, number: int) -> str:
    return hashlib.sha256(f"person {seed} {number}".encode()).hexdigest()[:32]
