"""Who calls as a node: the right signature always, wrong ones ever more slowly."""

from __future__ import annotations

from audit.signing import SigningKey, sign_request
from audit.wrong_attempts import FREE_OF_CREDENTIAL
from tests.consent.conftest import World

PATH = "/v1/standing?after=0&wait_s=0"


def _as_stranger(world: World, key: SigningKey) -> tuple[int, str | None]:
    headers = sign_request(key, method="GET", path=PATH, body=b"", now=world.clock.now)
    answer = world.send("GET", PATH, headers=headers)
    return answer.status_code, answer.headers.get("retry-after")


def test_wrong_node_keys_are_told_to_wait_and_right_ones_never(world: World) -> None:
    """After the free ones 429 says for how long, and longer each time; the node itself is heard."""
    claims_north = SigningKey.generate("north")
    for _ in range(FREE_OF_CREDENTIAL):
        assert _as_stranger(world, claims_north) == (401, None)
    assert _as_stranger(world, claims_north) == (429, "30")
    assert world.as_node("north", "GET", PATH).status_code == 200
    world.clock.now += 30
    assert _as_stranger(world, claims_north) == (401, None)
    assert _as_stranger(world, claims_north) == (429, "60")
    assert world.as_node("north", "GET", PATH).status_code == 200


def test_node_that_calls_before_it_is_enrolled_is_heard_as_soon_as_it_is(world: World) -> None:
    """A start in the wrong order costs no wait: its signature is right from then on."""
    world.keys["east"] = SigningKey.generate("east")
    for _ in range(2 * FREE_OF_CREDENTIAL):
        assert world.as_node("east", "GET", PATH).status_code in {401, 429}
    assert world.enrol("east", "acme").status_code == 201
    assert world.as_node("east", "GET", PATH).status_code == 200


def test_unsigned_requests_and_slow_clocks_are_no_guesses(world: World) -> None:
    """Neither is counted: one tried nothing, the other has the key."""
    for _ in range(2 * FREE_OF_CREDENTIAL):
        assert world.send("GET", PATH).status_code == 401
        old = sign_request(
            world.keys["north"], method="GET", path=PATH, body=b"", now=world.clock.now - 600
        )
        assert world.send("GET", PATH, headers=old).status_code == 401
