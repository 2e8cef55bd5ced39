"""The exchange queue: every wait ends, and replies reach only the exchange they belong to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordinator import courier
from coordinator.courier import CourierQueue, Job
from coordinator.errors import CourierClosed, RunStopped
from policies.vocabulary import NodeId

ADDRESSES = {NodeId("north"): 11, NodeId("south"): 12}
PAYLOADS = {NodeId("north"): b"n", NodeId("south"): b"s", NodeId("stranger"): b"x"}


@pytest.fixture
def queue() -> Iterator[CourierQueue]:
    """Return a queue that is closed after the test."""
    made = CourierQueue(lambda: ADDRESSES, grace_s=5.0)
    yield made
    made.close()


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Return a thread that plays the round while the test plays the courier."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def take(queue: CourierQueue) -> Job:
    """Take the exchange as the courier does."""
    job = queue.next(wait_s=5.0)
    assert job is not None
    return job


def test_exchange_brings_back_replies_by_node(
    queue: CourierQueue, aside: ThreadPoolExecutor
) -> None:
    """Payloads go out under Flower's ids, and replies come back under our names."""
    work = aside.submit(queue.exchange, PAYLOADS, deadline_s=1.0)
    job = take(queue)
    assert (dict(job.payloads), job.wait_s) == ({11: b"n", 12: b"s"}, 6.0)
    assert queue.deliver(job.exchange, {11: b"yes", 12: b"", 99: b"?"})
    assert work.result(5) == {NodeId("north"): b"yes"}


def test_replies_of_another_exchange_are_not_taken(
    queue: CourierQueue, aside: ThreadPoolExecutor
) -> None:
    """A courier that comes back late cannot answer for a newer exchange."""
    work = aside.submit(queue.exchange, PAYLOADS, deadline_s=1.0)
    job = take(queue)
    assert not queue.deliver("0" * 16, {11: b"old"})
    assert queue.deliver(job.exchange, {})
    assert work.result(5) == {}
    assert not queue.deliver(job.exchange, {11: b"again"})


def test_exchange_ends_without_a_courier(
    queue: CourierQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange that nobody takes ends with no replies."""
    monkeypatch.setattr(courier, "PICKUP_S", 0.01)
    assert queue.exchange(PAYLOADS, deadline_s=1.0) == {}


def test_exchange_ends_when_the_courier_dies(
    aside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange that is taken and never brought back ends with no replies."""
    monkeypatch.setattr(courier, "RETURN_S", 0.01)
    queue = CourierQueue(lambda: ADDRESSES, grace_s=0.01)
    work = aside.submit(queue.exchange, PAYLOADS, deadline_s=0.01)
    take(queue)
    assert work.result(5) == {}


@pytest.mark.parametrize(
    ("end", "error"), [(CourierQueue.cancel, RunStopped), (CourierQueue.close, CourierClosed)]
)
def test_waiting_exchange_ends_at_once_when_told(
    queue: CourierQueue,
    aside: ThreadPoolExecutor,
    end: Callable[[CourierQueue], None],
    error: type[Exception],
) -> None:
    """Stop and shutdown reach a round that waits for nodes."""
    work = aside.submit(queue.exchange, PAYLOADS, deadline_s=600.0)
    take(queue)
    end(queue)
    with pytest.raises(error):
        work.result(5)


def test_courier_is_told_when_there_is_nothing_and_when_it_is_over(queue: CourierQueue) -> None:
    """A long poll ends empty, and after close it ends for good."""
    assert queue.next(wait_s=0.01) is None
    queue.close()
    with pytest.raises(CourierClosed):
        queue.next(wait_s=5.0)


def test_silence_is_measured_from_the_last_word() -> None:
    """The keeper can tell a courier that is gone from one that carries."""
    now = [0.0]
    queue = CourierQueue(lambda: ADDRESSES, grace_s=5.0, monotonic=lambda: now[0])
    assert queue.silent_for_s() == float("inf")
    queue.next(wait_s=0.0)
    now[0] = 30.0
    assert queue.silent_for_s() == 30.0


def test_exchanges_come_one_at_a_time(queue: CourierQueue) -> None:
    """Two rounds that ask at once are carried one after the other, each with its own replies."""
    results: dict[str, Mapping[NodeId, bytes]] = {}

    def ask(name: str) -> None:
        payload = {NodeId("north"): name.encode()}
        results[name] = queue.exchange(payload, deadline_s=1.0)

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for _ in threads:
        job = take(queue)
        queue.deliver(job.exchange, {11: b"re:" + job.payloads[11]})
    for thread in threads:
        thread.join(5)
    assert results == {n: {NodeId("north"): b"re:" + n.encode()} for n in ("a", "b")}
