"""The states of a consent by DPV's names: the machine, and the routes that move it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.events import EventKind
from audit.staff import Staff, StaffRole
from consent.api import create_app
from consent.errors import Conflict
from consent.notice import Notice
from consent.recorder import Person
from consent.records import (
    DAY_S,
    Act,
    Deferred,
    Erased,
    Granted,
    Invalidated,
    Record,
    Refused,
    Requested,
    Revoked,
    Unconfirmed,
    Withdrawn,
    act_from_dict,
    act_to_dict,
    standing_of,
)
from consent.states import (
    TRANSITIONS,
    Cell,
    ConsentState,
    Step,
    Validity,
    state_of,
    validity,
)
from consent.taken import UNINFORMED, verify_taken
from policies.vocabulary import AgeBand, Modality, Purpose, Role, SubjectId

ALICE = SubjectId("alice")
NO_ACT = ("silence", "pre-ticked", "implied", "ticked a box", "")
DPV = {
    "ConsentStatusValidForProcessing": {"ConsentGiven", "RenewedConsentGiven"},
    "ConsentStatusInvalidForProcessing": {
        "ConsentExpired", "ConsentInvalidated", "ConsentRefused", "ConsentRequestDeferred",
        "ConsentRequested", "ConsentRevoked", "ConsentUnknown", "ConsentWithdrawn",
    },
}  # fmt: skip
"""The twelve terms below dpv:ConsentStatus (DPV 2, module consent_status)."""


def a_yes(how: str = "ticked_box", days: int = 10, modality: Modality = Modality.TEXT) -> Granted:
    """Return a grant of one consent."""
    return Granted(
        purposes=frozenset({Purpose.SERVICE}),
        modalities=frozenset({modality}),
        notice_version=1,
        act=how,
        role=Role.CUSTOMER,
        age=AgeBand.ADULT,
        vulnerabilities=frozenset(),
        informed=True,
        valid_days=days,
        jurisdiction="IE",
    )


SERVICE = frozenset({Purpose.SERVICE})
ACTS = st.one_of(
    st.builds(
        a_yes,
        how=st.sampled_from(["ticked_box", "spoken_yes", *NO_ACT]),
        days=st.integers(1, 9),
        modality=st.sampled_from([Modality.TEXT, Modality.VOICE]),
    ),
    st.just(Requested(purposes=SERVICE, modalities=frozenset(Modality), notice_version=1)),
    st.just(Unconfirmed(granted=a_yes(), until=1)),
    st.just(Deferred(purposes=SERVICE)),
    st.just(Refused(purposes=SERVICE)),
    st.just(Withdrawn(purpose=Purpose.SERVICE)),
    st.just(Withdrawn(purpose=Purpose.TRAINING)),
    st.just(Revoked(purposes=SERVICE, by="officer")),
    st.just(Invalidated(purposes=SERVICE, by="officer", finding="case-1")),
    st.just(Erased()),
)


def in_order(steps: list[tuple[Act, int]]) -> tuple[list[Record], float]:
    """Return the acts as records, each some days after the one before, and the last time."""
    at, records = 1_800_000_000.0, []
    for number, (act, days) in enumerate(steps):
        at += days * DAY_S + 1
        records.append(
            Record(
                sequence=number, record_id=str(number), company="acme", subject=ALICE,
                node=None, at=at, act=act,
            )
        )  # fmt: skip
    return records, at


def test_states_are_dpvs_twelve_terms_and_no_other() -> None:
    """Ten states and two classes carry the vocabulary's names, each state in its own class."""
    for name, states in DPV.items():
        assert {s.value for s in ConsentState if validity(s) is Validity(name)} == states
    assert len(ConsentState) + len(Validity) == 12


def test_valid_state_is_entered_by_giving_alone() -> None:
    """In the whole table only the step of giving leads from an invalid state to a valid one."""
    for (state, step), following in TRANSITIONS.items():
        if validity(following) is Validity.VALID and validity(state) is Validity.INVALID:
            assert step is Step.GIVE


