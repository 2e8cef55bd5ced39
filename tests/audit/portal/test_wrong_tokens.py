"""Wrong bearer tokens: waits that double, by address and by token, and nobody shut out."""

from __future__ import annotations

import pytest

from audit.errors import TooManyAttempts
from audit.portal.session import TOKEN_MARK
from audit.portal.wrong_tokens import FREE_OF_ADDRESS, FREE_OF_TOKEN, MOST_KEPT, WrongTokens

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """A clock that moves when told."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def guess(tokens: WrongTokens, address: str, count: int, sent: str = "guess-{}") -> None:
    """Send so many wrong tokens from an address."""
    for number in range(count):
        tokens.check(address, sent.format(number))
        tokens.wrong(address, sent.format(number))


def test_an_address_waits_longer_after_each_wrong_token() -> None:
    """After the free ones all that comes from there is refused alike: half a minute, then more."""
    clock = Clock()
    tokens = WrongTokens(clock=clock)
    guess(tokens, HERE, FREE_OF_ADDRESS)
    for sent in ("guess-0", "another", f"{TOKEN_MARK}ab12_right"):
        with pytest.raises(TooManyAttempts) as caught:
            tokens.check(HERE, sent)
        assert caught.value.wait_s == 30.0
    tokens.check(THERE, "another")
    clock.now += 30.0
    guess(tokens, HERE, 1, "later-{}")
    with pytest.raises(TooManyAttempts) as caught:
        tokens.check(HERE, "another")
    assert caught.value.wait_s == 60.0


def test_a_token_is_guessed_from_many_addresses_in_vain() -> None:
    """Secrets tried for one id are counted together, whether or not that id exists."""
    tokens = WrongTokens(clock=Clock())
    for number in range(FREE_OF_TOKEN):
        guess(tokens, f"198.51.100.{number}", 1, f"{TOKEN_MARK}ab12_{number}-{{}}")
    with pytest.raises(TooManyAttempts):
        tokens.check(THERE, f"{TOKEN_MARK}ab12_right")
    tokens.check(THERE, f"{TOKEN_MARK}cd34_right")


def test_who_was_let_in_before_is_not_shut_out_by_strangers() -> None:
    """A token that was right from an address stays good there, and for nothing else there."""
    tokens = WrongTokens(clock=Clock())
    mine = f"{TOKEN_MARK}ab12_right"
    tokens.right(HERE, mine)
    guess(tokens, HERE, FREE_OF_ADDRESS)
    guess(tokens, THERE, FREE_OF_TOKEN, f"{TOKEN_MARK}ab12_{{}}")
    tokens.check(HERE, mine)
    for address, sent in ((THERE, mine), (HERE, f"{TOKEN_MARK}cd34_right")):
        with pytest.raises(TooManyAttempts):
            tokens.check(address, sent)


def test_a_flood_of_wrong_tokens_does_not_grow_memory() -> None:
    """Only the newest failures are kept."""
    tokens = WrongTokens(clock=Clock())
    for number in range(MOST_KEPT + 10):
        tokens.wrong(f"address-{number}", f"token-{number}")
    assert len(tokens._failures) == MOST_KEPT
