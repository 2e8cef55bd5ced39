"""Run this node's part of a round: warm, pinned, and never later than the deadline.

Takes tasks from the node's own SuperNode, checks the hash of the bundle that came with each
against the allow-list, and runs only the *installed* `client_node.federation`; nothing of a
bundle is ever unpacked. Every answer leaves at receipt + deadline, whatever it is and however
soon it was ready; what is not ready by then is answered with no payload, which the centre
counts as absent.

The only module of the node, with `client_node.federation`, that knows Flower's insides (flwr
1.41, pinned). Loads neither the encoder nor Presidio: features come from the vault, through
the node service's Unix socket.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from flwr.app import Context, Message
from flwr.app.error import Error
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from audit.visible import visible
from client_node.errors import StartRefused
from client_node.federation import NodeServiceClient, Round, client_app, deadline_of, payload_of
from client_node.settings import NodeSettings, load_policy, load_signing_key
from client_node.supernode import SuperNodeSettings, prepare
from policies.errors import TermsRefused
from policies.vocabulary import NodeId

RETRY_S = 1.0
ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
TASK_TYPE = "flwr-clientapp"


def check_bundle(fab: Fab, allowed: frozenset[str]) -> None:
    """Return if the bundle's bytes are on the allow-list.

    Raises:
        TermsRefused: They are not; the hash that the SuperLink states is not trusted.
    """
    found = hashlib.sha256(fab.content).hexdigest()
    if found not in allowed:
        raise TermsRefused(
            f"bundle {found[:16]} is not on the node's allow-list: "
            "the operator adds it after reviewing the code it names"
        )


class DeadlineDesk:
    """Answer messages one at a time, each at its deadline exactly.

    Work runs on one thread of its own. Work that is late cannot be stopped; it finishes
    unheard, and the next message waits behind it, up to its own deadline.
    """

    def __init__(
        self,
        app: ClientApp,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._app, self._now = app, now
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="round")
        self._stop = threading.Event()
        self._wait = self._stop.wait if wait is None else wait

    def answer(self, message: Message, context: Context, *, received_at: float) -> Message:
        """Return the reply at `received_at` + the payload's deadline, not before."""
        due = received_at + deadline_of(payload_of(message))
        work: Future[Message] = self._worker.submit(self._app, message, context)
        try:
            reply = work.result(timeout=max(0.0, due - self._now()))
        except TimeoutError:
            _say("a message was not answered: late for its deadline")
            reply = absent(message)
        except Exception as error:  # noqa: BLE001 (whatever it was, the centre learns nothing of it)
            _say(f"a message was not answered: {type(error).__name__}")
            reply = absent(message)
        self._wait(max(0.0, due - self._now()))
        return reply

    def close(self) -> None:
        """Wake whoever waits for a deadline, and end the thread when its work is done."""
        self._stop.set()
        self._worker.shutdown(wait=False, cancel_futures=True)


def absent(message: Message) -> Message:
    """Return a reply without a payload; Flower's SuperNode blocks until it has some reply."""
    return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=""), reply_to=message)


class Executor:
    """Poll the SuperNode's Runtime API and work on what it hands out."""

    def __init__(
        self, settings: SuperNodeSettings, desk: DeadlineDesk, *, allowed_fabs: frozenset[str]
    ) -> None:
        self._settings, self._desk, self._allowed_fabs = settings, desk, allowed_fabs
        self._stop = threading.Event()
        secret = settings.secret.read_bytes()
        self._acquire = self._client(
            SuperExecAuthHttpInterceptor(
                master_secret=secret, protected_methods=frozenset({ACQUIRE})
            )
        )

    def run(self) -> None:
        """Work until `stop`."""
        while not self._stop.is_set():
            token = self._take()
            if token is not None:
                self._work(token)
        self._acquire.close()

    def stop(self) -> None:
        """End after the task at hand."""
        self._stop.set()
        self._desk.close()

    def _client(self, interceptor: Any) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self._settings.address,
            insecure=True,  # loopback, and each call carries an HMAC or a task's token
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name=TASK_TYPE), interceptor],
        )

    def _take(self) -> str | None:
        try:
            request = AcquireTaskRequest(supported_task_types=[TASK_TYPE])
            token: str = self._acquire.AcquireTask(request).token
        except httpx.HTTPError:
            self._stop.wait(RETRY_S)  # the SuperNode is not up, or starts again
            return None
        if not token:
            self._stop.wait(self._settings.poll_s)
            return None
        return token

    def _work(self, token: str) -> None:
        client = self._client(RuntimeTokenHttpInterceptor(token))
        heartbeat = HeartbeatSender(_heartbeat(client))
        heartbeat.start()
        context: Context | None = None
        status = SubStatus.FAILED
        try:
            message, context, _, fab = pull_task_input(client)
            reply = self._reply(message, context, fab, time.monotonic())
            push_message(client, reply, context)
            status = SubStatus.COMPLETED
        except (httpx.HTTPError, RuntimeError, ValueError) as error:
            _say(f"a task was lost: {type(error).__name__}")
        finally:
            push_task_output(client=client, context=context, sub_status=status, details="")
            heartbeat.stop()
            client.close()

    def _reply(self, message: Message, context: Context, fab: Fab, received_at: float) -> Message:
        try:
            check_bundle(fab, self._allowed_fabs)
        except TermsRefused as error:
            _say(str(error))
            return absent(message)
        return self._desk.answer(message, context, received_at=received_at)


def _heartbeat(client: RuntimeHttpClient) -> Callable[[], bool]:
    """Return a heartbeat that fails quietly; Flower's own raises SIGINT in this process."""

    def beat() -> bool:
        try:
            client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        except httpx.HTTPError:
            return False
        return True

    return beat


def _say(line: str) -> None:
    sys.stderr.write(f"undertone executor: {visible(line, one_line=True)}\n")
    sys.stderr.flush()


def main() -> None:
    """Load, warm up, print one line, and work until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="client_node.executor", description=__doc__)
    parser.add_argument("--settings", required=True, type=Path)
    try:
        settings = SuperNodeSettings.load(parser.parse_args().settings)
        node = NodeSettings.load(settings.node_settings)
        policy = load_policy(node)  # the operator's signature is checked here
        node_key = load_signing_key(node.signing_key).verify_key  # only the public half is kept
    except StartRefused as error:
        raise SystemExit(f"undertone executor: {error}") from error
    prepare(settings)
    service = NodeServiceClient(node.socket_path)
    journey = Round(service=service, node=NodeId(node.node), node_key=node_key, clock=time.time)
    executor = Executor(
        settings, DeadlineDesk(client_app(journey)), allowed_fabs=frozenset(policy.allowed_fabs)
    )

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        executor.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    sys.stdout.write(f"undertone executor {node.node} ready\n")
    sys.stdout.flush()
    executor.run()
    service.close()


if __name__ == "__main__":
    main()
