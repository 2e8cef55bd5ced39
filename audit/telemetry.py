"""Traces with an allow-list: what a span may say is a closed set of names and short words.

No body, no text, no exception message. An attribute outside the list raises at the call, in
production too: a leak is a defect to be seen in the first test that runs the line, not one
to be dropped quietly. Nothing is exported unless `configure` was given an exporter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer

from audit.errors import AttributeNotAllowed

ALLOWED = frozenset(
    {
        "action",
        "allowed",
        "count",
        "decision_id",
        "modality",
        "node",
        "policy_digest",
        "purpose",
        "release",
        "round",
        "rule",
        "run",
        "seconds",
        "sequence",
        "size_bytes",
        "state",
        "status_code",
        "use",
    }
)
"""Every attribute a span may have; none can hold what a person said or who they are."""

_WORD = re.compile(r"[A-Za-z0-9._:/-]{0,80}")
_TRACER = "undertone"


class _Telemetry:
    """The tracer in use; one for each process, none until configured."""

    tracer: Tracer | None = None
    provider: TracerProvider | None = None


def configure(service_name: str, *, exporter: SpanExporter | None = None) -> None:
    """Begin tracing for this process; without an exporter, stop it.

    The resource is the service's name alone: no host, no environment, no command line.

    Raises:
        AttributeNotAllowed: The service's name is not one short word.
    """
    _check_word("service_name", service_name)
    if _Telemetry.provider is not None:
        _Telemetry.provider.shutdown()
    if exporter is None:
        _Telemetry.tracer = _Telemetry.provider = None
        return
    provider = TracerProvider(
        resource=Resource({"service.name": service_name}), shutdown_on_exit=False
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _Telemetry.tracer, _Telemetry.provider = provider.get_tracer(_TRACER), provider


@contextmanager
def span(name: str, **attributes: str | float | bool | None) -> Iterator[None]:
    """Trace a block; an error in it is recorded by type and passes on.

    Raises:
        AttributeNotAllowed: A name outside `ALLOWED`, or a value that is not a word or number.
    """
    _check_word("span name", name)
    given = {key: value for key, value in attributes.items() if value is not None}
    for key, value in given.items():
        _check(key, value)
    if _Telemetry.tracer is None:
        yield
        return
    with _Telemetry.tracer.start_as_current_span(
        name, attributes=given, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(Status(StatusCode.ERROR))
            raise


def _check(key: str, value: str | float | bool) -> None:  # noqa: FBT001 (a span's own value)
    if key not in ALLOWED:
        raise AttributeNotAllowed(f"telemetry attribute {key[:40]!r} is not on the allow-list")
    if isinstance(value, str):
        _check_word(key, value)
    elif not math.isfinite(value):
        raise AttributeNotAllowed(f"telemetry attribute {key!r} is not a finite number")


def _check_word(what: str, value: str) -> None:
    if not _WORD.fullmatch(value):
        raise AttributeNotAllowed(f"telemetry {what} must be one word of at most 80 characters")
