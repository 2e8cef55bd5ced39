"""Signed webhooks: the operator's systems are told of alerts as they open and end, and corrections.

Each attempt, in this order: 1. is the alert still open? 2. the gate, asked anew: a withdrawal
since, standing that went stale or a stop drops the delivery, and the log says so; 3. the try is
on disk, since what was tried may have arrived; 4. it is sent, signed; 5. what came of it is on
disk and logged. A failure is tried again after a wait that doubles, with some chance in it, until
it is dead and waits for the operator.

What leaves is an action and ids, never a cue (rule 16). `alert.closed` and `correction.made` need
no leave: they say of nobody anything but that what was told is to be taken back, or put right.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx

from audit.errors import EvidenceUnavailable
from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from client_node.alerts import Alert, Alerts, AlertState
from client_node.errors import ConnectionForbidden, TurnInvalid
from client_node.uses.use import AskedUse
from client_node.webhook_outbox import Delivery, DeliveryState, WebhookOutbox, WebhookType
from client_node.webhook_signature import sign
from client_node.webhook_targets import WebhookTarget
from policies.clock import Clock
from policies.errors import PolicyUnavailable, Refused, UndertoneError
from policies.permit import Permit
from policies.vocabulary import Use

MOST_TRIES = 8
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 3_600.0
LOOK_S = 0.5
GONE = frozenset({HTTPStatus.GONE})


def wait_s(tries: int, lot: float) -> float:
    """Return how long to wait after so many tries; `lot` in [0, 1) spreads it by a half."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**tries) * (0.5 + lot / 2)


def admit_asked(alert: Alert) -> AskedUse:
    """Return what the gate was asked when the alert was raised.

    Raises:
        TurnInvalid: The alert rests on no use, so nobody may be told.
    """
    if alert.asked is None:
        raise TurnInvalid("an alert without its use is told to nobody")
    return alert.asked


