"""The node, put together: checks what must hold before it starts, then joins the parts.

It refuses to start, in one line, unless in this order: 1. secrets are private to their owner;
2. the policy is the operator's; 3. the certificate is in its days; 4. the encoder is the
published one; 5. redaction works; 6. log, vault, ledger, standing and releases are whole;
7. a published notice names emotion analysis. From step 2 on, nothing but the policy's
connections can be opened.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import httpx

from audit.archive import Archive
from audit.errors import AuditError
from audit.events import Event, EventKind
from audit.gate import Gate
from audit.intake import Intake
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.pki import check_certificate
from audit.refusals import Refusals
from audit.retention import Retention
from audit.retention_keeper import RetentionKeeper
from audit.retention_policy import load_retention
from audit.sealing import Sealing
from audit.signing import SigningKey, VerifyKey
from audit.witnessing import Witnessing
from client_node.access import ApiKeys
from client_node.budget_ledger import BudgetLedger
from client_node.budget_report import BudgetReport
from client_node.connections import ConnectionPolicy
from client_node.conversations import Conversations
from client_node.corrections import Corrections
from client_node.errors import LedgerRolledBack, NodeError, StartRefused
from client_node.feed_holds import FeedHolds
from client_node.gateway_client import GatewayClient
from client_node.held_out import HeldOut
from client_node.housekeeping import Housekeeping
from client_node.labels import Labels
from client_node.local_head import LocalHeadFile
from client_node.notice import require_notice
from client_node.own_data import OwnData
from client_node.people import People
from client_node.people_requests import PeopleRequests
from client_node.personal import Personalisation
from client_node.pipeline import Pipeline
from client_node.pseudonym import KEY_BYTES
from client_node.reader import Reader
from client_node.recalibration import Recalibration
from client_node.redaction import Redactor, Redacts
from client_node.releases import Releases
from client_node.round_answers import RoundAnswers
from client_node.rules import NodeRules
from client_node.settings import (
    NodeSettings,
    check_private,
    load_policy,
    load_signing_key,
    parse_key,
    read_secret,
)
from client_node.standing_cache import StandingCache
from client_node.standing_keeper import StandingKeeper
from client_node.training import Training, limits_of
from client_node.trust_client import TrustClient
from client_node.use_room import Doors, UseRoom, open_uses
from client_node.uses.frustration import EarlyFrustration
from client_node.vault import Vault
from client_node.witnesses import Witnesses
from models.encoder import Encoder
from models.errors import ModelError
from models.language import Languages
from policies.clock import Clock
from policies.current import Current
from policies.errors import PolicyError
from policies.terms import NodePolicy
from policies.vocabulary import NodeId

VERSION = "0.1.0"
_Part = TypeVar("_Part", Keystore, EvidenceLog, Vault, RoundAnswers, Witnessing, Personalisation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a node needs from outside its folder; tests give small ones."""

    clock: Clock = time.time
    new_id: Callable[[], str] = field(default=lambda: secrets.token_hex(16))
    encoder: Encoder | None = None
    redactor: Redacts | None = None
    transport: httpx.BaseTransport | None = None
    gateway_transport: httpx.BaseTransport | None = None
    progress: Callable[[int, int], None] = lambda *_: None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeService:
    """A running node; `close` when done."""

    node: NodeId
    settings: NodeSettings
    policy: NodePolicy
    keys: ApiKeys
    log: EvidenceLog
    refusals: Refusals
    keystore: Keystore
    cache: StandingCache
    vault: Vault
    ledger: BudgetLedger
    answers: RoundAnswers
    releases: Releases
    client: TrustClient
    keeper: StandingKeeper
    people: People
    pipeline: Pipeline
    labels: Labels
    room: UseRoom
    training: Training
    witnesses: Witnesses
    recalibration: Recalibration
    personalisation: Personalisation
    gate: Gate
    retention: RetentionKeeper
    opened: ExitStack

    @property
    def corrections(self) -> Corrections:
        """What puts a reading right."""
        return Corrections(
            gate=self.gate,
            desk=self.room.desk,
            vault=self.vault,
            labels=self.labels,
            conversations=self.pipeline.conversations,
            families=dict(self.policy.labels),
            log=self.log,
        )

    @property
    def own_data(self) -> OwnData:
        """What answers a person about themselves."""
        return OwnData(
            log=self.log,
            gate=self.gate,
            training=self.training,
            answers=self.answers,
            ledger=self.ledger,
            releases=self.releases,
            key=self.training.key,
            delta=self.policy.maximum_delta,
        )

    def start(self) -> None:
        """Keep standing fresh in the background, and what is kept to its periods."""
        self.keeper.start()
        self.retention.start()

    def close(self) -> None:
        """Stop and close everything; what was begun is finished."""
        self.keeper.stop()
        self.opened.close()


