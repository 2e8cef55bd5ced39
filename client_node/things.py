"""What things around a customer tell: context of a conversation, in memory, and never an emotion.

A closed list of kinds, each with its unit and range. No kind identifies anybody, and nothing here
reads a feeling out of a heart rate or a tap: no such reader is built, and until one is, an event
says what a device said and no more. Events go with the conversation's pause and session, and with
the person's withdrawal, as courses do (`client_node.conversations`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from client_node.alerts import Place
from client_node.errors import Overloaded, TurnInvalid
from client_node.vault import SESSION_S
from policies.law import LAW
from policies.permit import Permit
from policies.vocabulary import Action, Modality, Purpose

MOST_EVENTS = 64
"""Kept of one conversation: beyond it the earliest goes."""
MOST_A_MINUTE = 30
MOST_PLACES = 5_000
SAYS = "context as a device told it; no emotion is read from it"


class Device(StrEnum):
    """What kind of thing speaks."""

    KIOSK = "kiosk"
    APPLIANCE = "appliance"
    AR_VIEWER = "ar_viewer"
    WEARABLE = "wearable"


class Kind(StrEnum):
    """What it tells; a closed list, in which nothing tells who somebody is."""

    ERROR_COUNT = "error_count"
    WAITED = "waited"
    BATTERY = "battery"
    AMBIENT_NOISE = "ambient_noise"
    GUIDE_STEP = "guide_step"
    HEART_RATE = "heart_rate"
    STEP_COUNT = "step_count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The unit of a kind, its smallest and largest value, and which devices tell it."""

    unit: str
    low: float
    high: float
    devices: frozenset[Device]


RANGES = {
    Kind.ERROR_COUNT: Range(unit="1", low=0, high=10_000, devices=frozenset(Device)),
    Kind.WAITED: Range(unit="s", low=0, high=86_400, devices=frozenset({Device.KIOSK})),
    Kind.BATTERY: Range(unit="%", low=0, high=100, devices=frozenset(Device)),
    Kind.AMBIENT_NOISE: Range(unit="dB", low=0, high=140, devices=frozenset({Device.KIOSK})),
    Kind.GUIDE_STEP: Range(unit="1", low=0, high=1_000, devices=frozenset({Device.AR_VIEWER})),
    Kind.HEART_RATE: Range(unit="1/min", low=20, high=250, devices=frozenset({Device.WEARABLE})),
    Kind.STEP_COUNT: Range(unit="1", low=0, high=200_000, devices=frozenset({Device.WEARABLE})),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingEvent:
    """One event; `event` is its sender's id of it, `at` a Unix second by its device."""

    event: str
    device: Device
    kind: Kind
    value: float
    at: int


def check_event(event: ThingEvent, *, now: float) -> None:
    """Return if an event is one that may be asked about.

    Raises:
        TurnInvalid: Its value, device or time is out of range.
    """
    allowed = RANGES[event.kind]
    if event.device not in allowed.devices:
        raise TurnInvalid(f"{event.kind.value} is not told by a device of that kind")
    if not allowed.low <= event.value <= allowed.high:
        raise TurnInvalid(
            f"{event.kind.value} lies in [{allowed.low:g}, {allowed.high:g}] {allowed.unit}"
        )
    if event.at > now + LAW.clocks.clock_skew_s:
        raise TurnInvalid("the event is from the future: set the device's clock")
    if event.at < now - SESSION_S:
        raise TurnInvalid("the event is older than a session: it is not kept")


@dataclass(slots=True)
class _Kept:
    came: list[float]
    events: dict[str, ThingEvent]


class Things:
    """Keeps events by conversation; thread-safe. Whoever calls has checked withdrawal."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._kept: dict[Place, _Kept] = {}

    def add(self, place: Place, event: ThingEvent, *, permit: Permit, now: float) -> bool:
        """Keep an event in its place in time; False where it is known already.

        Raises:
            PermitInvalid: Not a permit to keep this person's signals for service now.
            Overloaded: Too many within a minute.
        """
        _cover(permit, Action.STORE, place, now)
        with self._lock:
            kept = self._kept.setdefault(place, _Kept(came=[], events={}))
            if event.event in kept.events:
                return False
            kept.came = [at for at in kept.came if at > now - 60]
            if len(kept.came) >= MOST_A_MINUTE:
                raise Overloaded(f"at most {MOST_A_MINUTE} events a minute of one conversation")
            kept.came.append(now)
            kept.events[event.event] = event
            ordered = sorted(kept.events.values(), key=lambda one: one.at)[-MOST_EVENTS:]
            kept.events = {one.event: one for one in ordered}
            if len(self._kept) > MOST_PLACES:
                del self._kept[next(iter(self._kept))]
        return True

    def told(self, place: Place, *, permit: Permit, now: float) -> tuple[ThingEvent, ...]:
        """Return the session's events of a conversation, in the order of their times.

        Raises:
            PermitInvalid: Not a permit to read this person's signals for service now.
        """
        _cover(permit, Action.INFER, place, now)
        with self._lock:
            kept = self._kept.get(place)
            events = () if kept is None else tuple(kept.events.values())
        return tuple(event for event in events if event.at >= now - SESSION_S)

    def drop(self, gone: Callable[[Place], bool]) -> None:
        """Drop what is kept at these places."""
        with self._lock:
            self._kept = {place: kept for place, kept in self._kept.items() if not gone(place)}

    def expire(self, *, now: float, pause_s: float) -> None:
        """Drop what no event came to for so long."""
        with self._lock:
            self._kept = {
                place: kept
                for place, kept in self._kept.items()
                if kept.came and kept.came[-1] > now - pause_s
            }


def event_to_dict(event: ThingEvent) -> dict[str, Any]:
    """Return an event as JSON values, with what it is not."""
    return {
        "event": event.event,
        "device": event.device.value,
        "kind": event.kind.value,
        "value": event.value,
        "unit": RANGES[event.kind].unit,
        "at": event.at,
        "says": SAYS,
    }


def _cover(permit: Permit, action: Action, place: Place, now: float) -> None:
    permit.cover(action=action, purpose=Purpose.SERVICE, subject=place[0], now=now)
    if permit.modality is not Modality.SIGNALS:
        raise TurnInvalid("the permit is for another modality: ask the gate for signals")
