"""Who says nothing, little or too much holds no place of somebody else's."""

from __future__ import annotations

import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import httpx
import pytest
from fastapi import FastAPI, Response

from audit import connections
from audit.connections import HEAD_BYTES, HEAD_S, BoundedSocket, TimedHttp
from audit.serve import Listener
from tests.audit.test_serve import named_app, serving

FIRST_LINES = b"GET / HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Serve an app that waits half a second for a head, with eight places."""
    monkeypatch.setattr(TimedHttp, "head_s", 0.5)
    monkeypatch.setattr("audit.serve.places", lambda _: 8)
    with serving(Listener(app=named_app("quick"))) as (url,):
        yield "127.0.0.1", httpx.URL(url).port or 0


def _ask(address: tuple[str, int]) -> str:
    found: str = httpx.get(f"http://{address[0]}:{address[1]}/", trust_env=False).json()
    return found


def _until_closed(stream: socket.socket) -> bytes:
    """Read to the end; a connection that nobody closes fails by the time limit."""
    stream.settimeout(10)
    said = b""
    while piece := stream.recv(65_536):
        said += piece
    return said


def _is_answered(
    stream: socket.socket, asked: bytes = FIRST_LINES + b"\r\n", last: bytes = b'"quick"'
) -> None:
    """Ask on a connection, and read the answer to its end."""
    stream.settimeout(10)
    stream.sendall(asked)
    said = b""
    while not said.endswith(last):
        piece = stream.recv(65_536)
        assert piece, said
        said += piece


def _refused(stream: socket.socket) -> bool:
    """Ask, and say whether the connection was closed without a word."""
    try:
        stream.sendall(FIRST_LINES + b"\r\n")
        return _until_closed(stream) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True


def _is_let_in(address: tuple[str, int]) -> bool:
    """Ask on a new connection, and say whether an answer begins."""
    with closing(socket.create_connection(address)) as stream:
        try:
            stream.sendall(FIRST_LINES + b"\r\n")
            return stream.recv(1) != b""
        except (ConnectionResetError, BrokenPipeError):
            return False


def _drip(stream: socket.socket, drop: bytes, ended: threading.Event) -> None:
    """Send a drop every twentieth of a second until the other end is gone."""
    while not ended.wait(0.05):
        try:
            stream.sendall(drop)
        except OSError:
            return


@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        (b"", b""),
        (b"", b"\r\n"),
        (b"GET", b""),
        (FIRST_LINES, b"a"),
        (FIRST_LINES, b"X: y\r\n"),
        (FIRST_LINES + b"\r\n", b"\r\n"),
        (FIRST_LINES + b"\r\nGET / HT", b""),
        (b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n", b"a"),
    ],
)
def test_whoever_sends_drop_by_drop_is_closed_and_others_are_served(
    address: tuple[str, int], begun: bytes, drop: bytes
) -> None:
    """Silence, blank lines, half a head, half a second head, half a body that nobody reads."""
    ended = threading.Event()
    with closing(socket.create_connection(address)) as slow:
        slow.sendall(begun)
        dripping = threading.Thread(target=_drip, args=(slow, drop, ended))
        dripping.start()
        try:
            assert _ask(address) == "quick"
            said = _until_closed(slow)
        except ConnectionResetError:
            said = b""
        finally:
            ended.set()
            dripping.join()
    assert said.count(b"HTTP/1.1 ") <= 1


def test_a_head_that_is_whole_in_time_may_wait_long_for_its_answer(
    address: tuple[str, int],
) -> None:
    """Idle between two requests is not slow: the limit is for a head that was begun."""
    with closing(socket.create_connection(address)) as patient:
        for _ in range(2):
            _is_answered(patient)
            time.sleep(TimedHttp.head_s * 1.5)
        early = b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
        _is_answered(patient, early, b"}")
        patient.sendall(b"a")
        time.sleep(TimedHttp.head_s * 1.5)
        _is_answered(patient)