def test_a_no_is_possible_from_every_state() -> None:
    """Refusing and withdrawing are steps from everywhere, and never end valid."""
    for state in ConsentState:
        for step in (Step.REFUSE, Step.WITHDRAW):
            assert validity(TRANSITIONS[state, step]) is Validity.INVALID


@settings(max_examples=400)
@given(st.lists(st.tuples(ACTS, st.integers(0, 6)), max_size=8), st.integers(0, 12))
def test_no_sequence_is_valid_without_an_explicit_yes_after_the_last_no(
    steps: list[tuple[Act, int]], later: int
) -> None:
    """Valid is where the last word was an explicit, unexpired yes, and so say the rules' facts."""
    records, last = in_order(steps)
    now = last + later * DAY_S + 1
    state = state_of(reversed(records), Purpose.SERVICE, Modality.TEXT, now=now)
    valid = validity(state) is Validity.VALID

    expires = 0.0
    for record in records:
        act = record.act
        if isinstance(act, Granted):
            if act.act in {"ticked_box", "spoken_yes"} and Modality.TEXT in act.modalities:
                expires = record.at + act.valid_days * DAY_S
        elif isinstance(act, Erased):
            expires = 0.0
            break
        elif isinstance(act, Withdrawn):
            expires = 0.0 if act.purpose is Purpose.SERVICE else expires
        elif isinstance(act, Refused | Revoked | Invalidated):
            expires = 0.0
    assert valid == (int(expires) > now)

    standing = standing_of(records, subject=ALICE, as_of=int(now))
    grant = standing.grant_for(Purpose.SERVICE, Modality.TEXT)
    open_to_rules = grant is not None and grant.explicit and grant.expires_at > now
    if all(not isinstance(a, Granted) or a.act in {"ticked_box", "spoken_yes"} for a, _ in steps):
        assert open_to_rules == valid
    else:
        assert valid or not open_to_rules


@given(ACTS)
def test_act_survives_the_ledger(act: Act) -> None:
    """What the ledger keeps of an act gives the act back."""
    assert act_from_dict(json.loads(json.dumps(act_to_dict(act)))) == act


def test_yes_after_an_expired_consent_renews_it_even_when_asked_in_between() -> None:
    """A lapsed consent that is asked for and given again is renewed; a withdrawn one is new."""
    asked = Requested(purposes=SERVICE, modalities=frozenset({Modality.TEXT}), notice_version=1)
    cases: list[tuple[list[Act], ConsentState]] = [
        ([a_yes(days=1), asked, a_yes()], ConsentState.RENEWED),
        ([a_yes(days=1), a_yes()], ConsentState.RENEWED),
        ([a_yes(days=1), Withdrawn(purpose=Purpose.SERVICE), a_yes()], ConsentState.GIVEN),
        ([asked, a_yes()], ConsentState.GIVEN),
    ]
    for acts, state in cases:
        records, last = in_order([(act, 2) for act in acts])
        assert state_of(records, Purpose.SERVICE, Modality.TEXT, now=last) is state


def test_step_that_does_not_exist_is_refused() -> None:
    """What was never given cannot be revoked."""
    with pytest.raises(Conflict, match="no step revoke"):
        Cell().after(Step.REVOKE)


# -- over the service --------------------------------------------------------------------


def states(world: Any, subject: str = "alice") -> Any:
    """Return the states of a person as the service tells them to a node."""
    answer = world.as_node("north", "POST", "/v1/consent-states", {"subject": subject})
    assert answer.status_code == 200, answer.text
    return answer.json()["states"]


def ask(world: Any, path: str, **body: Any) -> Any:
    """Send what a person answered through a node."""
    return world.as_node(
        "north", "POST", path, {"subject": "alice", "purposes": ["handover"]} | body
    )


