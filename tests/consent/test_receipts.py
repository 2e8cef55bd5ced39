"""Receipts that people hold: their shape, and what anybody can verify offline."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from audit.signing import SigningKey, VerifyKey
from audit.staff import Staff, StaffRole
from audit.terminal import run as run_command
from consent.api import create_app
from consent.cli import app
from consent.errors import ReceiptInvalid
from consent.records import _KINDS
from consent.settings import Party
from consent.taken import verify_taken
from tests.consent.conftest import a_grant


def everything_that_gives_a_receipt(world: Any) -> dict[str, dict[str, Any]]:
    """Do each kind of act once, and return what the person takes away by kind."""
    ask = {"modalities": ["text"], "notice_version": 1}
    some = {"subject": "alice", "purposes": ["handover"]}
    acts: list[tuple[str, str, dict[str, Any]]] = [
        ("request", "/v1/consent-requests", some | ask),
        ("deferral", "/v1/deferrals", some),
        ("refusal", "/v1/refusals", some),
        ("objection", "/v1/objections", some),
        ("restriction", "/v1/restrictions", {"subject": "alice", "restricted": True}),
        ("withdrawal", "/v1/withdrawals", {"subject": "alice", "purpose": "service"}),
    ]
    digest = world.service.officer.notice(1).text_digests()["en"]
    shown = {"language": "en", "text_digest": digest, "channel": "web"}
    proof = {"evidence": "1" * 64}
    voice = world.grant("alice", modalities=["text", "voice"], shown=shown, capture=proof)
    taken = {"grant": voice.json()}
    held = {"grant": a_grant("alice", purposes=["service"]), "confirm_hours": 1}
    held = world.as_node("north", "POST", "/v1/unconfirmed-consents", held).json()
    taken["unconfirmed"] = {n: held[n] for n in held if n not in {"confirmation_token", "until"}}
    for kind, path, body in acts:
        answer = world.as_node("north", "POST", path, body)
        assert answer.status_code == 201, answer.text
        taken[kind] = answer.json()
    on_training = {"subject": "alice", "purposes": ["training"]}
    taken["revocation"] = by_officer(world, "/v1/revocations", on_training)
    finding = on_training | {"finding": "case-7"}
    taken["invalidation"] = by_officer(world, "/v1/invalidations", finding)
    all_gone = {"subject": "alice", "purpose": None}
    taken["erasure"] = world.as_node("north", "POST", "/v1/withdrawals", all_gone).json()
    return taken


def by_officer(world: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a request as the officer, who is signed in."""
    application = create_app(world.service)
    officer = Staff(name="officer", roles=frozenset({StaffRole.OFFICER}))
    application.state.admit = lambda _: officer

    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="https://trust") as client:
            return await client.post(path, json=body)

    answer = asyncio.run(sent())
    assert answer.status_code == 201, answer.text
    value: dict[str, Any] = answer.json()
    return value


@pytest.fixture
def named(make_world: Any) -> Any:
    """Return a service whose company has a name, an address and an authority."""
    party = Party(name="Acme Ltd", address="1 Main St", contact="p@acme.example", authority="DPC")
    world = make_world(parties={"acme": party})
    world.publish()
    world.approve("service", "handover")
    world.enrol("north", "acme")
    return world


