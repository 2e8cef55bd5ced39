"""A customer with a telephone reads what was used, stops it, and a real gate shuts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from audit.serve import Listener, serve_all
from consent.api import create_app
from tests.browser import chromium
from tests.promises.town import Town, says, wants_training

# FastAPI silences this by a filter that is not safe among threads, and these serve in one.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.UnsupportedFieldAttributeWarning"
)


def on_phone(steps: Callable[[Any], None]) -> None:
    """Take steps on a page of a telephone's size; in a thread, for the town has its own loop."""

    def run() -> None:
        with chromium() as opened:
            page = opened.new_page(viewport={"width": 390, "height": 844}, locale="en")
            page.set_default_timeout(30_000)
            steps(page)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()


@pytest.fixture
def url(town: Town) -> Iterator[str]:
    """Serve the town's trust service on loopback; return where."""
    stop, ready, found = threading.Event(), threading.Event(), list[str]()

    def here(addresses: list[str]) -> None:
        found.extend(addresses)
        ready.set()

    listener = Listener(app=create_app(town.trust.service))
    serving = threading.Thread(
        target=serve_all, args=([listener],), kwargs={"on_ready": here, "stop": stop}
    )
    serving.start()
    assert ready.wait(60)
    yield found[0]
    stop.set()
    serving.join()


@pytest.mark.promise(11)
def test_customer_reads_what_was_used_stops_it_and_the_gate_shuts(town: Town, url: str) -> None:
    """From the link: each use with its rule in words; one press, and the node's next turn is no."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    token = wants_training(api, node, "anna")["anna"]["manage_token"]
    assert says(api, "anna", "<i>so late</i>")["answer"] != "refused"
    home = f"{url}/my/{token}"

    def ask(page: Any) -> None:
        page.goto(home)
        page.get_by_role("link", name="What was used").click()
        page.get_by_role("button", name="Show me").click()
        page.get_by_text("Answers so far: 0 of 1").wait_for()

    def read_and_stop(page: Any) -> None:
        page.goto(f"{home}/asked")
        page.get_by_role("link", name="See everything about you").click()
        page.get_by_text("The answer is here.").wait_for()
        page.get_by_text("Your words were read for signs of feeling").first.wait_for()
        page.get_by_text("“<i>so late</i>”").first.wait_for()
        assert page.locator("dl dd").count() > 0
        with page.expect_download() as saving:
            page.get_by_role("link", name="Save it all").click()
        assert '"decisions"' in Path(saving.value.path()).read_text("utf-8")
        page.get_by_role("link", name="Back").click()
        page.get_by_role("button", name="Stop all of it").click()
        page.get_by_text("Stopped. It counts from now on.").wait_for()

    on_phone(ask)
    node.keeper.poll()
    on_phone(read_and_stop)
    node.keeper.poll()
    refused = says(api, "anna")
    assert refused["answer"] == "refused"
    assert node.vault.purposes_of(branch.subject("anna")) <= {"evidence"}
