"""Claims about following a conversation: under the permit, in memory, bounded, and gone in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client_node.conversations import MOST_COURSES, Conversations
from client_node.errors import StartRefused
from client_node.service import NodeService
from client_node.vault import SESSION_S
from models.conversation import STANDARD, Silence
from models.inference import Reading, silent
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.redacted import Unread
from policies.vocabulary import Action, Purpose, ReleaseId, SubjectId
from tests.models.fakes import NOW, permit

ANNA, BOB = SubjectId("anna"), SubjectId("bob")
CUSTOMER = "customer-4711"
PAUSE_S = 600.0
KEEP = permit(ANNA, BOB, action=Action.STORE, purpose=Purpose.SERVICE)


def reading(valence: float) -> Reading:
    """Return a reading of some valence."""
    return Reading(
        label="frustrated",
        emotion=None,
        confidence=0.9,
        because=None,
        release_id=ReleaseId("release-1"),
        probabilities=(("frustrated", 0.9),),
        valence=valence,
        cue="frustrated" if valence < 0 else None,
    )


def later(seconds: float) -> Permit:
    """Return the permit to keep as it is issued later."""
    return replace(KEEP, issued_at=NOW + seconds, expires_at=NOW + seconds + 30)


def turns_known(
    followed: Conversations, subject: SubjectId = ANNA, *, after_s: float = 0, where: str = "c1"
) -> int:
    """Say one more thing; return how many turns of the conversation are known then."""
    said = followed.follow(
        where, "t", reading(-0.5), permit=later(after_s), subject=subject, now=NOW + after_s
    )
    return said.turns


def fresh(*, pause_s: float = PAUSE_S, most: int = MOST_COURSES) -> Conversations:
    """Return an empty memory."""
    return Conversations(rule=STANDARD, pause_s=pause_s, most=most)


def test_conversations_of_two_people_never_mix() -> None:
    """The same conversation id of two customers is two conversations; so are two ids of one."""
    followed = fresh()
    assert [turns_known(followed) for _ in range(2)] == [1, 2]
    assert turns_known(followed, BOB) == 1
    assert turns_known(followed, where="c2") == 1


@pytest.mark.parametrize(
    ("action", "purpose", "subject"),
    [
        (Action.INFER, Purpose.SERVICE, ANNA),
        (Action.STORE, Purpose.TRAINING, ANNA),
        (Action.STORE, Purpose.SERVICE, BOB),
    ],
)
def test_course_moves_only_under_the_permit_to_keep(
    action: Action, purpose: Purpose, subject: SubjectId
) -> None:
    """A permit to read, to keep for training, or for somebody else keeps nothing here."""
    followed = fresh()
    wrong = permit(ANNA, action=action, purpose=purpose)
    with pytest.raises(PermitInvalid):
        followed.follow("c1", "t", reading(-0.5), permit=wrong, subject=subject, now=NOW)
    assert len(followed) == 0


def test_withdrawal_drops_the_course_and_older_permits_with_it() -> None:
    """A turn under way while the person withdraws does not bring the conversation back."""
    followed = fresh()
    turns_known(followed)
    turns_known(followed, BOB)
    followed.withdraw([ANNA], now=NOW)
    assert len(followed) == 1
    with pytest.raises(PermitInvalid, match="older than a withdrawal"):
        followed.follow("c1", "t", reading(-0.5), permit=KEEP, subject=ANNA, now=NOW)
    assert turns_known(followed, BOB) == 2
    assert turns_known(followed, after_s=1) == 1


def test_course_ends_with_a_pause_and_with_the_session() -> None:
    """After the pause a conversation begins anew; none outlives the session (rule 16)."""
    followed = fresh()
    turns_known(followed)
    assert turns_known(followed, after_s=PAUSE_S - 1) == 2
    assert turns_known(followed, after_s=2 * PAUSE_S) == 1
    endless = fresh(pause_s=1e9)
    steps = range(0, int(2 * SESSION_S), int(SESSION_S / 4))
    assert [turns_known(endless, after_s=step) for step in steps] == [1, 2, 3, 4] * 2
    endless.expire(now=NOW + 4 * SESSION_S)
    assert len(endless) == 0


def test_memory_is_bounded() -> None:
    """Beyond the bound the conversation that was quiet for longest is forgotten."""
    followed = fresh(most=3)
    for where in ("a", "b", "c", "a", "d"):
        turns_known(followed, where=where)
    assert len(followed) == 3
    assert turns_known(followed, where="a") == 3
    assert turns_known(followed, where="b") == 1


def test_turn_that_was_not_read_moves_no_level() -> None:
    """A turn in another language says nothing of the conversation, and is counted as unread."""
    followed = fresh()
    foreign = silent(ReleaseId("release-1"), Unread.LANGUAGE)
    said = followed.follow("c1", "t", foreign, permit=KEEP, subject=ANNA, now=NOW)
    assert (said.turns, said.level, said.silent) == (0, 0.0, Silence.UNREAD)


def say(world: Any, node: NodeService, **changed: Any) -> Any:
    """Send a turn; return its answer."""
    said = {"customer": CUSTOMER, "conversation": "c1", "text": "it is late again"} | changed
    return world.api(node).post("/v1/turns", json=said).json()


def angry_node(world: Any, *purposes: Purpose, **changed: Any) -> NodeService:
    """Open a node that knows the customer and reads everything as anger."""
    world.trust.put(world.standing(CUSTOMER, *purposes))
    node: NodeService = world.open(**changed)
    angry = world.angry_weights()
    node.releases.load(world.publish(world.coordinator_log(), world.release(1, weights=angry)))
    return node


def test_answer_says_where_the_conversation_is_going(world: Any) -> None:
    """From the second turn on there is a trend; a warning names the turns and cues behind it."""
    node = angry_node(world, Purpose.SERVICE, risk_slope=4.0, risk_shift=-2.0)
    first, second = say(world, node), say(world, node)
    assert first["conversation"]["silent"] == "short"
    course = second["conversation"]
    assert (course["trend"], course["says"]) == ("steady", "expressed cues are steady")
    assert course["warning"] is True
    assert course["turns"] == 2
    assert 0 < course["risk"] < 1
    assert [why["turn"] for why in course["because"]] == [second["turn"], first["turn"]]
    assert {why["cue"] for why in course["because"]} == {"frustrated"}
    assert say(world, node, conversation="c2")["conversation"]["turns"] == 1


def test_conversation_is_not_followed_without_leave_to_keep(world: Any) -> None:
    """Who allows training only is not read, and no course of theirs is kept."""
    node = angry_node(world, Purpose.TRAINING)
    assert "conversation" not in say(world, node)
    assert len(node.pipeline.conversations) == 0


def test_withdrawal_ends_the_conversation(world: Any) -> None:
    """Once the withdrawal is heard nothing of the conversation is in memory."""
    node = angry_node(world, Purpose.SERVICE)
    say(world, node)
    assert len(node.pipeline.conversations) == 1
    world.now += 1
    world.trust.withdraw(
        world.standing(CUSTOMER, withdrawn=frozenset({Purpose.SERVICE})), Purpose.SERVICE
    )
    node.keeper.poll()
    assert len(node.pipeline.conversations) == 0
    assert say(world, node)["answer"] == "refused"


def test_refusal_ends_the_conversation(world: Any) -> None:
    """When the gate says no, for whatever reason, what was known of the conversation is dropped."""
    node = angry_node(world, Purpose.SERVICE)
    say(world, node)
    world.now += 10_000  # standing has gone stale
    assert say(world, node)["answer"] == "refused"
    assert len(node.pipeline.conversations) == 0


def test_conversation_leaves_nothing_on_disk_and_nothing_after_a_restart(
    world: Any, tmp_path: Any
) -> None:
    """The conversation's own name and course are in memory alone."""
    node = angry_node(world, Purpose.SERVICE)
    for _ in range(3):
        say(world, node, conversation="conversation-of-tuesday")
    node.close()
    for path in (tmp_path / "node" / "state").rglob("*"):
        assert not path.is_file() or b"conversation-of-tuesday" not in path.read_bytes()
    assert say(world, world.open())["conversation"]["turns"] == 1


def test_node_refuses_a_rule_that_contradicts_itself(world: Any) -> None:
    """A warning that is lowered above where it is raised stops the start, in one line."""
    with pytest.raises(StartRefused, match="calm_at lies below warn_at"):
        world.open(warn_at=0.2, calm_at=0.4)
