"""The node's socket: the same answers, keys and limits as over HTTP, in order, bounded, clean."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from audit.wrong_attempts import FREE_OF_ADDRESS
from client_node.api import MAX_BODY_BYTES
from client_node.errors import NodeProblem
from client_node.socket_api import BEHIND, MOST_UNDER_WAY, MOST_UNSENT, Answered, Connection
from client_node.socket_client import NodeSocket
from tests.client_node.conftest import API_KEY
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, served

SAID = {"customer": CUSTOMER, "conversation": "c1", "text": "it is late again"}


def opened(url: str, key: str = API_KEY) -> ClientConnection:
    """Open a connection with a real client."""
    headers = {"Authorization": f"Bearer {key}"}
    where = url.replace("http", "ws", 1) + "/v1/socket"
    return connect(where, additional_headers=headers, compression=None, proxy=None)


def ask(socket: ClientConnection, key: str, **changed: Any) -> dict[str, Any]:
    """Send a turn and return what comes next."""
    socket.send(json.dumps({"type": "turn", "id": key, "body": SAID | changed}))
    return dict(json.loads(socket.recv(30)))


def test_turn_is_answered_once_by_whichever_way_it_comes(world: Any) -> None:
    """The same key over the socket and over HTTP is one turn; another body is refused."""
    node = angry_node(world, *HELP)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with served(node) as url, opened(url) as socket:
        first = ask(socket, "k1")
        size = node.log.size
        again = ask(socket, "k1")
        with httpx.Client(base_url=url, headers=headers) as http:
            other = http.post("/v1/turns", json=SAID, headers={"Idempotency-Key": "k1"})
        wrong = ask(socket, "k1", text="something else")
    assert (first["type"], first["status"], first["replayed"]) == ("answer", 200, False)
    assert first["body"]["answer"] == "reading"
    assert again["replayed"] is True
    assert first["body"] == again["body"] == other.json()
    assert node.log.size == size
    assert (wrong["type"], wrong["status"]) == ("problem", 422)


def test_socket_needs_the_key(world: Any) -> None:
    """Without a valid key nothing is read, and the closing says what to send."""
    node = angry_node(world, *HELP)
    size = node.log.size
    with served(node) as url:
        with opened(url, "wrong") as socket, pytest.raises(ConnectionClosed) as closed:
            ask(socket, "k")
        with (
            NodeSocket(url=url.replace("http", "ws", 1), key="wrong") as client,
            pytest.raises(NodeProblem, match="send a valid API key"),
        ):
            client.turn(**SAID)
        for _ in range(FREE_OF_ADDRESS):
            node.keys.attempts.wrong("127.0.0.1", "another key")
        with opened(url, "wrong") as socket, pytest.raises(ConnectionClosed) as slowed:
            ask(socket, "k")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert slowed.value.rcvd is not None
    assert slowed.value.rcvd.code == 1013
    assert node.log.size == size


def test_bad_messages_are_one_clear_problem_each(world: Any) -> None:
    """What is no message of ours is refused without a word of it; the connection goes on."""
    node = angry_node(world, *HELP)
    bad = [
        "secret words",
        "[" * 30_000,
        "[]",
        '{"type": "turn"}',
        '{"type": "erase", "id": "k", "body": {}}',
        '{"type": "turn", "id": "", "body": {}}',
        '{"type": "turn", "id": "a\\nb", "body": {}}',
    ]
    with served(node) as url, opened(url) as socket:
        for text in bad:
            socket.send(text)
            said = json.loads(socket.recv(30))
            assert (said["type"], said["id"], said["status"]) == ("problem", None, 422)
            assert "secret" not in json.dumps(said)
        assert ask(socket, "k", text="")["status"] == 422
        assert ask(socket, "k2")["type"] == "answer"


@pytest.mark.parametrize(("sent", "code"), [(b"bytes", 1003), ("x" * (MAX_BODY_BYTES + 1), 1009)])
def test_what_cannot_be_read_closes_with_its_code(world: Any, sent: Any, code: int) -> None:
    """Bytes, and a message that is too large."""
    node = angry_node(world, *HELP)
    with served(node) as url, opened(url) as socket:
        socket.send(sent)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


def test_crowded_node_says_when_to_come_again(world: Any) -> None:
    """Back-pressure is the one of HTTP, and the client waits and asks again under its key."""
    node = angry_node(world, *HELP, most_turns=1)
    waits: list[float] = []
    with served(node) as url, ExitStack() as held:
        held.enter_context(node.room.load.admit())

        def wait(seconds: float) -> None:
            waits.append(seconds)
            held.close()

        with NodeSocket(url=url.replace("http", "ws", 1), key=API_KEY, pause=wait) as socket:
            assert socket.turn(**SAID)["answer"] == "reading"
    assert waits == [1.0]


def test_alerts_come_on_the_same_connection(world: Any) -> None:
    """After `watch` what is open comes first; answers and alerts are told apart."""
    node = angry_node(world, *HELP)
    with (
        served(node) as url,
        NodeSocket(url=url.replace("http", "ws", 1), key=API_KEY, watching=True) as socket,
    ):
        answer = socket.turn(**SAID)
        alert = next(socket.alerts())
        assert socket.correct(answer["turn"], None)["turn"] == answer["turn"]
        assert next(socket.alerts())["state"] == "ended"
    assert (alert["state"], alert["alert"]) == ("raised", answer["alert"]["alert"])  # type: ignore[typeddict-item]


def test_node_that_stops_closes_with_its_code(world: Any) -> None:
    """1012: come again; nothing waits for a grace to be over."""
    node = angry_node(world, *HELP)
    with ExitStack() as running:
        url = running.enter_context(served(node))
        with opened(url) as socket:
            assert ask(socket, "k")["type"] == "answer"
            stopping = threading.Thread(target=running.close)
            stopping.start()
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(30)
            stopping.join()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


class Line:
    """A WebSocket in memory whose other end reads, or does not."""

    def __init__(self, said: list[str], *, reads: bool) -> None:
        self.said, self.reads = said, reads
        self.taken, self.sent, self.closed = 0, list[dict[str, Any]](), 0

    async def accept(self) -> None:
        """Agree."""

    async def receive(self) -> dict[str, Any]:
        """Give the next message; then nothing more comes."""
        if self.taken == len(self.said):
            await asyncio.Event().wait()
        self.taken += 1
        return {"type": "websocket.receive", "text": self.said[self.taken - 1]}

    async def send_text(self, text: str) -> None:
        """Take it, or let the sender wait."""
        if not self.reads:
            await asyncio.Event().wait()
        self.sent.append(json.loads(text))
        if len(self.sent) == len(self.said):
            raise RuntimeError("the other end is satisfied and leaves")

    async def close(self, code: int, _: str) -> None:
        """Note the code."""
        self.closed = code


def run(line: Line, ask: Any) -> None:
    """Run a connection on that line to its end."""
    connection = Connection(
        websocket=line,  # type: ignore[arg-type]
        ask=ask,
        watch=lambda _: pytest.fail("nobody watches"),
        send_s=0.05,
    )
    asyncio.run(asyncio.wait_for(connection.run(), 30))


def turn(number: int, conversation: str) -> str:
    """Return a turn as a message."""
    body = {"conversation": conversation, "number": number}
    return json.dumps({"type": "turn", "id": f"k{number}", "body": body})


def test_conversation_keeps_its_order_while_others_go_on() -> None:
    """However long each takes, one conversation's turns are done one after the other."""
    under_way, seen, done = dict[str, int](), list[int](), list[tuple[str, int]]()

    async def answer(_: str, __: str, body: dict[str, Any]) -> Answered:
        name = body["conversation"]
        under_way[name] = under_way.get(name, 0) + 1
        assert under_way[name] == 1
        seen.append(sum(under_way.values()))
        for _turn in range(3 - body["number"] % 3):
            await asyncio.sleep(0)
        under_way[name] -= 1
        done.append((name, body["number"]))
        return Answered(status=200, headers={}, body={})

    line = Line([turn(number, "abcd"[number % 4]) for number in range(40)], reads=True)
    run(line, answer)
    for name in "abcd":
        numbers = [number for which, number in done if which == name]
        assert numbers == sorted(numbers)
    assert len(done) == 40
    assert 1 < max(seen) <= MOST_UNDER_WAY


def test_client_that_does_not_read_is_ended_and_holds_little() -> None:
    """No more is taken from it than fits, its turns are done, and it is closed as behind."""
    done: list[str] = []

    async def answer(_: str, key: str, __: Any) -> Answered:
        done.append(key)
        return Answered(status=200, headers={}, body={})

    line = Line([turn(number, str(number)) for number in range(2_000)], reads=False)
    run(line, answer)
    assert line.closed == BEHIND
    assert line.taken <= MOST_UNSENT + MOST_UNDER_WAY + 2
    assert len(done) >= line.taken - 1
