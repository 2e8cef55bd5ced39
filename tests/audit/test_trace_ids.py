"""An entry is tied to its trace, nobody to another entry by it, and no trace says who or what."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from audit import telemetry
from audit.errors import EventInvalid
from audit.events import Event, EventKind, Value
from audit.export_spans import start_telemetry
from audit.http import BodyLimit, TraceRequests, install_error_handlers
from audit.leaf import decode_leaf, encode_leaf
from audit.log import Draft, EvidenceLog
from audit.settings import ServiceSettings, Telemetry
from audit.trace_context import current_trace

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{CALLER}-00f067aa0ba902b7-01"
CANARY = "ann.miller"
MakeEvent = Callable[[int], Event]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Return what collects spans in memory."""
    memory = InMemorySpanExporter()
    telemetry.configure("undertone-node", exporter=memory)
    yield memory
    telemetry.configure("undertone-node")


@pytest.fixture
def client(log: EvidenceLog, event: MakeEvent) -> TestClient:
    """Return a service that records two entries for each request, in a thread of the pool."""
    app = FastAPI()
    install_error_handlers(app, {})
    app.add_middleware(BodyLimit, limit_bytes=1000)
    app.add_middleware(TraceRequests)

    @app.post("/people/{name}/turns")
    def turns(name: str, said: dict[str, Any], x: Annotated[str, Header()] = "") -> int:
        del name, said, x
        log.append(event(1))
        return log.append(event(2))

    @app.post("/broken/{name}")
    def broken(name: str) -> None:
        raise ValueError(f"{name} said {CANARY}")

    return TestClient(app)


def say(client: TestClient, **headers: str) -> Any:
    """Send a request whose every part holds the canary."""
    return client.post(
        f"/people/{CANARY}/turns?who={CANARY}",
        json={"text": CANARY},
        headers={"x": CANARY, "tracestate": f"a={CANARY}", "baggage": f"who={CANARY}"} | headers,
    )


def test_entry_has_the_id_of_the_trace_in_which_it_was_made(
    log: EvidenceLog, client: TestClient, spans: InMemorySpanExporter
) -> None:
    """Both entries of a request name its trace, which the answer names too; old ones none."""
    answer = say(client, traceparent=PARENT)
    (span,) = spans.get_finished_spans()
    trace = format(span.context.trace_id, "032x")
    assert {entry.event.fields["trace_id"] for entry in log.entries(0, 9)} == {trace}
    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-01", answer.headers["traceresponse"])
    assert dict(span.attributes or {}) == {"status_code": 200, "route": "/people/:name/turns"}
    assert current_trace.get() is None


def test_callers_trace_is_a_link_and_ties_no_two_requests(
    log: EvidenceLog, client: TestClient, spans: InMemorySpanExporter
) -> None:
    """A caller's one trace for a conversation is in no entry; each request has its own."""
    for _ in range(3):
        say(client, traceparent=PARENT)
    links = [link.context for span in spans.get_finished_spans() for link in span.links]
    assert [format(link.trace_id, "032x") for link in links] == [CALLER] * 3
    traces = [entry.event.fields["trace_id"] for entry in log.entries(0, 9)]
    assert len(set(traces)) == 3
    assert not any(CALLER.encode() in entry.leaf for entry in log.entries(0, 9))


@pytest.mark.parametrize(
    "header",
    [
        CANARY,
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{CALLER}-{'0' * 16}-01",
        f"ff-{CALLER}-00f067aa0ba902b7-01",
        f"00-{CALLER.upper()}-00f067aa0ba902b7-01",
        f"{PARENT}-{CANARY}",
    ],
)
def test_traceparent_that_is_none_is_left_alone(
    client: TestClient, spans: InMemorySpanExporter, header: str
) -> None:
    """A malformed header changes no answer and reaches no span."""
    assert say(client, traceparent=header).status_code == 200
    (span,) = spans.get_finished_spans()
    assert list(span.links) == []