def test_receipt_of_every_act_fits_the_schema_and_verifies(named: Any) -> None:
    """Whatever a person does, the receipt has the published shape and holds offline."""
    schema = json.loads((files("consent") / "receipt_schema_v3.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    taken = everything_that_gives_a_receipt(named)
    assert taken.keys() == _KINDS.keys()
    for kind, given in taken.items():
        validator.validate(given["receipt"])
        holds = verify_taken(json.dumps(given).encode(), named.service.key.verify_key)
        assert holds.record == given["record"]
        assert kind in holds.sentences()[0]


@pytest.mark.parametrize("version", ["1", "2"])
def test_receipts_of_earlier_shapes_still_hold(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What people took away under an earlier shape verifies as it did, and no word of it changes.

    The receipts were made by the versions that wrote those shapes, and are kept as they came.
    """
    made = json.loads((Path(__file__).parent / "old_receipts.json").read_text())[version]
    schema = json.loads((files("consent") / f"receipt_schema_v{version}.json").read_text())
    key = VerifyKey.parse(made["key"])
    for kind, given in made["taken"].items():
        assert given["receipt"]["undertone:schema"] == f"undertone-receipt/{version}"
        jsonschema.Draft202012Validator(schema).validate(given["receipt"])
        assert kind in verify_taken(json.dumps(given).encode(), key).sentences()[0]
        changed = given | {"receipt": given["receipt"] | {"dpv:hasDataSubject": "mallory"}}
        with pytest.raises(ReceiptInvalid, match="a word differs"):
            verify_taken(json.dumps(changed).encode(), key)
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(made["taken"]["grant"]), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        run_command(app, ["receipt", "verify", str(file), "--key", made["key"]])
    assert (ended.value.code, "Your grant for" in capsys.readouterr().out) == (0, True)


def test_schema_refuses_a_receipt_that_lacks_what_27560_asks_for(named: Any) -> None:
    """Without notice, status, purpose, duration or controller a grant's receipt does not fit."""
    schema = json.loads((files("consent") / "receipt_schema_v3.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    receipt = named.grant("alice").json()["receipt"]
    assert validator.is_valid(receipt)
    for name in receipt:
        assert not validator.is_valid({n: v for n, v in receipt.items() if n != name}), name
    assert not validator.is_valid(receipt | {"dpv:hasConsentStatus": "dpv:ConsentWithdrawn"})
    assert not validator.is_valid(receipt | {"name": "Alice"})


def test_receipt_with_any_byte_changed_is_refused(named: Any) -> None:
    """Each byte of the file in turn with its lowest bit flipped: never does it verify."""
    key = named.service.key.verify_key
    data = json.dumps(named.grant("alice").json()).encode()
    verify_taken(data, key)
    believed = []
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            verify_taken(changed, key)
        except ReceiptInvalid:
            continue
        believed.append(data[max(0, place - 20) : place + 5])
    assert believed == []


def test_receipt_with_a_word_changed_says_so(named: Any) -> None:
    """A purpose more than was consented to is told from the recorded one."""
    given = named.grant("alice", purposes=["service"]).json()
    given["receipt"]["dpv:hasPurpose"].append("undertone:offers")
    with pytest.raises(ReceiptInvalid, match="a word differs"):
        verify_taken(json.dumps(given).encode(), named.service.key.verify_key)


def test_parts_of_two_receipts_do_not_make_a_third(named: Any) -> None:
    """Every part taken from another person's receipt is noticed."""
    key = named.service.key.verify_key
    mine, other = named.grant("alice").json(), named.grant("bob").json()
    for part in mine:
        with pytest.raises(ReceiptInvalid):
            verify_taken(json.dumps(mine | {part: other[part]}).encode(), key)


def test_receipt_of_another_log_is_refused(named: Any) -> None:
    """A receipt holds against the key of its own log only."""
    data = json.dumps(named.grant("alice").json()).encode()
    with pytest.raises(ReceiptInvalid):
        verify_taken(data, SigningKey.generate("trust").verify_key)


def test_salt_of_a_receipt_is_not_kept(named: Any) -> None:
    """Nothing in the service's files tells a guessed receipt from a wrong one."""
    salt = named.grant("alice").json()["receipt"]["undertone:salt"]
    kept = [path.read_bytes() for path in named.folder.rglob("*") if path.is_file()]
    assert not any(salt.encode() in data or bytes.fromhex(salt) in data for data in kept)


def test_receipt_verify_command_says_what_holds(
    named: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file and the public key: words and exit 0; damaged: one line and exit 1."""
    key, file = str(named.service.key.verify_key), tmp_path / "receipt.json"
    given = named.grant("alice").json()
    file.write_text(json.dumps(given), encoding="utf-8")

    def run(*arguments: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            run_command(app, ["receipt", "verify", *arguments])
        return ended.value.code, *capsys.readouterr()

    code, out, _ = run(str(file), "--key", key)
    assert code == 0
    assert "Your grant for service, training at acme was recorded" in out
    code, out, _ = run(str(file), "--key", key, "--json")
    assert (code, json.loads(out)["record"]) == (0, given["record"])
    file.write_text(json.dumps(given | {"record": "0" * 32}), encoding="utf-8")
    code, out, err = run(str(file), "--key", key)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "another record" in err
    assert run(str(tmp_path / "none"), "--key", key)[0] == 2
    assert run(str(file), "--key", "nonsense")[0] == 2
