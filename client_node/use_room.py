"""The uses of a node, put together: lists that the guard reads, tables, and what waits for a yes.

Refuses, in one line, a list that is not approved, a table that is none, and a reply model that is
not on this machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx

from audit.gate import Gate
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.signing import VerifyKey
from client_node.approvals import Approvals
from client_node.articles import Articles
from client_node.budget_ledger import BudgetLedger
from client_node.call_record import CallRecord
from client_node.connections import ConnectionPolicy
from client_node.errors import StartRefused
from client_node.hints import ApprovedHints, shipped_hints, signed_hints
from client_node.live import Live, LiveKind, Told
from client_node.load import Load
from client_node.panel.sessions import PanelSessions
from client_node.queues import Queues
from client_node.redaction import Redacts
from client_node.redress import load_redress
from client_node.replay_store import ReplayStore
from client_node.replays import Replays
from client_node.replies import ReplyTexts, shipped_replies, signed_replies
from client_node.reply_model import LONGEST_S, ReplyModel, check_local
from client_node.reviews import Reviews
from client_node.settings import NodeSettings, parse_key, read_secret
from client_node.standing_cache import StandingCache
from client_node.thing_store import ThingStore
from client_node.turn import UseAnswer
from client_node.uses.asked import Uses
from client_node.uses.assist import Assist
from client_node.uses.built import built_uses
from client_node.uses.compensation import Compensation
from client_node.uses.context import ThingContext
from client_node.uses.customer_desk import CustomerDesk
from client_node.uses.desk import UseDesk
from client_node.uses.hold_back import HoldBack
from client_node.uses.journey import Journey
from client_node.uses.proposals import Proposals
from client_node.uses.reply import Reply, ReplyRelease
from client_node.uses.segments import Campaigns
from client_node.uses.thing_desk import ThingDesk
from client_node.uses.use import Described
from client_node.vault import Vault
from client_node.whatif_asked import WhatIf
from client_node.wire import use_to_dict
from models.encoder import Encoder
from models.message_guard import MessageGuard
from policies.clock import Clock
from policies.decision import Decides
from policies.node_policy import NodePolicy
from policies.vocabulary import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the uses are built on."""

    node: NodeId
    gate: Gate
    engine: Decides
    cache: StandingCache
    vault: Vault
    log: EvidenceLog
    keystore: Keystore
    replay_key: bytes = field(repr=False)
    ledger: BudgetLedger
    policy: NodePolicy
    redactor: Redacts
    plain_encoder: Callable[[], Encoder]
    connections: ConnectionPolicy
    clock: Clock
    new_id: Callable[[], str]
    progress: Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRoom:
    """Everything that is done with a reading here, but for what watches by itself."""

    uses: Uses
    desk: UseDesk
    reviews: Reviews
    approvals: Approvals
    proposals: Proposals
    customers: CustomerDesk
    things: ThingDesk
    campaigns: Campaigns
    load: Load
    replays: Replays
    live: Live
    queues: Queues
    calls: CallRecord
    whatif: WhatIf
    panels: PanelSessions
    leaving: threading.Event

    def described(self) -> list[Described]:
        """Return what every use here is for."""
        own = (self.proposals.reply, self.proposals.release)
        customers = self.customers
        asked = (customers.journey, customers.hold_back, self.things.context, self.campaigns)
        return [*self.uses.described(), *(use.described for use in (*own, *asked))]