def test_no_span_says_who_or_what(client: TestClient, spans: InMemorySpanExporter) -> None:
    """A canary in path, query, body and every header, and in an error, is in no span."""
    say(client, traceparent=PARENT)
    assert client.post(f"/broken/{CANARY}").status_code == 500
    assert client.post(f"/{CANARY}").status_code == 404
    assert client.request("ANNMILLER" * 3, "/people/x/turns").status_code == 405
    found = spans.get_finished_spans()
    assert len(found) == 4
    for span in found:
        assert CANARY not in span.to_json()
        assert "MILLER" not in span.to_json()


def test_entries_have_no_trace_where_none_is_exported(log: EvidenceLog, client: TestClient) -> None:
    """Off, the default: no id, no header, and an event has the bytes it always had."""
    answer = say(client, traceparent=PARENT)
    assert "traceresponse" not in answer.headers
    assert not any(b"trace" in entry.leaf for entry in log.entries(0, 9))
    fields: dict[str, Value] = {"sequence": 1, "envelope_digest": "a"}
    old = (
        b'{"at":1,"commitment":null,"fields":{"envelope_digest":"a","sequence":1},'
        b'"kind":"standing-applied","v":1}'
    )
    made = Event(kind=EventKind.STANDING_APPLIED, at=1, fields=fields)
    assert encode_leaf(made, None) == old
    assert decode_leaf(old)[0] == made


@pytest.mark.parametrize("wrong", ["", "0" * 32, "a" * 31, "A" * 32, None, 7, [CALLER]])
def test_trace_id_is_checked(wrong: Value) -> None:
    """Only 32 lower-case hexadecimal digits, not all zero, tie an event to a trace."""
    fields: dict[str, Value] = {"sequence": 1, "envelope_digest": "a"}
    Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=fields | {"trace_id": CALLER})
    with pytest.raises(EventInvalid) as caught:
        Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=fields | {"trace_id": wrong})
    assert caught.value.field == "trace_id"


def test_same_submission_in_another_trace_is_the_same(
    log: EvidenceLog, event: MakeEvent, spans: InMemorySpanExporter
) -> None:
    """What is submitted again was asked in another request, and has the place it had."""
    places = []
    for _ in range(2):
        with telemetry.span("turn"):
            places.append(log.append_many([Draft(event(1))], submission="s"))
    assert places == [range(1), range(1)]
    assert len(spans.get_finished_spans()) == 2


class Settings(ServiceSettings):
    """A service's settings."""


def test_console_exports_a_line_a_span(capsys: pytest.CaptureFixture[str]) -> None:
    """`console` writes JSON lines to stderr; `off`, the default, nothing."""
    for settings in (Settings(telemetry=Telemetry.CONSOLE), Settings()):
        start_telemetry("undertone-trust", settings)
        with telemetry.span("use", count=1):
            pass
    telemetry.configure("undertone-trust")
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert json.loads(line)["attributes"] == {"count": 1}


def test_otlp_sends_spans_to_a_collector() -> None:
    """A real collector's protocol: the span arrives, with the service's name and nothing else."""
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with closing(_served(Collector)) as server:
        url = f"http://127.0.0.1:{server.port}/v1/traces"
        start_telemetry("undertone-trust", Settings(telemetry=Telemetry.OTLP, telemetry_url=url))
        with telemetry.span("use", count=1):
            pass
        telemetry.configure("undertone-trust")  # ends it, and sends what is left
    (resource,) = ExportTraceServiceRequest.FromString(got[0]).resource_spans
    named = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert named == {"service.name": "undertone-trust"}
    assert [span.name for span in resource.scope_spans[0].spans] == ["use"]


class _served:  # noqa: N801 (used as a function)
    """A server on a free port, in a thread, until closed."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = HTTPServer(("127.0.0.1", 0), handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_three_services_begin_telemetry_when_they_serve() -> None:
    """Each command that serves starts it under the service's own name."""
    for package in ("consent", "client_node", "coordinator"):
        text = (Path(__file__).parents[2] / package / "cli.py").read_text("utf-8")
        assert len(re.findall(r'start_telemetry\("undertone-[a-z]+", loaded\)', text)) == 1
