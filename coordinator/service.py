"""The coordinator as a whole: one process that alone owns its log, ledger, journal and keys.

Composition only: `running` holds the run in progress, `publisher` makes releases of what came of
it, the fleet brings both to the nodes.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from audit.errors import AuditError
from audit.events import Event, EventKind, Value
from audit.exchange import Peer
from audit.gate import Gate
from audit.intake import Intake
from audit.log import EvidenceLog
from audit.portal.access import Access
from audit.portal.evidence_desk import EvidenceDesk
from audit.refusals import Refusals
from audit.signing import SigningKey, VerifyKey
from coordinator.budget_ledger import CentralLedger
from coordinator.card_courier import CardCourier
from coordinator.courier import CourierQueue
from coordinator.delivery import Delivery
from coordinator.errors import SettingsInvalid
from coordinator.fleet import Fleet, FlowerFleet
from coordinator.governance import GovernanceCopy
from coordinator.governance_keeper import GovernanceKeeper, Trust, TrustClient
from coordinator.journal import EvaluationRecord, Journal, RoundRecord
from coordinator.permission import Permission
from coordinator.plan import Preview, preview_apart
from coordinator.publishing import Publisher
from coordinator.registry import Node, Registry
from coordinator.release import ReleaseBook
from coordinator.rounds import Centre
from coordinator.running import STOP_S, Running
from coordinator.settings import CoordinatorSettings
from coordinator.staff import open_access
from coordinator.standard import read_standard
from coordinator.tables import open_store
from coordinator.traffic import Traffic, TrafficMeter
from coordinator.witnesses import Witnesses
from models.heads import plan_shape
from policies.clock import Clock
from policies.engine import PolicyEngine
from policies.errors import UndertoneError
from policies.standing import Governance
from policies.vocabulary import NodeId, RunId

VERSION = "0.1.0"
DELIVER_S = 2.0

BATCH_KEY_BYTES = 32

FleetMaker = Callable[[CoordinatorSettings, CourierQueue], Fleet]
Accountant = Callable[[Mapping[str, Any]], Preview]


class CoordinatorService:
    """Everything a coordinator does, behind one object; its API and CLI are thin."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        *,
        clock: Clock = time.time,
        make_fleet: FleetMaker = FlowerFleet,
        accountant: Accountant = preview_apart,
        trust: Trust | None = None,
    ) -> None:
        """Open what is on disk; nothing runs before `start`.

        Args:
            settings: What is fixed.
            clock: Unix seconds.
            make_fleet: Makes the nodes' network.
            accountant: Costs a plan.
            trust: Another way to the trust service that the settings name, for tests.

        Raises:
            SettingsInvalid: A key, the trust service's authority or the log cannot be used.
            PolicyInvalid: The installation's rules are damaged.
        """
        self.settings, self._clock, self._accountant = settings, clock, accountant
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key, self.log = _open_log(settings, clock)
        self.refusals = Refusals(self.log, clock=clock)
        self._intake: Intake | None = None
        self._access: Access | None = None
        engine = open_store(settings.folder / "coordinator.db")
        self.registry = Registry(engine, clock=clock)
        self.journal = Journal(engine, clock=clock)
        self.ledger = CentralLedger(
            engine,
            epsilon_ceiling=settings.epsilon_ceiling,
            delta_ceiling=settings.delta_ceiling,
            clock=clock,
        )
        engine_of_rules = PolicyEngine.load()
        self._policy_digest = engine_of_rules.policy_digest
        vouches = _trust_key(settings)
        if vouches is None:
            trust = None
        elif trust is None and settings.trust_url is not None:
            trust = TrustClient(
                settings.trust_url, authority=settings.trust_ca, key=self._key, clock=clock
            )
        self._copy, self.keeper = _governance(settings, trust, vouches, clock, also=self._tend)
        self.witnesses = Witnesses(
            settings.folder / "witness.db",
            self.log,
            registry=self.registry,
            trust=trust if isinstance(trust, Peer) else None,
            trust_key=vouches,
            clock=clock,
        )
        self.evidence = EvidenceDesk(
            folder=settings.folder,
            log=self.log,
            log_file=settings.folder / "log.db",
            witnessing=lambda: self.witnesses.witnessing,
            clock=clock,
        )
        self.permission = Permission(
            name=NodeId(settings.name),
            engine=engine_of_rules,
            gate=Gate(
                engine=engine_of_rules,
                log=self.log,
                clock=clock,
                batch_key=secrets.token_bytes(BATCH_KEY_BYTES),  # a centre asks about no batch
                basis=lambda: {
                    "approvals": [] if self._copy is None else list(self._copy.approvals)
                },
            ),
            governance=self.governance,
            clock=clock,
        )
        self.releases = ReleaseBook(
            self.registry,
            log=self.log,
            key=self._key,
            clock=clock,
            standard=read_standard(settings),
        )
        self.cards = CardCourier(
            trust if isinstance(trust, Peer) else None, self.releases.all, clock=clock
        )
        self.queue = CourierQueue(self._addresses, grace_s=settings.grace_s)
        self.fleet = make_fleet(settings, self.queue)
        self.delivery = Delivery(
            self.queue, self.registry, self.releases, online=self.online, clock=clock
        )
        self.publisher = Publisher(
            registry=self.registry,
            journal=self.journal,
            releases=self.releases,
            permission=self.permission,
        )
        self.running = Running(
            registry=self.registry,
            journal=self.journal,
            queue=self.queue,
            delivery=self.delivery,
            permission=self.permission,
            publisher=self.publisher,
            centre=self._centre,
            online=self.online,
        )
        self._meter = TrafficMeter(settings.access_log)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._deliverer = threading.Thread(target=self._deliver, name="delivery", daemon=True)

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Close what a crash left open, then bring the fleet up.

        Raises:
            FlowerUnavailable: The SuperLink does not come up.
        """
        fields: dict[str, Value] = {
            "service": "coordinator",
            "version": VERSION,
            "policy_digest": self._policy_digest,
            "key": str(self._key.verify_key),
        }
        self.witnesses.meet()  # before anything is added to a log that may have been put back
        self._record(Event(kind=EventKind.SERVICE_STARTED, at=self._clock(), fields=fields))
        socket = self.settings.folder / "evidence.sock"
        self._intake = Intake(self.log, socket, refusals=self.refusals)
        self.running.close_unfinished()
        if self.keeper is not None:
            self.keeper.start()
        self.fleet.start()
        self._deliverer.start()

    def close(self) -> None:
        """Stop the run, the courier and the fleet, and close the log."""
        self._closing.set()
        self.running.close()
        if self.keeper is not None:
            self.keeper.stop()
        if self._deliverer.is_alive():
            self._deliverer.join(STOP_S)
        self.fleet.stop()
        self.evidence.close()
        self.witnesses.close()
        if self._intake is not None:
            self._intake.close()
        self.refusals.close()
        if self._access is not None:
            self._access.close()
        self.log.close()

    def access(self, admin_token: str) -> Access:
        """Return how staff sign in; the admin token stands for whoever sets this up.

        Raises:
            AccountsUnavailable: The accounts cannot be opened.
        """
        with self._lock:
            if self._access is None:
                self._access = open_access(
                    self.settings,
                    log=self.log,
                    key=self._key,
                    clock=self._clock,
                    admin_token=admin_token,
                )
            return self._access

    def governance(self) -> Governance | None:
        """Return what the organisation approved, as last heard; None where nothing was."""
        return None if self._copy is None else self._copy.governance

    # --- plans and nodes ------------------------------------------------------------------------

    def accept_plan(self, draft: Mapping[str, Any]) -> Preview:
        """Cost a plan, remember it and log it; the same plan again changes nothing.

        Raises:
            PlanRejected: It is not a plan, or costs more than it declares.
        """
        found = self._accountant(draft)
        if not self.registry.knows_plan(found.digest):
            fields: dict[str, Value] = {
                "plan_digest": found.digest,
                "name": found.plan.name,
                "epsilon": found.plan.epsilon,
                "delta": found.plan.delta,
                "rounds": found.plan.rounds,
            }
            self._record(Event(kind=EventKind.PLAN_ACCEPTED, at=self._clock(), fields=fields))
            self.registry.add_plan(found)
        return found

    def register_node(self, node: NodeId, key: VerifyKey, supernode_key: str) -> Node:
        """Admit a node: its signing key here, its Flower key at the SuperLink.

        Raises:
            NodeConflict: The name has other keys.
            NodeKeyInvalid: The Flower key is not an OpenSSH P-384 public key.
            FlowerUnavailable: The SuperLink does not answer.
        """
        with self._lock:
            known = self.registry.check_free(node, key, supernode_key)
            if known is not None:
                return known
            admitted = Node(node=node, key=key, flower_id=self.fleet.register(supernode_key))
            fields: dict[str, Value] = {"node": node, "key": str(key)}
            self._record(Event(kind=EventKind.NODE_ENROLLED, at=self._clock(), fields=fields))
            self.registry.add_node(admitted, supernode_key=supernode_key)
            return admitted

    def online(self) -> frozenset[NodeId]:
        """Return the registered nodes that Flower heard of lately."""
        ids = self.fleet.online()
        return frozenset(n for n, node in self.registry.nodes().items() if node.flower_id in ids)

    # --- runs: `running` and `publisher` do them ------------------------------------------------

    def rounds(self, run: RunId) -> tuple[RoundRecord, ...]:
        """Return the run's ended rounds.

        Raises:
            RunUnknown: There is none of that name.
        """
        plan = self.registry.plan(self.journal.run(run).plan_digest).plan
        return self.journal.rounds(run, shape=plan_shape(plan))

    def evaluations(self, run: RunId) -> tuple[EvaluationRecord, ...]:
        """Return the run's ended evaluations.

        Raises:
            RunUnknown: There is none of that name.
        """
        plan = self.registry.plan(self.journal.run(run).plan_digest).plan
        return self.journal.evaluations(run, labels=len(plan.labels))

    def traffic(self, run: RunId | None = None) -> Traffic:
        """Return the bytes at the gateway, in all or while a run went on.

        Raises:
            RunUnknown: There is none of that name.
        """
        if run is None:
            return self._meter.read()
        record = self.journal.run(run)
        return self._meter.between(record.started_at, record.ended_at or self._clock())

    # --- inside ---------------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Bring the newest release to nodes that come later, while no run is in progress."""
        while not self._closing.wait(DELIVER_S):
            if not self.running.busy:
                try:
                    self.delivery.catch_up()
                except UndertoneError:
                    continue  # shutting down, stopped, or tried again later

    def _tend(self) -> None:
        """Do what follows each question to the trust service."""
        self.running.heed_rules()
        self.witnesses.meet_when_due()
        self.cards.bring()

    def _centre(self, stop: threading.Event, permitted: Callable[[], None]) -> Centre:
        return Centre(
            courier=self.queue,
            ledger=self.ledger,
            journal=self.journal,
            key=self._key,
            record=self._record,
            clock=self._clock,
            stop=stop,
            permitted=permitted,
        )

    def _record(self, event: Event) -> None:
        self.log.append(event)

    def _addresses(self) -> Mapping[NodeId, int]:
        return {name: node.flower_id for name, node in self.registry.nodes().items()}


def _open_log(settings: CoordinatorSettings, clock: Clock) -> tuple[SigningKey, EvidenceLog]:
    try:
        key = SigningKey.load(settings.signing_key)
        path = settings.folder / "log.db"
        return key, EvidenceLog(path, key, origin=key.name, clock=clock)
    except AuditError as error:
        raise SettingsInvalid(f"the coordinator cannot start: {error}") from error


def _trust_key(settings: CoordinatorSettings) -> VerifyKey | None:
    if settings.trust_key is None:
        return None
    try:
        return VerifyKey.parse(settings.trust_key)
    except AuditError as error:
        raise SettingsInvalid(f"trust_key: {error}") from error


def _governance(
    settings: CoordinatorSettings,
    trust: Trust | None,
    vouches: VerifyKey | None,
    clock: Clock,
    *,
    also: Callable[[], None],
) -> tuple[GovernanceCopy | None, GovernanceKeeper | None]:
    """Return what hears of governance; nothing without a trust service in the settings."""
    if trust is None or vouches is None:
        return None, None
    copy = GovernanceCopy(name=NodeId(settings.name), key=vouches, clock=clock)
    return copy, GovernanceKeeper(trust, copy, poll_s=settings.trust_poll_s, also=also)