def open_node(settings: NodeSettings, parts: Parts | None = None) -> NodeService:
    """Check everything and put the node together.

    Raises:
        StartRefused: One line says what does not hold.
    """
    parts = parts or Parts()
    try:
        return _open(settings, parts)
    except StartRefused:
        raise
    except (NodeError, AuditError, ModelError, PolicyError) as error:
        raise StartRefused(str(error)) from error


def _open(settings: NodeSettings, parts: Parts) -> NodeService:
    key = load_signing_key(settings.signing_key)  # 1
    keys = ApiKeys.load(settings.api_keys_file)
    pseudonym_key = _pseudonym_key(settings.pseudonym_key_file)
    policy = load_policy(settings)  # 2
    if settings.certificate is not None:  # 3
        check_certificate(settings.certificate, parts.clock())
        check_private(settings.private_key or settings.certificate)
    encoder, redactor = load_models(
        settings.encoder_path, parts, graphs=settings.folder / "graphs"
    )  # 4, 5
    client = _client(settings, policy, key, parts)
    with ExitStack() as opened:
        node = _assemble(
            settings, policy, keys, key, pseudonym_key, encoder, redactor, client, parts, opened
        )
        return replace(node, opened=opened.pop_all())


def load_models(
    encoder_path: Path | None, parts: Parts, *, graphs: Path | None = None
) -> tuple[Encoder, Redacts]:
    """Load encoder and redactor side by side: the first answer waits for both."""
    with ThreadPoolExecutor(2) as beside:
        beside.submit(Languages.load)  # the redactor's too, which finds it there
        loading = beside.submit(lambda: parts.encoder or Encoder.load(encoder_path, graphs=graphs))
        redactor = parts.redactor or Redactor.load(encoder_path, graphs=graphs)
        return loading.result(), redactor


