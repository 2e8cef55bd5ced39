"""Telemetry: an allow-list that raises, and errors by type only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from audit.errors import AttributeNotAllowed
from audit.telemetry import configure, span


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Return what collects spans in memory."""
    memory = InMemorySpanExporter()
    configure("undertone-node", exporter=memory)
    yield memory
    configure("undertone-node")


def test_telemetry_exports_what_is_allowed(exporter: InMemorySpanExporter) -> None:
    """Allowed attributes arrive; the resource is the service's name and nothing else."""
    with span("gate.open", action="infer", allowed=True, seconds=0.5, rule=None):
        pass
    (found,) = exporter.get_finished_spans()
    assert dict(found.attributes or {}) == {"action": "infer", "allowed": True, "seconds": 0.5}
    assert dict(found.resource.attributes) == {"service.name": "undertone-node"}


def _fail_inside() -> None:
    with span("redact"):
        raise ValueError("Ann Miller said this")


def test_telemetry_records_an_error_by_type_only(exporter: InMemorySpanExporter) -> None:
    """A third party's message never reaches a span."""
    with pytest.raises(ValueError, match="Ann"):
        _fail_inside()
    (found,) = exporter.get_finished_spans()
    assert dict(found.attributes or {}) == {"error.type": "ValueError"}
    assert "Ann" not in found.to_json()


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize(
    "attributes",
    [
        {"text": "hello"},
        {"subject": "1f1f"},
        {"state": "two words"},
        {"state": "x" * 81},
        {"seconds": float("nan")},
    ],
)
def test_telemetry_outside_the_list_raises_even_when_off(
    attributes: dict[str, Any], *, on: bool
) -> None:
    """What is not allowed raises at the call, exported or not."""
    configure("undertone-node", exporter=InMemorySpanExporter() if on else None)
    with pytest.raises(AttributeNotAllowed) as caught, span("gate.open", **attributes):
        pass
    assert "hello" not in str(caught.value)
    with pytest.raises(AttributeNotAllowed), span("a name with words"):
        pass
    configure("undertone-node")