def test_asked_put_off_refused_and_given_move_the_state_and_the_log(world: Any) -> None:
    """Each step is one event and one receipt in DPV's word; asking is decided before."""
    more: dict[str, Any] = {"modalities": ["text"], "notice_version": 1}
    walked = []
    for path, body in (("/v1/consent-requests", more), ("/v1/deferrals", {}), ("/v1/refusals", {})):
        size = world.service.log.size
        taken = ask(world, path, **body)
        assert taken.status_code == 201, taken.text
        decided = 1 if path == "/v1/consent-requests" else 0
        assert world.service.log.size == size + decided + 1
        status = taken.json()["receipt"]["dpv:hasConsentStatus"]
        assert states(world)["handover"]["text"]["state"] == status
        entry = world.service.log.entry(taken.json()["log_index"]).event
        walked.append((status, entry.kind.value, entry.fields["step"]))
    assert walked == [
        ("dpv:ConsentRequested", "consent-moved", "request"),
        ("dpv:ConsentRequestDeferred", "consent-moved", "deferral"),
        ("dpv:ConsentRefused", "consent-moved", "refusal"),
    ]
    assert states(world)["handover"]["text"]["validity"] == "dpv:ConsentStatusInvalidForProcessing"


def test_refusal_of_a_newcomer_feeds_rule_18(world: Any) -> None:
    """The no of somebody who never said yes is in the next feed with its time."""
    assert ask(world, "/v1/refusals").status_code == 201
    standing = world.standing("alice")
    assert standing["refused"] == [["handover", int(world.clock.now)]]
    assert standing["grants"] == []
    assert standing["withdrawn"] == []


def test_refusal_of_a_consent_in_force_ends_it_and_its_key(world: Any) -> None:
    """A no counts although nobody asked: grant gone, key named in the feed."""
    world.grant("alice", purposes=["handover", "service"])
    before = world.feed()["sequence"]
    assert ask(world, "/v1/refusals").status_code == 201
    page = world.feed(after=before)
    assert page["withdrawn"] == [{"subject": "alice", "purpose": "handover"}]
    assert [g["purpose"] for g in page["standings"][0]["grants"]] == ["service"]


def test_refusal_takes_the_manage_token_too(world: Any) -> None:
    """Whoever holds the token refuses without a node."""
    token = world.grant("alice").json()["manage_token"]
    body = json.dumps({"manage_token": token, "purposes": ["training"]}).encode()
    assert world.send("POST", "/v1/refusals", body).status_code == 201
    assert states(world)["training"]["text"]["state"] == "dpv:ConsentRefused"


def test_deferral_without_a_request_is_refused(world: Any) -> None:
    """Nobody can put off what was never asked; the refusal alone is recorded."""
    log, size = world.service.log, world.service.log.size
    answer = ask(world, "/v1/deferrals")
    assert answer.status_code == 409
    assert "no step defer from ConsentUnknown" in answer.json()["detail"]
    recorded = [log.entry(index).event.kind for index in range(size, log.size)]
    assert recorded == [EventKind.INPUT_REFUSED]


def test_pseudonym_of_another_company_is_not_moved(world: Any) -> None:
    """A company cannot refuse, or ask, for another company's person."""
    world.grant("alice")
    body = {"subject": "alice", "purposes": ["service"]}
    assert world.as_node("rival", "POST", "/v1/refusals", body).status_code == 409
    assert states(world)["service"]["text"]["state"] == "dpv:ConsentGiven"


def test_expiry_closes_by_the_clock_alone(world: Any) -> None:
    """At the last second of its days a consent is expired without anybody's doing."""
    world.grant("alice", valid_days=1)
    world.clock.now += DAY_S - 1
    assert states(world)["service"]["text"]["state"] == "dpv:ConsentGiven"
    world.clock.now += 1
    assert states(world)["service"]["text"]["state"] == "dpv:ConsentExpired"
    world.grant("alice")
    assert states(world)["service"]["text"]["state"] == "dpv:RenewedConsentGiven"


