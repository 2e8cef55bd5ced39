"""Where a service sends its traces: nowhere unless its settings say so."""

from __future__ import annotations

import sys

from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from audit.settings import ServiceSettings, Telemetry
from audit.telemetry import configure


def start_telemetry(service_name: str, settings: ServiceSettings) -> None:
    """Begin tracing as the settings say; with `off`, the default, nothing is traced.

    Raises:
        AttributeNotAllowed: The service's name is not one short word.
    """
    exporter: SpanExporter | None = None
    if settings.telemetry is Telemetry.CONSOLE:
        exporter = ConsoleSpanExporter(
            out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n"
        )
    elif settings.telemetry is Telemetry.OTLP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,  # costs every start a twentieth, and few send traces
        )

        exporter = OTLPSpanExporter(endpoint=settings.telemetry_url, timeout=5)
    configure(service_name, exporter=exporter, in_background=settings.telemetry is Telemetry.OTLP)
