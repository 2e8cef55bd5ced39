"""Promise 4: only the customer's channel is read; agents are never measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from client_node.redaction import Redaction
from policies.decision import UseRequest, request_to_dict
from policies.vocabulary import Action, Channel, NodeId, Purpose, SubjectId
from tests.promises.town import Town, consents, says

pytestmark = pytest.mark.promise(4)

WHOSE = [
    ({"channel": "agent"}, "r03-agent-channel"),
    ({"channel": "mixed"}, "r03-speakers-not-separated"),
    ({"role": "worker"}, "r01-role-mismatch"),
    ({"setting": "workplace"}, "r01-workplace"),
]


class Unreadable:
    """A redactor that no agent's words may reach."""

    def redact(self, text: str) -> Redaction:
        """Fail."""
        raise AssertionError(f"{len(text)} characters of an agent were read")


@pytest.mark.parametrize(("whose", "rule"), WHOSE)
def test_agents_words_are_refused_unread(
    make_town: Callable[..., Town], whose: dict[str, str], rule: str
) -> None:
    """Whatever was consented to, an agent's or a mixed channel is not read and nothing is kept."""
    town = make_town(redactor=Unreadable())
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    refused = says(api, "anna", **whose)
    assert (refused["answer"], refused["sealed_for"]) == ("refused", [])
    assert rule in refused["rules"]


@pytest.mark.parametrize("channel", [Channel.AGENT, Channel.MIXED])
def test_trust_service_permits_no_other_caller_to_read_agents(town: Town, channel: Channel) -> None:
    """The same answer comes from POST /v1/decisions."""
    town.branch().open()
    town.trust.grant("anna", node="branch-1")
    request = UseRequest(
        node=NodeId("branch-1"),
        action=Action.INFER,
        purpose=Purpose.SERVICE,
        subject=SubjectId("anna"),
        channel=channel,
    )
    body = {"request": request_to_dict(request)}
    assert not town.trust.as_node("branch-1", "POST", "/v1/decisions", body).json()["allowed"]


def test_label_never_comes_from_an_agent(town: Town) -> None:
    """There is no provenance for an agent's score: it is refused as unknown."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    turn = says(api, "anna")["turn"]
    score = {"turn": turn, "label": "frustrated", "provenance": "agent_score"}
    assert api.post("/v1/labels", json=score).status_code == 422
