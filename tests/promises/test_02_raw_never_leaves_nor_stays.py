"""Promise 2: raw never leaves, raw never stays; what was not allowed is not even read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from client_node.redaction import Redaction
from policies.vocabulary import Purpose
from tests.promises.town import Town, consents, rates, says

pytestmark = pytest.mark.promise(2)

TEXT = "My name is Zebulon Quackenbush, zeb@quackenbush.example, and I am furious about 99887766!"
SECRETS = ("Zebulon", "Quackenbush", "quackenbush.example", "99887766", "furious", "customer-4711")


class Unreadable:
    """A redactor that blows up."""

    def redact(self, text: str) -> Redaction:
        """Fail."""
        raise AssertionError(f"a refused text of {len(text)} characters was read")


@pytest.mark.parametrize("agreed", [[], ["handover"]])
def test_what_was_not_allowed_is_not_even_read(
    make_town: Callable[..., Town], agreed: list[str]
) -> None:
    """The gate comes before redaction: a refused text never reaches what would read it."""
    town = make_town(redactor=Unreadable())
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    if agreed:
        consents(api, "anna", purposes=agreed)
        node.keeper.poll()
    refused = says(api, "anna", TEXT)
    assert refused["answer"] == "refused"
    assert not any(secret in json.dumps(refused) for secret in SECRETS)


def test_nothing_raw_is_on_any_disk_nor_left_the_branch(town: Town) -> None:
    """After a turn, its words and its customer are in no file of any service, journals included."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "customer-4711")
    node.keeper.poll()
    answer = says(api, "customer-4711", TEXT, explain=True)
    assert answer["sealed_for"] == ["service", "training"]
    assert rates(api, answer["turn"]).status_code == 200
    node.keeper.poll()
    written = [path for path in town.folder.rglob("*") if path.is_file()]
    assert {"records.db-wal", "log.db-wal", "consent.db"} <= {path.name for path in written}
    for path in written:
        data = path.read_bytes()
        for secret in SECRETS:
            for coding in ("utf-8", "utf-16-le"):
                assert secret.encode(coding) not in data, f"{secret} is in {path.name}"


def test_redacted_copy_is_all_that_is_kept_and_sealed_by_person_and_purpose(town: Town) -> None:
    """What opens is the redacted text under one purpose's key, and features under the other's."""
    branch = town.branch()
    node = branch.open()
    api, subject = branch.api(node), branch.subject("zeb")
    consents(api, "zeb")
    node.keeper.poll()
    turn = says(api, "zeb", TEXT)["turn"]
    kept = {}
    for purpose in (Purpose.SERVICE, Purpose.TRAINING):
        record = node.vault._records.find(turn, purpose)
        context = f"undertone/record/{purpose}/{turn}".encode()
        kept[purpose] = node.keystore.open(subject, purpose, record.sealed, context=context)
    copy: dict[str, Any] = json.loads(kept[Purpose.SERVICE])
    assert "furious" in copy["text"]  # opened, it is readable …
    assert not any(secret in copy["text"] for secret in SECRETS[:4])  # … and names nobody
    assert len(kept[Purpose.TRAINING]) == 385 * 4  # features, float32, no words
    assert node.vault.purposes_of(subject) == {"service", "training", "evidence"}


@pytest.mark.parametrize("raw", ["audio", "image", "signals"])
def test_only_text_is_taken(town: Town, raw: str) -> None:
    """Nothing but text is accepted, so no recording can be kept by mistake."""
    branch = town.branch()
    said = {"customer": "c", "conversation": "c", "text": "hello", raw: "AAAA"}
    answer = branch.api(branch.open()).post("/v1/turns", json=said)
    assert answer.status_code == 422
    assert "AAAA" not in answer.text
