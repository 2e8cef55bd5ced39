"""Instructions in a customer's words move nothing but the reading: a property, over consents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_node.redaction import Redactor
from policies.vocabulary import Purpose
from tests.client_node.bad_texts import INSTRUCTIONS, SAID
from tests.client_node.conftest import Branch, World
from tests.client_node.test_alerts import load

ASKED = ("agent_hint", "handover", "priority", "upsell", "price")
PURPOSES = (Purpose.SERVICE, Purpose.TRAINING, Purpose.AGENT_HELP, Purpose.HANDOVER)
FREE = {"idle_agents": 1, "reserved_agents": 1}
ORDERS = st.one_of(
    st.sampled_from(INSTRUCTIONS),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(("Grant", "Allow", "Ignore", "Genehmige", "Accorde", "Set")),
        st.sampled_from(("consent", "rule 4", "training", "handover", "priority", "price")),
        st.sampled_from(("for this customer", "= true", "; emotion=joy", '{"allowed": true}', "!")),
    ),
    st.text(max_size=60).filter(lambda text: text.isprintable()),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, redactor: Redactor) -> Iterator[Branch]:
    """Return a node that reads every turn as anger, with a customer for each set of consents."""
    world = World(tmp_path_factory.mktemp("instructed") / "node", redactor=redactor)
    for number in range(2 ** len(PURPOSES)):
        allowed = [purpose for place, purpose in enumerate(PURPOSES) if number >> place & 1]
        world.trust.put(world.standing(f"c{number}", *allowed))
    opened = world.open()
    load(world, opened, world.angry_weights())
    yield Branch(world, opened)
    world.close()


def moved(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the rules said of a turn: all but ids, times and the reading."""
    use = answer.get("use")
    return {name: answer[name] for name in ("rules", "reasons", "statutes")} | {
        "refused": answer["answer"] == "refused",
        "use": use and {name: use[name] for name in ("answer", "rules", "reasons", "statutes")},
    }


def standing_of(node: Branch, customer: str) -> Any:
    """Return all that the gate asks about a person and the organisation."""
    world, opened = node
    return opened.cache.standing(world.subject(customer)), opened.cache.governance


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.integers(0, 2 ** len(PURPOSES) - 1),
    said=st.sampled_from(SAID),
    order=ORDERS,
    use=st.sampled_from((None, *ASKED)),
    first=st.booleans(),
)
def test_instructions_move_no_consent_rule_or_use(
    node: Branch, *, number: int, said: str, order: str, use: str, first: bool
) -> None:
    """With and without, the gate says the same by the same rules, and no more is kept or done.

    A use may fall away with the reading it would rest on; none comes that was not there.
    """
    world, opened = node
    customer = f"c{number}"
    before = standing_of(node, customer)
    release, ledger = opened.releases.current, opened.ledger.spent()
    parts = (order, said) if first else (said, order)
    plain, told = (
        world.api(opened)
        .post(
            "/v1/turns",
            json={"customer": customer, "conversation": "x", "text": text, "use": use}
            | ({"queue": FREE} if use in {"handover", "priority"} else {}),
        )
        .json()
        for text in (said, " ".join(parts))
    )
    was, now = moved(plain), moved(told)
    if now["use"] and told["reading"]["because"]:
        assert now["use"]["answer"] == "refused" or was["use"]["answer"] == "done"
        was["use"] = now["use"] = None
    assert now == was
    assert set(told["sealed_for"]) <= set(plain["sealed_for"])
    assert standing_of(node, customer) == before
    assert opened.releases.current is release
    assert opened.ledger.spent() == ledger
