"""How an answer is caught: each channel with its own act and proof, and nothing without an act."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema

from consent.capture import SIGNS, Channel, Sign
from consent.taken import verify_taken
from policies.vocabulary import Action, Modality, Purpose, SubjectId
from tests.consent.conftest import NOTICE_TEXT, World, a_grant, captured

SHORT = "We read expressed emotion, if you agree."


def decided(
    world: World, subject: str, purpose: Purpose, modality: Modality = Modality.TEXT
) -> list[str]:
    """Return the rules against inferring for a purpose; none where the gate opens."""
    request = {
        "node": "north", "action": Action.INFER, "purpose": purpose, "subject": subject,
        "modality": modality,
    }  # fmt: skip
    answer = world.as_node("north", "POST", "/v1/decisions", {"request": request})
    assert answer.status_code == 200, answer.text
    return [] if answer.json()["allowed"] else list(answer.json()["rules"])


def test_channel_grants_by_its_own_act_and_its_receipt_holds_offline(world: World) -> None:
    """A captured yes opens the gate; the receipt says how it was caught, and verifies offline."""
    schema = json.loads((files("consent") / "receipt_schema_v3.json").read_text())
    for number, channel in enumerate(Channel):
        who, proof = f"alice-{channel}", f"{number}" * 64
        given = world.grant(who, **captured(world, channel, evidence=proof)).json()
        assert decided(world, who, Purpose.SERVICE) == []
        jsonschema.Draft202012Validator(schema).validate(given["receipt"])
        holds = verify_taken(json.dumps(given).encode(), world.service.key.verify_key)
        assert holds.receipt["dpv:hasNotice"]["undertone:channel"] == channel
        assert holds.receipt["undertone:capture"]["undertone:evidence"] == proof
        assert "agent-7" not in json.dumps(given["receipt"])
        event = world.service.log.entry(given["log_index"]).event.fields
        assert (event["channel"], event["evidence"]) == (channel, proof)


NO_ACT = ["", "silence", "pre-ticked", "default", "ticked a box", None]


def test_channel_refuses_what_is_no_act_of_its_own(world: World) -> None:
    """Silence, a box ticked beforehand, or another channel's act: refused, and the gate shut."""
    tried = 0
    for channel in Channel:
        others = [sign.value for sign in Sign if sign not in SIGNS[channel]]
        for act in [*others, *NO_ACT]:
            answer = world.grant("alice", **captured(world, channel) | {"act": act})
            assert answer.status_code == 422, (channel, act)
            tried += 1
    assert tried == 4 * len(NO_ACT) + 4 * len(Sign) - 6
    assert world.feed()["standings"] == []


def test_channel_refuses_a_capture_without_its_proof(world: World) -> None:
    """What a channel has of proof is asked for, each part; what it has not is refused."""
    needed = {"ivr": ["reference", "script"], "agent": ["reference", "script", "agent"]}
    for channel in Channel:
        whole = captured(world, channel)
        for missing in ["evidence", *needed.get(channel, [])]:
            proof = {name: of for name, of in whole["capture"].items() if name != missing}
            answer = world.grant("alice", **whole | {"capture": proof})
            assert answer.status_code == 422
            assert missing in answer.json()["detail"]
        assert world.grant("alice", **whole | {"capture": None}).status_code == 422
        assert world.grant("alice", **whole | {"shown": None}).status_code == 422
        if channel != Channel.AGENT:
            proof = whole["capture"] | {"agent": "agent-7"}
            assert world.grant("alice", **whole | {"capture": proof}).status_code == 422
    assert world.feed()["standings"] == []


def test_proof_counts_once(world: World) -> None:
    """A proof brought again gives nobody a consent: not after a no, and not to somebody else."""
    whole = captured(world, Channel.IVR)
    assert world.grant("alice", **whole).status_code == 201
    no = {"subject": "alice", "purpose": "service"}
    assert world.as_node("north", "POST", "/v1/withdrawals", no).status_code == 201
    for who, node in (("alice", "north"), ("bob", "north"), ("bob", "south")):
        again = world.grant(who, node, **whole)
        assert again.status_code == 409, again.text
        assert "used before" in again.json()["detail"]
    both = {"grants": [a_grant(who, **whole) for who in ("carla", "dora")]}
    both["grants"] = [
        g | {"capture": g["capture"] | {"evidence": "b" * 64}} for g in both["grants"]
    ]
    assert world.as_node("north", "POST", "/v1/grants", both).status_code == 409
    assert decided(world, "alice", Purpose.SERVICE) != []
    assert world.grant("rosa", "rival", **whole).status_code == 201, "another company's own proof"


# -- recording and analysing ---------------------------------------------------------------