class Webhooks:
    """Takes alerts, and delivers; `tick` is one round, `start` goes round until `stop`."""

    def __init__(
        self,
        targets: tuple[WebhookTarget, ...],
        *,
        outbox: WebhookOutbox,
        alerts: Alerts,
        ask: Callable[[Alert], Permit],
        log: EvidenceLog,
        clock: Clock,
        lot: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            targets: The operator's; without any nothing is done.
            outbox: Keeps what waits.
            alerts: What is told.
            ask: Asks the gate for leave to tell an alert now; raises `Refused`.
            log: Gets what became of each.
            clock: Unix seconds.
            lot: Gives a number in [0, 1), to spread the waits.
        """
        self._targets = {target.name: target for target in targets}
        self.outbox, self._alerts, self._ask, self._log = outbox, alerts, ask, log
        self._clock, self._lot = clock, lot
        self._open: dict[str, Alert] = {}
        self._watching = ExitStack()
        self._told: queue.Queue[Alert | None] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Watch the alerts; those of before a restart are over."""
        if self._targets and self._told is None:
            for alert in {one.alert for one in self.outbox.raised()}:
                self._over(alert)
            self._told = self._watching.enter_context(self._alerts.watch())

    def start(self) -> None:
        """Deliver in the background until `stop`; without targets there is nothing to do."""
        self.begin()
        if self._targets:
            self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread after the deliveries at hand; what waits, waits on disk."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=15.0)
        self._watching.close()
        for target in self._targets.values():
            target.client.close()

    def tick(self) -> None:
        """Take what was told, and try what is due: targets side by side, each in order."""
        self._take()
        due: dict[str, list[Delivery]] = {}
        for one in self.outbox.due():
            due.setdefault(one.target, []).append(one)
        if due:
            with ThreadPoolExecutor(len(due)) as beside:
                list(beside.map(self._deliver, due.values()))

    def corrected(self, turn: str) -> None:
        """Let the targets be told that a turn was put right, and not to what.

        Raises:
            VaultError: The disk refuses.
        """
        for target in self._targets:
            self.outbox.add(target, WebhookType.CORRECTED, turn)

    def retry(self, delivery: str) -> None:
        """Try a delivery again from the beginning, with the next round.

        Raises:
            DeliveryUnknown: There is none of that name.
        """
        now, state = self._clock(), DeliveryState.WAITING.value
        self.outbox.change(delivery, state=state, tries=1, next_at=now, reason=None)

    def drop(self, delivery: str) -> None:
        """Give a delivery up for good.

        Raises:
            DeliveryUnknown: There is none of that name.
        """
        self._drop(self.outbox.find(delivery), "operator")

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.tick()
            except UndertoneError:
                continue  # disk or log refuse: it is all on disk, and tried again

    def _take(self) -> None:
        while self._told is not None:
            try:
                alert = self._told.get_nowait()
            except queue.Empty:
                return
            if alert is None:  # behind: look again from what is open
                self._watching.close()
                self._told = self._watching.enter_context(self._alerts.watch())
            elif alert.state is AlertState.RAISED:
                self._open[alert.alert] = alert
                for target in self._targets:
                    self.outbox.add(target, WebhookType.RAISED, alert.alert)
            else:
                self._over(alert.alert)

    def _over(self, alert: str) -> None:
        """Drop what was to be told of an alert, and take back what may have arrived."""
        self._open.pop(alert, None)
        for one in self.outbox.about(alert):
            if one.tries:
                self.outbox.add(one.target, WebhookType.CLOSED, alert)
            if one.state is DeliveryState.DELIVERED:
                self.outbox.remove(one.delivery)
            else:
                self._drop(one, "over")

    def _deliver(self, due: list[Delivery]) -> None:
        """Try a target's deliveries in order, until one fails."""
        for one in due:
            target = self._targets.get(one.target)
            if target is None:
                self._drop(one, "no-target")
            elif not self._try(one, target):
                return

    def _try(self, one: Delivery, target: WebhookTarget) -> bool:
        alert, permit = self._open.get(one.alert), None
        if one.type is WebhookType.RAISED:
            if alert is None:
                self._over(one.alert)  # 1
                return True
            try:
                permit = self._ask(alert)  # 2
            except Refused as error:
                self._refused(one, error)
                return True
            except (PolicyUnavailable, EvidenceUnavailable):
                return False
        self.outbox.change(one.delivery, tries=one.tries + 1)  # 3
        reason = self._send(one, target, self._body(one, alert, permit))  # 4
        return self._note(one, reason, permit)  # 5

    def _refused(self, one: Delivery, error: Refused) -> None:
        if one.tries:
            self.outbox.add(one.target, WebhookType.CLOSED, one.alert)
        self._drop(one, "refused", decision_id=error.decision.decision_id)

    def _body(self, one: Delivery, alert: Alert | None, permit: Permit | None) -> bytes:
        name = "turn" if one.type is WebhookType.CORRECTED else "alert"
        data: dict[str, Any] = {name: one.alert}
        if alert is not None and permit is not None:
            data |= {
                "conversation": alert.conversation,
                "use": Use.AGENT_HINT.value,
                "raised_at": alert.raised_at,
                "decision": permit.decision_id,
            }
        at = datetime.fromtimestamp(one.created_at, UTC).isoformat()
        return json.dumps({"type": one.type.value, "timestamp": at, "data": data}).encode()

    def _send(self, one: Delivery, target: WebhookTarget, body: bytes) -> str | None:
        """Return None where it arrived, else why not; what the answer says is not read."""
        headers = sign(target.secrets, name=one.delivery, at=int(self._clock()), body=body)
        headers["content-type"] = "application/json"
        try:
            with target.client.stream("POST", target.url, content=body, headers=headers) as answer:
                return None if answer.is_success else f"status-{answer.status_code}"
        except (httpx.HTTPError, ConnectionForbidden) as error:
            return type(error).__name__

    def _note(self, one: Delivery, reason: str | None, permit: Permit | None) -> bool:
        decided = {} if permit is None else {"decision_id": permit.decision_id}
        if reason is None:
            if one.type is not WebhookType.RAISED:
                self.outbox.remove(one.delivery)
            else:
                self.outbox.change(one.delivery, state=DeliveryState.DELIVERED.value, reason=None)
            self._record(one, "delivered", **decided)
            return True
        tries = one.tries + 1
        if tries >= MOST_TRIES or reason in {f"status-{status}" for status in GONE}:
            self.outbox.change(one.delivery, state=DeliveryState.DEAD.value, reason=reason)
            self._record(one, "dead", reason=reason, **decided)
        else:
            next_at = self._clock() + wait_s(tries, self._lot())
            self.outbox.change(one.delivery, next_at=next_at, reason=reason)
        return False

    def _drop(self, one: Delivery, reason: str, **more: Value) -> None:
        self.outbox.remove(one.delivery)
        self._record(one, "dropped", reason=reason, **more)

    def _record(self, one: Delivery, step: str, **more: Value) -> None:
        fields: dict[str, Value] = {"delivery": one.delivery, "target": one.target, "step": step}
        event = Event(kind=EventKind.WEBHOOK_STEP, at=self._clock(), fields=fields | more)
        self._log.append(event)
