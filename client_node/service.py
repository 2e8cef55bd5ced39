"""The node, put together: checks what must hold before it starts, then joins the parts.

It refuses to start, in one line, unless in this order: 1. secrets are private to their owner;
2. the policy is the operator's; 3. the certificate is in its days; 4. the encoder is the
published one; 5. redaction works; 6. log, vault, ledger, standing and releases are whole;
7. a published notice names emotion analysis. From step 2 on, nothing but the policy's
connections can be opened.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from audit.errors import AuditError
from audit.events import Event, EventKind
from audit.gate import Gate
from audit.intake import Intake
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.refusals import Refusals
from audit.retention_keeper import RetentionKeeper
from client_node.access import ApiKeys
from client_node.alerts import Alert
from client_node.budget_ledger import BudgetLedger
from client_node.budget_report import BudgetReport
from client_node.checked import Checked, check
from client_node.connections import ConnectionPolicy
from client_node.corrections import Corrections
from client_node.errors import LedgerRolledBack, NodeError, StartRefused
from client_node.foundation import Foundation, closing, open_foundation
from client_node.held_out import HeldOut
from client_node.housekeeping import Housekeeping
from client_node.judgement import Judgement, open_judgement
from client_node.labels import Labels
from client_node.notice import require_notice
from client_node.outside import open_witnesses
from client_node.own_data import OwnData
from client_node.parts import Parts
from client_node.people import People
from client_node.people_requests import PeopleRequests
from client_node.personal import Personalisation
from client_node.pipeline import Pipeline
from client_node.pseudonym import Pseudonyms, key_id
from client_node.reader import Reader
from client_node.recalibration import Recalibration
from client_node.releases import Releases
from client_node.round_answers import RoundAnswers
from client_node.settings import NodeSettings, parse_key
from client_node.standing_cache import StandingCache
from client_node.standing_keeper import StandingKeeper
from client_node.telephone import Telephone
from client_node.training import Training, limits_of
from client_node.trust_client import TrustClient
from client_node.use_room import Doors, UseRoom, open_uses
from client_node.uses.frustration import EarlyFrustration
from client_node.vault import Vault
from client_node.webhook_outbox import WebhookOutbox
from client_node.webhook_targets import load_targets
from client_node.webhooks import Webhooks, admit_asked
from client_node.withdrawing import Withdrawing
from client_node.witnesses import Witnesses
from models.encoder import Encoder
from models.errors import ModelError
from policies.clock import Clock
from policies.current import Current
from policies.errors import PolicyError
from policies.node_policy import NodePolicy
from policies.permit import Permit
from policies.vocabulary import NodeId

VERSION = "0.1.0"


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
    telephone: Telephone
    pipeline: Pipeline
    labels: Labels
    room: UseRoom
    training: Training
    witnesses: Witnesses
    recalibration: Recalibration
    personalisation: Personalisation
    gate: Gate
    retention: RetentionKeeper
    webhooks: Webhooks
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
            tell=self.webhooks.corrected,
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
        self.webhooks.start()

    def leave(self) -> None:
        """End what would otherwise stay open: streams and watchers."""
        self.room.leaving.set()

    def close(self) -> None:
        """Stop and close everything; what was begun is finished."""
        self.keeper.stop()
        self.webhooks.stop()
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
    checked = check(settings, parts)  # 1 to 5
    with ExitStack() as opened:
        node = _assemble(checked, parts, opened)
        return replace(node, opened=opened.pop_all())


def _assemble(checked: Checked, parts: Parts, opened: ExitStack) -> NodeService:
    """Join the rooms, each on those before it."""
    settings, policy, client = checked.settings, checked.policy, checked.client
    opened.callback(client.close)
    found = open_foundation(settings, policy, checked.key, parts.clock, opened)  # 6
    witnesses = open_witnesses(settings, policy, found, client=client, parts=parts, opened=opened)
    judgement = open_judgement(
        settings,
        policy,
        found,
        key=checked.key,
        encoder=checked.encoder,
        client=client,
        witnesses=witnesses,
        opened=opened,
    )
    room = open_uses(settings, _doors(checked, found, judgement, parts), opened)
    keeper = _keeper(checked, found, witnesses, judgement, room)
    keeper.withdrawing = withdrawing = _withdrawing(client, found, keeper)
    withdrawing.resume()
    pipeline = _pipeline(checked, found, judgement, room, parts)
    people = People(
        pseudonyms=Pseudonyms(keys=checked.pseudonym_keys.keys, standing=found.cache.standing),
        client=client,
        keeper=keeper,
        withdrawing=withdrawing,
    )
    service = NodeService(
        node=policy.node,
        settings=settings,
        policy=policy,
        keys=checked.keys,
        log=found.log,
        refusals=found.refusals,
        keystore=found.keystore,
        cache=found.cache,
        vault=found.vault,
        ledger=found.ledger,
        answers=found.answers,
        releases=judgement.releases,
        client=client,
        keeper=keeper,
        people=people,
        telephone=_telephone(settings, people, parts.clock, opened),
        pipeline=pipeline,
        labels=_labels(policy, found, judgement.gate),
        room=room,
        training=_training(checked, found, judgement.gate),
        witnesses=witnesses,
        recalibration=judgement.recalibration,
        personalisation=judgement.personalisation,
        gate=judgement.gate,
        retention=found.retention,
        webhooks=_webhooks(checked, found, room, pipeline.early, opened),
        opened=opened,
    )
    _make_ready(service, judgement.rules.current)
    return service


def _telephone(
    settings: NodeSettings, people: People, clock: Clock, opened: ExitStack
) -> Telephone:
    keys = [parse_key("telephone_keys", text) for text in settings.telephone_keys]
    telephone = Telephone(
        settings.folder / "telephone.db",
        keys={key.name: key for key in keys},
        yes=settings.telephone_scripts,
        people=people,
        clock=clock,
    )
    opened.callback(telephone.close)
    return telephone


def _doors(checked: Checked, found: Foundation, judgement: Judgement, parts: Parts) -> Doors:
    path = checked.settings.encoder_path
    return Doors(
        node=checked.policy.node,
        gate=judgement.gate,
        engine=judgement.rules.current,
        cache=found.cache,
        vault=found.vault,
        log=found.log,
        keystore=found.keystore,
        replay_key=checked.key.derive("replays"),
        ledger=found.ledger,
        policy=checked.policy,
        redactor=checked.redactor,
        plain_encoder=lambda: parts.encoder or Encoder.load(path, adapter={}),
        connections=ConnectionPolicy(allowed=checked.policy.connections),
        clock=found.clock,
        new_id=parts.new_id,
        progress=parts.progress,
    )


def _keeper(
    checked: Checked,
    found: Foundation,
    witnesses: Witnesses,
    judgement: Judgement,
    room: UseRoom,
) -> StandingKeeper:
    housekeeping = Housekeeping(
        vault=found.vault,
        conversations=found.conversations,
        witnesses=witnesses,
        rules=judgement.rules,
        personalisation=judgement.personalisation,
        room=room,
        clock=found.clock,
    )
    return StandingKeeper(
        client=checked.client,
        cache=found.cache,
        vault=found.vault,
        conversations=found.conversations,
        recalibration=judgement.recalibration,
        owed=found.owed,
        destroyed=found.destroyed,
        log=found.log,
        clock=found.clock,
        poll_s=checked.settings.poll_s,
        also=housekeeping.tidy,
        adopt=judgement.rules.adopt,
        hear_holds=found.holds.hear,
        learned=housekeeping.forget,
    )


def _webhooks(
    checked: Checked, found: Foundation, room: UseRoom, early: EarlyFrustration, opened: ExitStack
) -> Webhooks:
    def ask(alert: Alert) -> Permit:
        return room.uses.permit(early, admit_asked(alert))

    settings, connections = checked.settings, checked.policy.connections
    outbox = WebhookOutbox(
        settings.folder / "webhooks.db", clock=found.clock, new_id=lambda: secrets.token_hex(16)
    )
    return Webhooks(
        load_targets(settings.webhooks_file, ConnectionPolicy(allowed=connections)),
        outbox=closing(opened, outbox),
        alerts=found.conversations.alerts,
        ask=ask,
        log=found.log,
        clock=found.clock,
        lot=secrets.SystemRandom().random,
    )


def _withdrawing(client: TrustClient, found: Foundation, keeper: StandingKeeper) -> Withdrawing:
    return Withdrawing(
        book=found.withdrawals,
        cache=found.cache,
        keeper=keeper,
        client=client,
        holds=found.holds,
        log=found.log,
        clock=found.clock,
    )


def _pipeline(
    checked: Checked, found: Foundation, judgement: Judgement, room: UseRoom, parts: Parts
) -> Pipeline:
    return Pipeline(
        node=checked.policy.node,
        gate=judgement.gate,
        cache=found.cache,
        redactor=checked.redactor,
        reader=Reader(
            encoder=checked.encoder,
            releases=judgement.releases,
            recalibration=judgement.recalibration,
            personalisation=judgement.personalisation,
        ),
        uses=room.uses,
        early=EarlyFrustration(conversations=found.conversations, new_id=parts.new_id),
        things=room.things,
        vault=found.vault,
        conversations=found.conversations,
        log=found.log,
        clock=found.clock,
        new_id=parts.new_id,
    )


def _labels(policy: NodePolicy, found: Foundation, gate: Gate) -> Labels:
    return Labels(
        node=policy.node,
        known=frozenset(name for name, _ in policy.labels),
        gate=gate,
        cache=found.cache,
        vault=found.vault,
        log=found.log,
        clock=found.clock,
    )


def _training(checked: Checked, found: Foundation, gate: Gate) -> Training:
    return Training(
        node=checked.policy.node,
        policy=checked.policy,
        coordinator_key=parse_key("coordinator_key", checked.settings.coordinator_key),
        key=checked.key,
        gate=gate,
        cache=found.cache,
        vault=found.vault,
        ledger=found.ledger,
        answers=found.answers,
        log=found.log,
        clock=found.clock,
        encoder_digest=checked.encoder.digest,
        held_out=_held_out(checked),
    )


def _held_out(checked: Checked) -> HeldOut:
    share, folder = checked.policy.held_out, checked.settings.folder
    return HeldOut(key=checked.pseudonym_keys.settle(folder, holds_out=share > 0), share=share)


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
    service.people.withdrawing.finish()
    service.witnesses.meet()  # before anything is added to a log that may have been put back
    require_notice(
        service.client, service.cache.governance, service.settings.folder / "notice.version"
    )  # 7
    fields = {
        "service": "undertone-node",
        "version": VERSION,
        "policy_digest": rules.policy_digest,
        "node": service.node,
        "pseudonym_key": key_id(service.people.pseudonyms.keys[0]),
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
        destroyed=service.keeper.destroyed,
        labels=service.labels,
        corrections=service.corrections,
        reviews=service.room.reviews,
        things=service.room.things,
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