def _assemble(  # noqa: PLR0917 (one call, in the order of the module's text)
    settings: NodeSettings,
    policy: NodePolicy,
    keys: ApiKeys,
    key: SigningKey,
    pseudonym_key: bytes,
    encoder: Encoder,
    redactor: Redacts,
    client: TrustClient,
    parts: Parts,
    opened: ExitStack,
) -> NodeService:
    """Join the parts; each opens its own file in the node's folder."""
    folder, clock, node = settings.folder, parts.clock, policy.node
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    trust_key = parse_key("trust_key", settings.trust_key)
    coordinator_key = parse_key("coordinator_key", settings.coordinator_key)
    log_key = parse_key(
        "coordinator_log_key", settings.coordinator_log_key or settings.coordinator_key
    )
    opened.callback(client.close)
    keystore = _closing(opened, Keystore(folder / "keystore", clock=clock))  # 6
    origin = f"undertone/{node}"
    log = _closing(
        opened,
        EvidenceLog(
            folder / "log.db",
            key,
            origin=origin,
            clock=clock,
            keystore=keystore,
            archive=_archive(settings, key),
        ),
    )
    holds = FeedHolds(clock=clock)
    retention = _retention(settings, log, holds, keystore, clock)
    opened.callback(retention.close)
    refusals = Refusals(log, clock=clock)
    opened.callback(refusals.close)
    vault = _closing(opened, Vault(folder / "records.db", keystore))
    conversations = Conversations(rule=settings.conversation_rule(), pause_s=settings.pause_s)
    cache = StandingCache(folder / "standing.db", node=node, key=trust_key, clock=clock)
    opened.callback(cache.close)
    ledger = BudgetLedger(folder / "budget.db", limits=limits_of(policy), clock=clock)
    opened.callback(ledger.close)
    answers = _closing(opened, RoundAnswers(folder / "rounds.db"))
    witnesses = _witnesses(settings, policy, log, client, trust_key, log_key, parts, opened)
    releases = Releases(
        folder / "releases.db",
        coordinator_key=coordinator_key,
        log_key=log_key,
        encoder_digest=encoder.digest,
        key=key,
        log=log,
        clock=clock,
        keys_of=witnesses.witnessing.store.keys_of,
    )
    opened.callback(releases.close)
    rules = NodeRules(
        folder / "rules",
        client=client,
        officer_key=(
            None if settings.officer_key is None else parse_key("officer_key", settings.officer_key)
        ),
        log=log,
        clock=clock,
    )
    rules.adopt(cache.rules)
    gate = Gate(
        engine=rules.current,
        log=log,
        clock=clock,
        batch_key=key.derive("batch"),
        basis=lambda: {
            "envelope_digest": cache.envelope_digest,
            "release_digest": None if releases.current is None else releases.current.digest,
            **personalisation.basis(),
        },
    )
    personalisation = _closing(
        opened,
        Personalisation(
            on=settings.personal,
            node=node,
            gate=gate,
            engine=rules.current,
            cache=cache,
            vault=vault,
            releases=releases,
            file=LocalHeadFile(folder / "local-head.sealed", keystore),
            log=log,
            clock=clock,
        ),
    )
    recalibration = Recalibration(
        node=node, gate=gate, cache=cache, vault=vault, releases=releases, clock=clock
    )
    room = open_uses(
        settings,
        Doors(
            node=node,
            gate=gate,
            engine=rules.current,
            cache=cache,
            vault=vault,
            log=log,
            redactor=redactor,
            plain_encoder=lambda: parts.encoder or Encoder.load(settings.encoder_path, adapter={}),
            connections=ConnectionPolicy(allowed=policy.connections),
            clock=clock,
            new_id=parts.new_id,
            progress=parts.progress,
        ),
        opened,
    )
    housekeeping = Housekeeping(
        vault=vault,
        conversations=conversations,
        witnesses=witnesses,
        rules=rules,
        personalisation=personalisation,
        room=room,
        clock=clock,
    )
    keeper = StandingKeeper(
        client=client,
        cache=cache,
        vault=vault,
        conversations=conversations,
        recalibration=recalibration,
        log=log,
        clock=clock,
        poll_s=settings.poll_s,
        also=housekeeping.tidy,
        adopt=rules.adopt,
        hear_holds=holds.hear,
        learned=housekeeping.forget,
    )
    service = NodeService(
        node=node,
        settings=settings,
        policy=policy,
        keys=keys,
        log=log,
        refusals=refusals,
        keystore=keystore,
        cache=cache,
        vault=vault,
        ledger=ledger,
        answers=answers,
        releases=releases,
        client=client,
        keeper=keeper,
        people=People(key=pseudonym_key, client=client, keeper=keeper),
        pipeline=Pipeline(
            node=node,
            gate=gate,
            cache=cache,
            redactor=redactor,
            reader=Reader(
                encoder=encoder,
                releases=releases,
                recalibration=recalibration,
                personalisation=personalisation,
            ),
            uses=room.uses,
            early=EarlyFrustration(conversations=conversations, new_id=parts.new_id),
            vault=vault,
            conversations=conversations,
            log=log,
            clock=clock,
            new_id=parts.new_id,
        ),
        labels=Labels(
            node=node,
            known=frozenset(name for name, _ in policy.labels),
            gate=gate,
            cache=cache,
            vault=vault,
            log=log,
            clock=clock,
        ),
        room=room,
        training=Training(
            node=node,
            policy=policy,
            coordinator_key=coordinator_key,
            key=key,
            gate=gate,
            cache=cache,
            vault=vault,
            ledger=ledger,
            answers=answers,
            log=log,
            clock=clock,
            encoder_digest=encoder.digest,
            held_out=HeldOut(key=pseudonym_key, share=policy.held_out),
        ),
        witnesses=witnesses,
        recalibration=recalibration,
        personalisation=personalisation,
        gate=gate,
        retention=retention,
        opened=opened,
    )
    _make_ready(service, rules.current)
    return service


