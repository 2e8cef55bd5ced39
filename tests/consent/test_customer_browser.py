"""The customer's pages in a real Chromium of a telephone's size."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.serve import Listener, serve_all
from audit.signing import SigningKey
from consent.api import create_app
from consent.privacy_centre.frame import HERE
from consent.recorder import Person
from consent.wire import GrantIn
from policies.vocabulary import SubjectId
from tests.browser import chromium
from tests.consent.conftest import World, a_grant
from tests.consent.test_confirming import invited, waiting

# FastAPI silences this by a filter that is not safe among threads, and these serve in one.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.UnsupportedFieldAttributeWarning"
)
PHONE = {"width": 390, "height": 844}
SCRIPT = (HERE / "static" / "check.js").read_text("utf-8")


@pytest.fixture(autouse=True)
def _send_beside_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the world's own requests run in a thread: Playwright's loop runs in this one."""
    send = World.send

    def beside(self: World, *given: Any, **named: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(send, self, *given, **named).result()

    monkeypatch.setattr(World, "send", beside)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a real Chromium: this machine's, or the one that Playwright brought."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """Return a telephone; what its console complains of fails the test."""
    made, complaints = browser.new_context(viewport=PHONE, locale="en"), list[str]()
    made.set_default_timeout(30_000)
    made.on("weberror", lambda error: complaints.append(str(error.error)))
    made.on("console", lambda said: complaints.extend([said.text] * (said.type == "error")))
    yield made
    made.close()
    assert [said for said in complaints if "404" not in said] == []


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """Serve the trust service on loopback; return where."""
    stop, ready, found = threading.Event(), threading.Event(), list[str]()

    def here(addresses: list[str]) -> None:
        found.extend(addresses)
        ready.set()

    listener = Listener(app=create_app(world.service))
    serving = threading.Thread(
        target=serve_all, args=([listener],), kwargs={"on_ready": here, "stop": stop}
    )
    serving.start()
    assert ready.wait(60)
    yield found[0]
    stop.set()
    serving.join()


def test_consent_by_code_receipt_kept_and_stopped_again(
    world: World, url: str, context: Any, tmp_path: Path
) -> None:
    """Scan, tick, yes; the receipt is saved as a file; own page, stop: the standing is empty."""
    page = context.new_page()
    page.goto(f"{url}/consent/{invited(world)['invitation_token']}")
    page.get_by_role("link", name="Deutsch").click()
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Ja zu dem").click()
    with page.expect_download() as saving:
        page.get_by_role("button", name="Beleg speichern").first.click()
    kept = tmp_path / "kept.json"
    saving.value.save_as(kept)
    assert json.loads(kept.read_text())["receipt"]["dpv:hasPurpose"] == ["undertone:service"]
    page.get_by_role("link", name="Meine Seite").click()
    assert world.standing("alice")["grants"] != []
    page.get_by_role("button", name="Damit aufhören").click()
    page.get_by_text("Es ist aus.").wait_for()
    assert world.standing("alice")["grants"] == []
    assert "alice" not in page.content().replace(kept.read_text(), "").split("<form")[0]


def test_double_opt_in_counts_by_the_press_alone(world: World, url: str, context: Any) -> None:
    """Opening the confirmation link confirms nothing; the button does, and the page is used up."""
    token = waiting(world)["confirmation_token"]
    page = context.new_page()
    page.goto(f"{url}/confirm/{token}")
    assert world.standing("alice")["grants"] == []
    page.get_by_role("button", name="Yes, I confirm").click()
    page.get_by_text("Confirmed.").wait_for()
    assert [grant["purpose"] for grant in world.standing("alice")["grants"]] == ["service"]
    page.goto(f"{url}/confirm/{token}")
    page.get_by_text("opens nothing").wait_for()


def test_a_guardians_yes_is_named_as_theirs(world: World, url: str, context: Any) -> None:
    """The page of a child says who said yes, and stops it as easily."""
    guardian = {
        "subject": "parent-1", "relation": "parent", "verified": "document-seen",
        "evidence": "d" * 64,
    }  # fmt: skip
    token = world.grant("carla", age="minor", guardian=guardian).json()["manage_token"]
    page = context.new_page()
    page.goto(f"{url}/my/{token}")
    page.get_by_text("A parent or guardian said yes for you.").wait_for()
    page.get_by_role("button", name="Stop all of it").click()
    page.get_by_text("Stopped.").wait_for()
    assert world.standing("carla")["grants"] == []


def test_pages_work_without_script_and_are_accessible(world: World, url: str, browser: Any) -> None:
    """Without JavaScript each page is whole, fits a telephone and turns with the writing."""
    token = world.grant("alice").json()["manage_token"]
    made = browser.new_context(viewport=PHONE, java_script_enabled=False, locale="fr")
    page = made.new_page()
    page.set_default_timeout(30_000)
    paths = [
        "/my", f"/my/{token}", f"/my/{token}/learned", f"/my/{token}/used", f"/my/{token}/rights",
        f"/my/{token}/rights/erasure", f"/my/{token}/rights/objection", f"/my/{token}/asked",
        f"/my/{token}/rules",
        f"/consent/{invited(world, 'bob')['invitation_token']}", "/check", "/my/nobody",
    ]  # fmt: skip
    for path in paths:
        page.goto(url + path)
        assert page.locator("html").get_attribute("lang") == "fr"
        assert page.locator("h1").count() == 1
    page.goto(f"{url}/check")
    page.get_by_text("undertone-trust receipt verify").wait_for()
    page.goto(f"{url}/my/{token}/used")
    page.get_by_role("button", name="Afficher").click()
    page.get_by_text("0 sur 2").wait_for()
    made.close()


def test_paper_has_what_the_page_says_and_nothing_to_press(
    world: World, url: str, context: Any
) -> None:
    """On paper the yeses are there, with the code to the page, and no button or menu."""
    token = world.grant("alice").json()["manage_token"]
    page = context.new_page()
    page.goto(f"{url}/my/{token}")
    page.emulate_media(media="print")
    page.get_by_text("Notice in my words").wait_for()
    code = page.locator(".take img")
    code.wait_for()
    assert code.evaluate("img => img.complete && img.naturalWidth > 0")
    assert page.get_by_role("button").count() == 0
    assert not page.locator("nav.rows").is_visible()


# --- the receipt check ---------------------------------------------------------------------------


def _log_key(world: World) -> SigningKey:
    return SigningKey.load(world.settings.signing_key)


def _resigned(world: World, taken: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the receipt with a checkpoint of other content that the log's true key signed."""
    head, _, note = taken["proof"].partition("\n\n")
    key = _log_key(world)
    told = open_checkpoint(note, key.verify_key)
    now: dict[str, Any] = {"origin": told.origin, "size": told.size, "root": told.root} | changes
    return taken | {"proof": f"{head}\n\n{sign_checkpoint(Checkpoint(**now), key)}"}


def _flipped(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


def _with_line(taken: dict[str, Any], number: int) -> dict[str, Any]:
    lines = taken["proof"].split("\n")
    lines[number] = _flipped(lines[number])
    return taken | {"proof": "\n".join(lines)}


def _signature_flipped(taken: dict[str, Any]) -> dict[str, Any]:
    head, _, blob = taken["proof"].rstrip("\n").rpartition(" ")
    return taken | {"proof": f"{head} {_flipped(blob)}\n"}


def corrupted(world: World, taken: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return each corruption by name, with the step that refuses it."""
    receipt = taken["receipt"] | {"dpv:hasPurpose": ["undertone:offers"]}
    size = open_checkpoint(taken["proof"].partition("\n\n")[2], _log_key(world).verify_key).size
    return {
        "leaf byte": ("place", taken | {"leaf": _flipped(taken["leaf"])}),
        "path node": ("place", _with_line(taken, 2)),
        "signature": ("signature", _signature_flipped(taken)),
        "unsigned size": (
            "signature",
            taken | {"proof": taken["proof"].replace(f"\n{size}\n", f"\n{size + 1}\n")},
        ),
        "signed size": ("place", _resigned(world, taken, size=size * 4)),
        "origin": ("origin", _resigned(world, taken, origin="another.log")),
        "record": ("entry", taken | {"record": "0" * 32}),
        "word": ("receipt", taken | {"receipt": receipt}),
        "token": ("token", taken | {"manage_token": "A" * 43}),
        "part": ("file", taken | {"more": 1}),
    }


def _checked(page: Any, taken: dict[str, Any]) -> tuple[str, str | None]:
    """Return what the page says of a file, and the step that failed."""
    data = json.dumps(taken).encode()
    file = {"name": "receipt.json", "mimeType": "application/json", "buffer": data}
    page.locator("#file").set_input_files([])
    page.locator("#said").evaluate("said => { said.textContent = '' }")
    page.locator("#file").set_input_files(file)
    decided = re.compile("receipt (holds|does not hold)")
    page.get_by_role("status").filter(has_text=decided).wait_for()
    bad = page.locator("li.bad")
    return page.locator("#said").inner_text(), bad.inner_text() if bad.count() else None


def test_receipt_is_checked_in_the_browser(world: World, url: str, context: Any) -> None:
    """A true receipt holds; each of ten corruptions is refused at its step; earlier shapes hold."""
    taken = world.grant("alice").json()
    page = context.new_page()
    page.goto(f"{url}/check")
    words = json.loads(page.locator("#known").text_content())["words"]
    assert _checked(page, taken)[0].startswith("The receipt holds.")
    for name, (step, broken) in corrupted(world, taken).items():
        assert _checked(page, broken) == ("The receipt does not hold.", words[f"step_{step}"]), name
    other = str(SigningKey.generate("trust").verify_key)
    page.locator("#key").fill(other)
    assert _checked(page, taken)[1] == words["step_signature"]
    for made in json.loads((Path(__file__).parent / "old_receipts.json").read_text()).values():
        page.locator("#key").fill(made["key"])
        said = [_checked(page, given)[0] for given in made["taken"].values()]
        assert all(one.startswith("The receipt holds.") for one in said), "an earlier shape"


def test_receipt_of_an_uninformed_yes_says_so_in_the_browser(
    world: World, url: str, context: Any
) -> None:
    """What an earlier version took of somebody who was not told holds, and is named no consent."""
    _, told = GrantIn.model_validate(a_grant("bob")).granted()
    person = Person(company="acme", subject=SubjectId("bob"), node=None)
    untold = world.service.acts._recorder.write([(person, replace(told, informed=False))])[0]
    page = context.new_page()
    page.goto(f"{url}/check")
    words = json.loads(page.locator("#known").text_content())["words"]
    assert words["check_uninformed"] in _checked(page, untold)[0]
    assert words["check_uninformed"] not in _checked(page, world.grant("alice").json())[0]


BREAKS = {
    "leaf byte": ('need(sn === 0n && same(hash, note.root), "place");', ""),
    "path node": ('need(sn === 0n && same(hash, note.root), "place");', ""),
    "signed size": ('need(sn === 0n && same(hash, note.root), "place");', ""),
    "signature": ('need(good, "signature");', ""),
    "origin": ('need(origin === null || note.origin === origin, "origin");', ""),
    "word": ("need(entry.fields.receipt === hex(", "await (("),
    "token": ('need(hash === receipt["undertone:manageTokenDigest"], "token");', ""),
}
"""A check that is taken out of the script, by the corruption that then passes it."""


@pytest.mark.parametrize("name", ["path node", "signature", "origin", "word", "token"])
def test_verifier_without_a_check_believes_what_it_should_refuse(
    world: World, url: str, context: Any, name: str
) -> None:
    """With one check taken out its corruption passes: so the test above would be red."""
    taken = world.grant("alice").json()
    out, instead = BREAKS[name]
    assert SCRIPT.count(out) == 1
    weaker = SCRIPT.replace(out, instead)
    context.route("**/centre/check.js", lambda route: route.fulfill(body=weaker))
    page = context.new_page()
    page.goto(f"{url}/check")
    said, bad = _checked(page, corrupted(world, taken)[name][1])
    assert (said[:18], bad) == ("The receipt holds.", None)


def test_saved_page_checks_with_the_network_cut(
    world: World, url: str, context: Any, tmp_path: Path
) -> None:
    """The file opened from disk, offline: it verifies, refuses, and asks nobody anything."""
    taken = world.grant("alice").json()
    page = context.new_page()
    page.goto(f"{url}/check")
    with page.expect_download() as saving:
        page.get_by_role("link", name="Save this page").click()
    kept = tmp_path / "check.html"
    saving.value.save_as(kept)
    context.set_offline(True)
    asked = list[str]()
    alone = context.new_page()
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(kept.as_uri())
    assert _checked(alone, taken)[0].startswith("The receipt holds.")
    _, broken = corrupted(world, taken)["path node"]
    assert _checked(alone, broken)[0] == "The receipt does not hold."
    assert asked == [kept.as_uri()]


def test_browser_without_ed25519_says_so(world: World, url: str, context: Any) -> None:
    """Where WebCrypto lacks the algorithm nothing is called good or bad."""
    page = context.new_page()
    page.add_init_script("crypto.subtle.importKey = () => Promise.reject(new Error('no'))")
    page.goto(f"{url}/check")
    data = json.dumps(world.grant("alice").json()).encode()
    file = {"name": "r.json", "mimeType": "application/json", "buffer": data}
    page.locator("#file").set_input_files(file)
    page.get_by_text("This browser cannot check it").wait_for()


def test_names_are_shown_as_text(url: str, context: Any) -> None:
    """Markup in a code or an address is shown or dropped, and runs nothing."""
    page = context.new_page()
    page.on("dialog", lambda _: pytest.fail("a script ran"))
    page.goto(f"{url}/my/%3Cscript%3Ealert(1)%3C%2Fscript%3E?language=%22%3E%3Cscript%3E")
    assert page.locator("main script").count() == 0


def test_no_page_has_a_serious_finding_of_axe(world: World, url: str, context: Any) -> None:
    """Every page of a customer, in light and dark, passes axe-core without a serious finding."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    token = world.grant("alice").json()["manage_token"]
    page = context.new_page()
    paths = [
        "/my", f"/my/{token}", f"/my/{token}/learned", f"/my/{token}/used", f"/my/{token}/rights",
        f"/my/{token}/rights/erasure", f"/my/{token}/rights/objection", f"/my/{token}/asked",
        f"/my/{token}/rules",
        f"/consent/{invited(world, 'bob')['invitation_token']}",
        f"/confirm/{waiting(world, 'carl')['confirmation_token']}", "/check", "/my/nobody",
    ]  # fmt: skip
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for path in paths:
            page.goto(url + path)
            found = axe.run(page).response["violations"]
            assert [
                (one["id"], path) for one in found if one["impact"] in {"serious", "critical"}
            ] == []