def open_uses(settings: NodeSettings, doors: Doors, opened: ExitStack) -> UseRoom:
    """Check lists and tables, and put the uses together.

    Raises:
        StartRefused, HintsRejected, RepliesRejected, ArticlesRejected: One does not hold.
        VaultError: The queue of approvals cannot be opened.
    """
    guard = _guard(settings.encoder_path)
    table = load_redress(settings.redress_file)
    lasts_s = settings.approval_s
    approvals = Approvals(settings.folder / "approvals.db", clock=doors.clock, lasts_s=lasts_s)
    opened.callback(approvals.close)
    reviews = Reviews(settings.folder / "reviews.db", log=doors.log, clock=doors.clock)
    opened.callback(reviews.close)
    compensation = Compensation(currency=table.currency, calm_passed_at=approvals.calm_passed_at)
    uses = Uses(
        node=doors.node,
        gate=doors.gate,
        engine=doors.engine,
        cache=doors.cache,
        clock=doors.clock,
        reviews=reviews,
        built=built_uses(_assist(settings, guard, doors), compensation),
    )
    desk = UseDesk(
        node=doors.node,
        gate=doors.gate,
        cache=doors.cache,
        vault=doors.vault,
        uses=uses,
        reviews=reviews,
        clock=doors.clock,
    )
    live = Live()
    reply = Reply(
        texts=_replies(settings, guard),
        guard=guard,
        model=_model(settings, doors.connections, opened),
        approvals=approvals,
        vault=doors.vault,
        clock=doors.clock,
        new_id=doors.new_id,
        tell=lambda body: live.tell(Told(kind=LiveKind.DRAFT, body=body)),
    )
    proposals = Proposals(
        desk=desk,
        uses=uses,
        approvals=approvals,
        reply=reply,
        release=ReplyRelease(guard=guard, vault=doors.vault),
        compensation=compensation,
        table=table,
        calm_floor=settings.calm_floor,
        log=doors.log,
        new_id=doors.new_id,
    )
    replays = ReplayStore(settings.folder / "replays.db", doors.keystore)
    opened.callback(replays.close)
    calls = CallRecord(settings.folder / "calls.db", clock=doors.clock)
    opened.callback(calls.close)
    load = Load(crowded=settings.crowded_turns, most=settings.most_turns)
    customers = CustomerDesk(desk=desk, uses=uses, journey=Journey(), hold_back=HoldBack())
    return UseRoom(
        uses=uses,
        desk=desk,
        reviews=reviews,
        approvals=approvals,
        proposals=proposals,
        customers=customers,
        things=_things(settings, doors, uses, live, opened),
        campaigns=Campaigns(
            node=doors.node,
            policy=doors.policy,
            gate=doors.gate,
            cache=doors.cache,
            vault=doors.vault,
            ledger=doors.ledger,
            approvals=approvals,
            log=doors.log,
            guard=guard,
            clock=doors.clock,
            new_id=doors.new_id,
            answer_s=settings.campaign_s,
        ),
        load=load,
        replays=Replays(clock=doors.clock, store=replays, secret=doors.replay_key),
        live=live,
        queues=Queues(clock=doors.clock),
        calls=calls,
        whatif=WhatIf(calls, load),
        panels=PanelSessions(clock=doors.clock),
        leaving=threading.Event(),
    )


def _things(
    settings: NodeSettings, doors: Doors, uses: Uses, live: Live, opened: ExitStack
) -> ThingDesk:
    store = ThingStore(settings.folder / "things.db", doors.vault)
    opened.callback(store.close)

    def tell(conversation: str, shown: UseAnswer) -> None:
        body = {"conversation": conversation, "context": use_to_dict(shown)}
        live.tell(Told(kind=LiveKind.THING, body=body))

    return ThingDesk(
        node=doors.node,
        gate=doors.gate,
        cache=doors.cache,
        store=store,
        uses=uses,
        context=ThingContext(store=store),
        clock=doors.clock,
        tell=tell,
    )


def _assist(settings: NodeSettings, guard: MessageGuard, doors: Doors) -> Assist:
    """Check the hints and embed the articles."""
    articles, folder = None, settings.articles_folder
    if folder is not None:
        plain = doors.plain_encoder()
        articles = Articles.build(folder, plain, doors.redactor, progress=doors.progress)
    return Assist(hints=_hints(settings, guard), articles=articles, redactor=doors.redactor)


def _hints(settings: NodeSettings, guard: MessageGuard) -> ApprovedHints:
    if settings.hints_file is None:
        return _shipped_hints(settings.encoder_path)
    envelope, officer = _signed("hints", settings.hints_file, settings)
    return signed_hints(envelope, officer, guard)


def _replies(settings: NodeSettings, guard: MessageGuard) -> ReplyTexts:
    if settings.replies_file is None:
        return _shipped_replies(settings.encoder_path)
    envelope, officer = _signed("replies", settings.replies_file, settings)
    return signed_replies(envelope, officer, guard)


def _signed(what: str, path: Path, settings: NodeSettings) -> tuple[bytes, VerifyKey]:
    """Return an envelope, and the key of the officer who must have signed it."""
    if settings.officer_key is None:
        raise StartRefused(f"setting {what}_file needs officer_key, whose signature it carries")
    try:
        return path.read_bytes(), parse_key("officer_key", settings.officer_key)
    except OSError as error:
        raise StartRefused(f"{what} {path}: {type(error).__name__}") from error


def _model(
    settings: NodeSettings, connections: ConnectionPolicy, opened: ExitStack
) -> ReplyModel | None:
    if settings.reply_model_url is None:
        return None
    check_local(settings.reply_model_url)
    connections.check_url(settings.reply_model_url)
    key_file = settings.reply_model_key_file
    client = httpx.Client(timeout=LONGEST_S, trust_env=False, follow_redirects=False)
    opened.callback(client.close)
    return ReplyModel(
        url=settings.reply_model_url,
        model=settings.reply_model,
        key=None if key_file is None else read_secret(key_file).decode(errors="replace"),
        client=client,
        monotonic=time.monotonic,
    )


@cache
def _guard(path: Path | None) -> MessageGuard:
    return MessageGuard.load(path)


@cache
def _shipped_hints(path: Path | None) -> ApprovedHints:
    return shipped_hints(_guard(path))


@cache
def _shipped_replies(path: Path | None) -> ReplyTexts:
    return shipped_replies(_guard(path))
