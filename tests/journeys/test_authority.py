"""A question from the authority: why was this customer's call not routed by her anger?

decision → rule and statute → evidence → proof
"""

from __future__ import annotations

import base64

import pytest

from audit.events import EventKind
from audit.leaf import decode_leaf
from audit.receipt import verify_receipt
from audit.verify import verify_log
from policies.catalogue import CATALOGUE
from policies.decision import request_from_dict, request_to_dict
from policies.engine import PolicyEngine
from policies.standing import governance_from_dict, standing_from_dict
from policies.vocabulary import Purpose, RuleId
from tests.promises.town import Town, consents, says


@pytest.mark.promise(1)
@pytest.mark.promise(8)
def test_question_from_decision_to_proof(town: Town) -> None:
    """A decision is traced to its rule and statute, made again from its facts, and proven."""
    branch = town.branch()
    node = branch.open()
    api, anna = branch.api(node), branch.subject("anna")
    consents(api, "anna", purposes=["service"])
    node.keeper.poll()
    turn = says(api, "anna")["turn"]

    # The branch asks to sell her something because of how she feels. It is refused.
    refused = api.post("/v1/uses/upsell", json={"turn": turn}).json()
    assert refused["answer"] == "refused"

    # The authority asks by the decision's id: rule and statute are in the answer itself,
    # and in the catalogue, in plain words.
    for rule in refused["rules"]:
        written = CATALOGUE[RuleId(rule)]
        assert written.sentence in refused["reasons"]
        assert written.statute in refused["statutes"]

    # The evidence: one entry of the node's log, with no name and no word of hers in it.
    decided = (e for e in node.log.entries(0, node.log.size) if "decision_id" in e.event.fields)
    entry = next(e for e in decided if e.event.fields["decision_id"] == refused["decision"])
    fields = entry.event.fields
    assert (fields["allowed"], fields["rules"]) == (False, refused["rules"])
    assert anna.encode() not in entry.leaf
    assert b"terrible" not in entry.leaf

    # The facts considered lie sealed at the node. Opened for a named request, they give the
    # same answer by the same rules: anyone who has them can decide again.
    facts = node.log.payload(entry.index)
    assert facts is not None
    again = PolicyEngine.load().decide(
        request_from_dict(facts["request"]),
        standing_from_dict(facts["standing"]),
        governance_from_dict(facts["governance"]),
        now=facts["now"],
    )
    assert (again.allowed, list(again.rules)) == (False, refused["rules"])
    assert again.request_digest == fields["request_digest"]
    assert again.standing_digest == fields["standing_digest"]
    assert again.policy_digest == fields["policy_digest"]

    # The proof, offline: leaf, receipt and the node's public key say that it was logged.
    receipt = node.log.receipt(entry.index)
    node.close()
    assert verify_receipt(receipt, entry.leaf, branch.node_key.verify_key) == entry.index
    assert decode_leaf(entry.leaf)[0] == entry.event
    log = node.settings.folder / "log.db"
    known = receipt.partition("\n\n")[2]  # the receipt's own signed checkpoint
    assert verify_log(log, branch.node_key.verify_key, known_checkpoint=known).size > entry.index

    # What the trust service would have said is the same: it too keeps its answer as evidence.
    trust = town.trust
    body = {"request": request_to_dict(request_from_dict(facts["request"]))}
    theirs = trust.as_node(node.node, "POST", "/v1/decisions", body).json()
    assert (theirs["allowed"], theirs["rules"]) == (False, refused["rules"])
    newest = trust.service.log.find(EventKind.DECISION)[0]
    assert newest.event.fields["decision_id"] == theirs["decision_id"]
    found = trust.send("GET", f"/v1/log/{newest.index}").json()
    leaf = base64.b64decode(found["leaf"])
    key = trust.service.key.verify_key
    assert verify_receipt(found["receipt"], leaf, key) == newest.index
    assert request_from_dict(facts["request"]).purpose is Purpose.OFFERS
