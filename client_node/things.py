"""What things around a customer tell: a closed list of kinds, and never an emotion.

Each kind has its unit, its range and the devices that tell it. No kind identifies anybody, and
nothing here reads a feeling out of a heart rate or a tap: no such reader is built, and until one
is, an event says what a device said and no more. Pure; `client_node.thing_store` keeps events and
`client_node.uses.context` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from client_node.errors import TurnInvalid
from client_node.vault import SESSION_S
from policies.law import LAW

EXPRESSED = "expressed nothing"
"""What a thing's event is as a cue: none."""


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


def event_to_dict(event: ThingEvent) -> dict[str, Any]:
    """Return an event as JSON values, with what it is not."""
    unit = RANGES[event.kind].unit
    return {
        "event": event.event,
        "device": event.device.value,
        "kind": event.kind.value,
        "value": event.value,
        "unit": unit,
        "at": event.at,
        "says": f"{EXPRESSED}; {_a(event.device)} reported {_told(event)}",
    }


def _a(device: Device) -> str:
    name = device.value.replace("_", " ")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _told(event: ThingEvent) -> str:
    unit = RANGES[event.kind].unit
    amount = f"{event.value:g}" + ("" if unit == "1" else f" {unit}")
    return f"{event.kind.value.replace('_', ' ')}: {amount}"