def _make_ready(service: NodeService, rules: Current) -> None:
    """Compare ledger and log, hear the trust service, require the notice, log the start."""
    service.keeper.answering = _people_requests(service).answer
    logged = service.log.find(EventKind.BUDGET_SPENT, limit=1)
    with suppress(LedgerRolledBack):  # the ledger refuses from now on, and status says why
        service.ledger.verify(str(logged[0].event.fields["head"]) if logged else None)
    service.keeper.budget = BudgetReport(
        service.ledger, limits_of(service.policy), clock=service.log.clock
    )
    _hear(service)
    service.witnesses.meet()  # before anything is added to a log that may have been put back
    require_notice(
        service.client, service.cache.governance, service.settings.folder / "notice.version"
    )  # 7
    fields = {
        "service": "undertone-node",
        "version": VERSION,
        "policy_digest": rules.policy_digest,
        "node": service.node,
    }
    service.log.append(Event(kind=EventKind.SERVICE_STARTED, at=service.log.clock(), fields=fields))
    socket = service.settings.folder / "evidence.sock"
    service.opened.callback(Intake(service.log, socket, refusals=service.refusals).close)


def _people_requests(service: NodeService) -> PeopleRequests:
    return PeopleRequests(
        node=service.node,
        gate=service.pipeline.gate,
        cache=service.cache,
        vault=service.vault,
        labels=service.labels,
        corrections=service.corrections,
        training=service.training,
        ledger=service.ledger,
        delta=limits_of(service.policy).delta,
        log=service.log,
        client=service.client,
        clock=service.log.clock,
    )


def _hear(service: NodeService) -> None:
    """Fetch standing until there is no more; a node that heard some before may start without."""
    try:
        while service.keeper.poll():
            pass
    except NodeError as error:
        if service.cache.governance is None:
            raise StartRefused(f"the trust service cannot be heard: {error}") from error


def _client(
    settings: NodeSettings, policy: NodePolicy, key: SigningKey, parts: Parts
) -> TrustClient:
    return TrustClient(
        settings.trust_url,
        key=key,
        connections=ConnectionPolicy(allowed=policy.connections),
        clock=parts.clock,
        authority=settings.trust_ca,
        transport=parts.transport,
    )


def _witnesses(  # noqa: PLR0917 (one call, in the order of the module's text)
    settings: NodeSettings,
    policy: NodePolicy,
    log: EvidenceLog,
    client: TrustClient,
    trust_key: VerifyKey,
    coordinator_log_key: VerifyKey,
    parts: Parts,
    opened: ExitStack,
) -> Witnesses:
    """Join the node to the witnessing of the three logs; without a gateway, of two."""
    known = {key.name: key for key in (trust_key, coordinator_log_key)}
    witnessing = _closing(
        opened,
        Witnessing(
            settings.folder / "witness.db",
            log,
            clock=parts.clock,
            find_log=known.get,
            find_witness={trust_key.name: trust_key}.get,
        ),
    )
    gateway = None
    if settings.coordinator_url is not None:
        gateway = GatewayClient(
            settings.coordinator_url,
            connections=ConnectionPolicy(allowed=policy.connections),
            authority=settings.coordinator_ca,
            transport=parts.gateway_transport,
        )
        opened.callback(gateway.close)
    return Witnesses(
        witnessing,
        trust=client,
        trust_key=trust_key,
        coordinator=gateway,
        coordinator_log_key=coordinator_log_key,
        clock=parts.clock,
        period_s=settings.witness_s,
    )


def _closing(opened: ExitStack, part: _Part) -> _Part:
    """Let the part be closed with the node, or when its start is refused."""
    opened.callback(part.close)
    return part


def _pseudonym_key(path: Path) -> bytes:
    key = read_secret(path)
    if len(key) < KEY_BYTES:
        raise StartRefused(f"pseudonym key {path}: expected {KEY_BYTES} bytes or more")
    return key


def _archive(settings: NodeSettings, key: SigningKey) -> Archive | None:
    return None if settings.archive is None else Archive(settings.archive, key.verify_key)


def _retention(
    settings: NodeSettings, log: EvidenceLog, holds: FeedHolds, keystore: Keystore, clock: Clock
) -> RetentionKeeper:
    """Put retention together: the node's own policy, and the holds that it was told."""
    policy, archive = load_retention(settings.retention), _archive(settings, log.key)
    sealing = None
    if archive is not None:
        sealing = Sealing(log=log, archive=archive, policy=policy, clock=clock)
    retention = Retention(log=log, policy=policy, holds=holds, clock=clock, keystore=keystore)
    return RetentionKeeper(retention, sealing, clock=clock, ready=lambda: holds.heard)