@pytest.mark.parametrize(
    "head",
    [
        FIRST_LINES + b"X: " + b"a" * HEAD_BYTES + b"\r\n\r\n",
        FIRST_LINES + b"X: y\r\n" * (HEAD_BYTES // 5) + b"\r\n",
        b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        FIRST_LINES + b"X: " + b"a" * (HEAD_BYTES + 300_000),
        b"\r\n" * HEAD_BYTES,
    ],
)
def test_a_head_beyond_the_limit_is_refused(address: tuple[str, int], head: bytes) -> None:
    """One long header, many, a long address, one without end: 400, and the connection is over."""
    with closing(socket.create_connection(address)) as stream:
        try:
            stream.sendall(head)
            assert _until_closed(stream).startswith(b"HTTP/1.1 400 ")
        except (ConnectionResetError, BrokenPipeError):
            pass  # closed before all was sent
    assert _ask(address) == "quick"


def test_a_head_of_the_largest_size_is_taken(address: tuple[str, int]) -> None:
    """Large cookies of neighbours on the same host break nothing."""
    with closing(socket.create_connection(address)) as stream:
        stream.sendall(FIRST_LINES + b"Cookie: " + b"a" * (HEAD_BYTES - 200) + b"\r\n\r\n")
        assert stream.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        b"Host: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"Host: a\r\nContent-Length : 4\r\n\r\nabcd",
        b"Host: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"Host: a\r\nX: a\r\n b\r\n\r\n",
        b"Host: a\nX: a\n\n",
        b"Host: a\r\nHost: b\r\n\r\n",
        b"Host: a, b\r\n\r\n",
        b"Host: a/b\r\n\r\n",
        b"Host: b@a\r\n\r\n",
        b"X: a\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 40\r\n\r\n",
        b"Host: a\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(
    address: tuple[str, int], head: bytes
) -> None:
    """Two lengths, folded lines, bare line feeds, hosts, codings, a body behind an upgrade."""
    with closing(socket.create_connection(address)) as stream:
        stream.sendall(b"POST / HTTP/1.1\r\n" + head + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        said = _until_closed(stream)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n",
    ],
)
def test_a_line_that_two_parsers_could_read_in_two_ways_is_refused(
    address: tuple[str, int], line: bytes
) -> None:
    """No version, a coding that the version has not, a tunnel with a body."""
    with closing(socket.create_connection(address)) as stream:
        stream.sendall(line)
        assert _until_closed(stream).startswith(b"HTTP/1.1 400 ")


def test_nothing_behind_an_upgrade_that_we_do_not_make_is_read(address: tuple[str, int]) -> None:
    """The request is answered as it is, and its connection is over: what follows is nobody's."""
    with closing(socket.create_connection(address)) as stream:
        stream.sendall(FIRST_LINES + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        said = stream.recv(65_536)
        with suppress(OSError):
            stream.sendall(FIRST_LINES + b"\r\n")
        with suppress(ConnectionResetError):
            said += _until_closed(stream)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1


def test_one_address_takes_half_the_places_and_gives_them_back(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond them a connection is closed at once, the operator hears of it once, others go on."""
    with caplog.at_level(logging.WARNING, "undertone"), ExitStack() as held:
        for _ in range(4):
            stream = held.enter_context(closing(socket.create_connection(address)))
            _is_answered(stream)
        for _ in range(3):
            with closing(socket.create_connection(address)) as beyond:
                assert _refused(beyond)
        other = socket.create_connection(address, source_address=("127.0.0.2", 0))
        with closing(other):
            _is_answered(other)
    assert caplog.text.count("all places for connections are taken") == 1
    assert _ask(address) == "quick"


def test_all_addresses_together_take_no_more_than_the_places(address: tuple[str, int]) -> None:
    """Many addresses share one limit."""
    with ExitStack() as held:
        for number in range(8):
            source = (f"127.0.1.{1 + number}", 0)
            stream = socket.create_connection(address, source_address=source)
            held.enter_context(closing(stream))
            _is_answered(stream)
        with closing(socket.create_connection(address)) as beyond:
            assert _refused(beyond)


def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for much and reads nothing gives the place back."""
    monkeypatch.setattr(BoundedSocket, "stalled_ms", 500)
    monkeypatch.setattr("audit.serve.places", lambda _: 2)
    app = FastAPI()

    @app.get("/")
    def much() -> Response:
        return Response(b"a" * 40_000_000)

    with serving(Listener(app=app)) as (url,), closing(socket.socket()) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        address = ("127.0.0.1", httpx.URL(url).port or 0)
        stalled.connect(address)
        stalled.sendall(FIRST_LINES + b"\r\n")
        with closing(socket.create_connection(address)) as second:
            assert _refused(second)
        until = time.monotonic() + 20
        while not _is_let_in(address):
            assert time.monotonic() < until, "the place was never given back"


def test_as_many_places_as_the_system_has_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is asked for more files, and what it refuses is lived with."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: asked.append(pair))
    assert connections.places(2) == 384
    assert asked == [(1024, 1024)]


def test_the_limits_are_those_that_the_documents_state() -> None:
    """docs/security.md says 20 s and 32 KiB."""
    assert (HEAD_S, HEAD_BYTES, connections.MOST) == (20.0, 32 * 1024, 2048)