def test_recording_and_analysing_are_two_consents(world: World) -> None:
    """One act for both is refused; each alone is taken, with its own receipt."""
    voice: dict[str, Any] = {"modalities": ["voice"]}
    both = world.grant("alice", purposes=["service", "recording"], **voice)
    assert both.status_code == 422
    assert "recording is a consent of its own" in both.json()["detail"]
    analysing = world.grant("alice", purposes=["service"], **voice).json()["receipt"]
    recording = world.grant("alice", purposes=["recording"], **voice).json()["receipt"]
    assert recording["dpv:hasPersonalData"] == ["pd:VoiceCommunicationRecording"]
    assert recording["dpv:hasProcessing"] == ["dpv:Record", "dpv:Store"]
    assert recording["dpv:hasLegalBasis"] == "eu-gdpr:A6-1-a"
    assert analysing["dpv:hasLegalBasis"] == "eu-gdpr:A9-2-a"
    schema = json.loads((files("consent") / "receipt_schema_v3.json").read_text())
    fits = jsonschema.Draft202012Validator(schema)
    fits.validate(recording)
    assert not fits.is_valid(recording | {"dpv:hasPurpose": ["undertone:service"]})
    assert not fits.is_valid(analysing | {"dpv:hasPurpose": ["undertone:recording"]})


def test_analysing_works_without_recording(world: World) -> None:
    """Who is analysed need not be recorded: the gate opens, and recording stays not given."""
    world.grant("alice", purposes=["service"], modalities=["voice"])
    assert decided(world, "alice", Purpose.SERVICE, Modality.VOICE) == []
    assert states(world)["recording"]["voice"] == "dpv:ConsentUnknown"


def test_recording_never_implies_analysing(world: World) -> None:
    """Who is recorded is not read: for no purpose, not for recording itself, DPIA or not."""
    assert world.approve(*Purpose, dpia="all").status_code == 201
    world.grant("alice", purposes=["recording"], modalities=["voice"])
    for purpose in Purpose:
        assert decided(world, "alice", purpose, Modality.VOICE) != [], purpose
    assert states(world)["recording"]["voice"] == "dpv:ConsentGiven"


def test_withdrawal_of_one_leaves_the_other(world: World) -> None:
    """No to recording leaves the analysis, and the other way round."""
    for subject, gone, left in (("alice", "recording", "service"), ("bob", "service", "recording")):
        for purpose in ("recording", "service"):
            world.grant(subject, purposes=[purpose], modalities=["voice"])
        no = {"subject": subject, "purpose": gone}
        assert world.as_node("north", "POST", "/v1/withdrawals", no).status_code == 201
        found = states(world, subject)
        assert found[gone]["voice"] == "dpv:ConsentWithdrawn"
        assert found[left]["voice"] == "dpv:ConsentGiven"


def states(world: World, subject: str = "alice") -> dict[str, dict[str, str]]:
    """Return the DPV state of each consent."""
    found = world.as_node("north", "POST", "/v1/consent-states", {"subject": subject}).json()
    return {
        purpose: {modality: cell["state"] for modality, cell in cells.items()}
        for purpose, cells in found["states"].items()
    }


# -- layers ----------------------------------------------------------------------------------


def test_layer_and_language_shown_are_on_the_receipt_and_must_be_the_notices(
    empty: World,
) -> None:
    """A grant says which layer and language were shown; a digest of another layer is refused."""
    texts = {"en": NOTICE_TEXT, "de": "Wir lesen Gefühle in Ihren Nachrichten."}
    short = {"en": SHORT, "de": "Wir lesen Gefühle."}
    assert empty.decree("notice", version=1, texts=texts, short=short).status_code == 201
    assert empty.enrol("north", "acme").status_code == 201
    notice = empty.send("GET", "/v1/notices/1").json()
    assert notice["short"] == short
    for layer, digests in (("short", notice["short_digests"]), ("full", notice["digests"])):
        for language, digest in digests.items():
            shown = {"language": language, "text_digest": digest, "channel": "web"}
            proof = {"evidence": layer[0].encode().hex()[:1] * 62 + language.encode().hex()[:2]}
            sent: dict[str, Any] = {"shown": shown | {"layer": layer}, "capture": proof}
            seen = empty.grant("alice", **sent).json()["receipt"]["dpv:hasNotice"]
            assert (seen["undertone:layer"], seen["dct:language"]) == (layer, language)
            assert seen["undertone:shownDigest"] == digest
            assert seen["undertone:shortDigest"] == notice["short_digests"]
            other = "full" if layer == "short" else "short"
            wrong = empty.grant("bob", shown=shown | {"layer": other}, capture=proof)
            assert wrong.status_code == 422


