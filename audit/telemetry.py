"""Traces with an allow-list: what a span may say is a closed set of names and short words.

No body, no text, no exception message. An attribute outside the list raises at the call, in
production too: a leak is a defect to be seen in the first test that runs the line, not one
to be dropped quietly. Nothing is exported unless `configure` was given an exporter.

While traces are exported, an entry of the log carries the id of the trace in which it was made.
Each request begins a trace of its own: a `traceparent` that came with it becomes a link of the
span, and is never continued. A caller who sends one trace for a whole conversation so cannot tie
that conversation's entries to one another in a log that others read. A trace id links no more of a
person than entries of one request have in common anyway: the second, their places side by side,
and the decision's id that they cite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from audit.errors import AttributeNotAllowed
from audit.trace_context import current_trace

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
        "route",
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
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_TRACER = "undertone"
_LONGEST = 12
"""Letters of a method; a longer one is none of HTTP's."""


class _Telemetry:
    """The tracer in use; one for each process, none until configured."""

    tracer: Tracer | None = None
    provider: TracerProvider | None = None


def configure(
    service_name: str, *, exporter: SpanExporter | None = None, in_background: bool = False
) -> None:
    """Begin tracing for this process; without an exporter, stop it.

    In the background spans are exported by a thread, for an exporter that may take its time.

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
    processor = BatchSpanProcessor if in_background else SimpleSpanProcessor
    provider.add_span_processor(processor(exporter))
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
    with _begun(_Telemetry.tracer, name, given):
        yield


@dataclass(slots=True)
class Answered:
    """What is known of a request once it was answered, and the header that tells its trace."""

    status_code: int = 0
    route: str = ""
    traceresponse: str | None = None


@contextmanager
def request_span(method: str, traceparent: str | None) -> Iterator[Answered]:
    """Trace a request in a trace of its own, linked to the one that its caller named.

    The caller finds it by `traceresponse` (W3C Trace Context, level 2). Of the path only the
    route's pattern is told: a path can name people.
    """
    answered = Answered()
    if _Telemetry.tracer is None:
        yield answered
        return
    caller = _caller(traceparent)
    links = [] if caller is None else [Link(caller)]
    name = f"http.{method.lower()}" if method.isalpha() and len(method) < _LONGEST else "http"
    with _begun(_Telemetry.tracer, name, {}, links=links, root=True) as current:
        context = current.get_span_context()
        trace, span_id = format(context.trace_id, "032x"), format(context.span_id, "016x")
        answered.traceresponse = f"00-{trace}-{span_id}-01"
        yield answered
        current.set_attribute("status_code", answered.status_code)
        route = answered.route.replace("{", ":").replace("}", "")
        if _WORD.fullmatch(route):
            current.set_attribute("route", route)


@contextmanager
def _begun(
    tracer: Tracer,
    name: str,
    attributes: Mapping[str, str | float | bool],
    *,
    links: Sequence[Link] = (),
    root: bool = False,
) -> Iterator[Span]:
    """Trace a block, and let what is recorded in it know its trace."""
    with tracer.start_as_current_span(
        name,
        context=Context() if root else None,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        token = current_trace.set(format(current.get_span_context().trace_id, "032x"))
        try:
            yield current
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            current_trace.reset(token)


def _caller(traceparent: str | None) -> SpanContext | None:
    """Return the span that a header names; None if it is none (W3C Trace Context, 3.2.2)."""
    found = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    context = SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(0)
    )
    return context if context.is_valid else None


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