@pytest.mark.parametrize(
    ("path", "more", "state"),
    [
        ("/v1/revocations", {}, "dpv:ConsentRevoked"),
        ("/v1/invalidations", {"finding": "case-7"}, "dpv:ConsentInvalidated"),
    ],
)
def test_end_by_the_company_is_for_officer_and_dpo(
    world: Any, path: str, more: dict[str, str], state: str
) -> None:
    """Nobody but the two may end a consent for the company; then the gate closes everywhere."""
    world.grant("alice", purposes=["service"])
    before = world.feed()["sequence"]
    app = create_app(world.service)
    body = {"subject": "alice", "purposes": ["service"]} | more

    def send(role: StaffRole | None) -> httpx.Response:
        if role is not None:
            app.state.admit = lambda _: Staff(name="a-name", roles=frozenset({role}))

        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="https://trust") as client:
                return await client.post(path, json=body)

        return asyncio.run(sent())

    assert send(None).status_code == 401
    assert send(StaffRole.OPERATOR).status_code == 403
    assert states(world)["service"]["text"]["state"] == "dpv:ConsentGiven"
    assert send(StaffRole.DPO).status_code == 201
    assert states(world)["service"]["text"]["state"] == state
    page = world.feed(after=before)
    assert page["standings"][0]["grants"] == []
    assert page["standings"][0]["refused"] == []
    assert page["withdrawn"] == [{"subject": "alice", "purpose": "service"}]


def test_what_was_shown_is_recorded_and_must_be_the_notice(world: Any) -> None:
    """Language, digest and channel of the text shown are on the receipt; another is refused."""
    notice: Notice = world.service.officer.notice(1)
    digest = notice.text_digests()["en"]
    shown = {"language": "en", "text_digest": digest, "channel": "kiosk"}
    proof = {"evidence": "1" * 64}
    receipt = world.grant("alice", shown=shown, capture=proof).json()["receipt"]
    seen = receipt["dpv:hasNotice"]
    assert (seen["dct:language"], seen["undertone:shownDigest"]) == ("en", digest)
    assert seen["undertone:channel"] == "kiosk"
    for wrong in ({"text_digest": "0" * 64}, {"language": "de"}, {"channel": "smoke"}):
        answer = world.grant("bob", shown=shown | wrong, capture={"evidence": "2" * 64})
        assert answer.status_code == 422
    assert [s["subject"] for s in world.feed()["standings"]] == ["alice"]


def test_earlier_consent_without_information_is_invalidated_at_the_start(world: Any) -> None:
    """What a version before took of the untold is found invalid once, logged, and told to nodes.

    Whoever was told afterwards, and said yes again, keeps what they said.
    """
    people = {"alice": [False], "bob": [True, False], "carol": [False, True], "dave": [True]}
    for subject, told in people.items():
        for informed in told:
            yes = replace(a_yes(), informed=informed)
            person = Person(company="acme", subject=SubjectId(subject), node=None)
            taken = world.service.acts._recorder.write([(person, yes)])[0]
            if not informed:
                key = world.service.key.verify_key
                assert UNINFORMED in verify_taken(json.dumps(taken).encode(), key).sentences()
    before = world.feed()["sequence"]
    world.reopen()
    found = {who: states(world, who)["service"]["text"]["state"] for who in people}
    assert found == {
        "alice": "dpv:ConsentInvalidated",
        "bob": "dpv:ConsentInvalidated",
        "carol": "dpv:RenewedConsentGiven",
        "dave": "dpv:ConsentGiven",
    }
    page = world.feed(after=before)
    assert page["withdrawn"] == [{"subject": s, "purpose": "service"} for s in ("alice", "bob")]
    assert [s["grants"] for s in page["standings"]] == [[], []]
    log = world.service.log
    steps = [e.event.fields.get("step") for e in log.entries(0, log.size)]
    assert steps.count("invalidation") == 2
    world.reopen()
    assert world.feed()["sequence"] == page["sequence"]
