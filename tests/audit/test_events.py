"""Events: a closed set that cannot carry what a person said."""

from __future__ import annotations

from typing import Any

import pytest

from audit.errors import EventInvalid
from audit.events import SHAPES, Event, EventKind, event_from_dict, event_to_dict

FIELDS: dict[str, Any] = {"sequence": 1, "envelope_digest": "a" * 64}


def test_every_kind_has_its_fields() -> None:
    """No kind is without a row in the table of fields."""
    assert set(SHAPES) == set(EventKind)


@pytest.mark.parametrize("kind", EventKind)
def test_event_of_every_kind_survives_the_round_trip(kind: EventKind) -> None:
    """An event with all its fields comes back equal."""
    shape = SHAPES[kind]
    event = Event(kind=kind, at=1.5, fields=dict.fromkeys(shape.required | shape.optional, "x"))
    assert event_from_dict(event_to_dict(event)) == event


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS | {"text": "x"},
        {"sequence": 1},
        FIELDS | {"sequence": "I am so angry"},
        FIELDS | {"sequence": "ann\nbob"},
        FIELDS | {"sequence": "x" * 257},
        FIELDS | {"sequence": ["two words"]},
        FIELDS | {"sequence": {"a": 1}},
        FIELDS | {"sequence": b"x"},
        FIELDS | {"sequence": float("nan")},
        FIELDS | {"sequence": 2**60},
    ],
)
def test_event_with_content_or_unknown_fields_is_refused(fields: dict[str, Any]) -> None:
    """Unknown or missing fields, sentences and nested values are no event."""
    with pytest.raises(EventInvalid) as caught:
        Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=fields)
    assert "angry" not in str(caught.value)


def test_event_refusal_does_not_quote_a_hostile_field_name() -> None:
    """Not even the name of an unknown field is repeated when it is not a word."""
    with pytest.raises(EventInvalid) as caught:
        Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=FIELDS | {"Ann said": 1})
    assert "Ann" not in str(caught.value)


def test_event_cannot_be_changed_after_its_check() -> None:
    """The fields are a frozen copy."""
    given = dict(FIELDS)
    event = Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=given)
    given["sequence"] = "not this"
    assert event.fields["sequence"] == 1
    with pytest.raises(TypeError):
        event.fields["sequence"] = 2  # type: ignore[index]


@pytest.mark.parametrize("number", [2**53, -(2**53), 1e18, float(2**53)])
def test_event_with_a_number_that_no_reader_takes_back_is_refused(number: float) -> None:
    """What canonical JSON cannot keep, or writes so that it reads as too large, is not recorded."""
    with pytest.raises(EventInvalid):
        Event(kind=EventKind.STOP_SET, at=1.0, fields={"stopped": number, "by": "x"})
    with pytest.raises(EventInvalid):
        Event(kind=EventKind.STOP_SET, at=number, fields={"stopped": True, "by": "x"})