def test_short_layer_that_does_not_do_is_refused(empty: World) -> None:
    """A first layer names emotion, in every language of the notice, and is short."""
    texts = {"en": NOTICE_TEXT, "de": "Wir lesen Gefühle in Ihren Nachrichten."}
    german = {"de": "Wir lesen Gefühle."}
    for short, says in (
        ({"en": SHORT}, "each of its languages"),
        (german | {"en": "We record calls."}, "does not name emotion"),
        (german | {"en": SHORT * 30}, "at most 1000"),
        ({"en": SHORT, "xx": "?"}, "language"),
    ):
        answer = empty.decree("notice", version=1, texts=texts, short=short)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]


def test_notice_without_a_short_layer_shows_none(world: World) -> None:
    """Nobody can have seen a layer that was never published."""
    whole = captured(world, Channel.WEB)
    shown = whole["shown"] | {"layer": "short"}
    assert world.grant("alice", **whole | {"shown": shown}).status_code == 422


def test_material_version_closes_the_gate_until_a_new_act(world: World) -> None:
    """A raised minimum ends what rests on the old notice; an immaterial one does not."""
    world.grant("alice", **captured(world, Channel.WEB))
    world.publish(2)
    assert decided(world, "alice", Purpose.SERVICE) == []
    world.publish(3, material=True)
    assert decided(world, "alice", Purpose.SERVICE) == ["r05-notice-too-old"]
    world.grant("alice", **captured(world, Channel.WEB, evidence="c" * 64), notice_version=3)
    assert decided(world, "alice", Purpose.SERVICE) == []


# -- guardians -------------------------------------------------------------------------------

GUARDIAN = {
    "subject": "parent-1", "relation": "parent", "verified": "document-seen", "evidence": "d" * 64,
}  # fmt: skip


def test_minors_consent_without_a_verified_guardian_is_refused(world: World) -> None:
    """No minor says yes alone, nobody else through a guardian, and no guardian unverified."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"age": "minor"}, "verified guardian"),
        ({"age": "adult", "guardian": GUARDIAN}, "for a minor alone"),
        ({"age": "minor", "guardian": GUARDIAN | {"subject": "alice"}}, "own guardian"),
        ({"age": "minor", "guardian": GUARDIAN, "valid_days": 366}, "365 days"),
        ({"age": "minor", "guardian": GUARDIAN | {"verified": "said-so"}}, "verified"),
    ]
    for change, says in cases:
        answer = world.grant("alice", **change)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]


def test_guardians_yes_stays_within_rule_7(world: World) -> None:
    """A verified guardian's consent is recorded with its proof; a minor's cues stay unread."""
    assert world.approve(*Purpose, dpia="all").status_code == 201
    asked = ["service", "aggregate_reporting"]
    given = world.grant("alice", age="minor", guardian=GUARDIAN, purposes=asked).json()
    receipt = given["receipt"]
    assert receipt["undertone:event"]["dpv:isIndicatedBy"] == "dpv:ParentOfDataSubject"
    assert receipt["undertone:guardian"]["undertone:verified"] == "document-seen"
    verify_taken(json.dumps(given).encode(), world.service.key.verify_key)
    assert decided(world, "alice", Purpose.SERVICE) == ["r07-minor-or-unknown-age"]
    assert decided(world, "alice", Purpose.AGGREGATE_REPORTING) == []


# -- objection and restriction --------------------------------------------------------------


def test_objection_and_restriction_close_the_gate_whatever_is_granted(world: World) -> None:
    """Each is a standing state: an objection its purposes, for good; a restriction everything."""
    subject = SubjectId("alice")
    for purpose in ("service", "training"):
        world.grant("alice", purposes=[purpose])
    said: dict[str, Any] = {"subject": subject, "purposes": ["training"]}
    assert world.as_node("north", "POST", "/v1/objections", said).status_code == 201
    assert "r06-objected" in decided(world, "alice", Purpose.TRAINING)
    assert decided(world, "alice", Purpose.SERVICE) == []
    for restricted, against in ((True, ["r06-restricted"]), (False, [])):
        body = {"subject": subject, "restricted": restricted}
        assert world.as_node("north", "POST", "/v1/restrictions", body).status_code == 201
        assert decided(world, "alice", Purpose.SERVICE) == against


def test_objection_to_marketing_is_absolute(world: World) -> None:
    """After it no grant for offers is recorded, and nobody is asked for one again."""
    assert world.approve(*Purpose, dpia="all").status_code == 201
    world.grant("alice", purposes=["offers"])
    said = {"subject": "alice", "purposes": ["offers"]}
    assert world.as_node("north", "POST", "/v1/objections", said).status_code == 201
    world.clock.now += 400 * 86_400
    again = world.grant("alice", purposes=["offers"], valid_days=30)
    assert again.status_code == 409
    assert "objected" in again.json()["detail"]
    asked = said | {"modalities": ["text"], "notice_version": 1}
    refused = world.as_node("north", "POST", "/v1/consent-requests", asked)
    assert refused.status_code == 403
    assert "r18-final-no" in refused.json()["rules"]
