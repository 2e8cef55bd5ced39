"""A withdrawal, from the person's word to the receipt that anyone can verify.

person → consent ledger → signed standing → gate closes → keys destroyed → next round
without them → receipt
"""

from __future__ import annotations

import base64

import pytest

from audit.batch import Membership, verify_batch_proof
from audit.events import EventKind
from audit.receipt import verify_receipt
from audit.verify import verify_log
from coordinator.journal import RunState
from policies.vocabulary import RunId
from tests.promises.headquarters import Headquarters
from tests.promises.town import Fleet, Town, events, round_of, says, wants_training


@pytest.mark.promise(3)
@pytest.mark.promise(11)
def test_withdrawal_from_the_persons_word_to_the_receipt(town: Town) -> None:
    """One step of the person closes the gate, destroys keys, empties the next round: proven."""
    branch = town.branch(plan_changes={"rounds": 1})
    node = branch.open()
    api, anna = branch.api(node), branch.subject("anna")

    # Anna and Ben consent, say something and rate it; both are in the first run.
    consented = wants_training(api, node, "anna", "ben")["anna"]
    centre = Headquarters(town.folder / "centre", town.coordinator, town.clock.now)
    fleet = Fleet({node.node: round_of(branch, node)})
    assert centre.hold(branch, fleet, run="run-1") is RunState.COMPLETED

    # Anna scans her code. The token in it is all that she needs: no account, no branch.
    withdrawn = town.by_code(consented["manage_token"], "training")
    assert withdrawn.status_code == 201

    # The node hears it: the gate closes for training, that key is destroyed, no other.
    node.keeper.poll()
    assert says(api, "anna")["sealed_for"] == ["service"]
    assert node.vault.purposes_of(anna) == {"service", "evidence"}

    # The next run is without her, and that can be shown of each run.
    assert centre.hold(branch, fleet, run="run-2") is RunState.COMPLETED
    for run, expected in (("run-1", Membership.PRESENT), ("run-2", Membership.ABSENT)):
        (shown,) = node.training.prove(RunId(run), 1, anna)
        leaf = base64.b64decode(shown["leaf"])
        verify_receipt(shown["receipt"], leaf, branch.node_key.verify_key)
        assert shown["root"].encode() in leaf
        blinded = bytes.fromhex(shown["blinded"])
        assert verify_batch_proof(shown["root"], shown["proof"], blinded) is expected

    # Then she wants everything gone. The next turn is refused, and nothing of hers opens.
    erased = town.by_code(consented["manage_token"], None)
    node.keeper.poll()
    refused = says(api, "anna")
    assert refused["answer"] == "refused"
    assert "r06-erased" in refused["rules"]
    assert node.vault.purposes_of(anna) <= {"evidence"}  # of this refusal, and nothing earlier
    (told,) = events(town.trust.service.log, EventKind.ERASURE_ACKNOWLEDGED)[1:]
    assert told.fields["node"] == node.node

    # Both receipts verify offline, with the trust service's public key and nothing else.
    key = town.trust.service.key.verify_key
    for receipt in (withdrawn.json(), erased.json()):
        leaf = base64.b64decode(receipt["leaf"])
        assert verify_receipt(receipt["proof"], leaf, key) == receipt["log_index"]
        assert receipt["record"].encode() in leaf
        assert anna.encode() not in leaf

    # And every log still verifies, though payloads are gone.
    centre.close()
    for path, signer in (
        (town.trust.settings.folder / "log.db", key),
        (node.settings.folder / "log.db", branch.node_key.verify_key),
        (centre.folder / "log.db", town.coordinator.verify_key),
    ):
        assert verify_log(path, signer).size > 0
