"""Wrong credentials: waits that double, by address and by what they claim, and nobody shut out."""

from __future__ import annotations

import pytest

from audit.errors import TooManyAttempts
from audit.portal.session import TOKEN_MARK, claimed_token
from audit.wrong_attempts import FREE_OF_ADDRESS, FREE_OF_CREDENTIAL, MOST_KEPT, WrongAttempts

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """A clock that moves when told."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def guess(tokens: WrongAttempts, address: str, count: int, sent: str = "guess-{}") -> None:
    """Send so many wrong bearer tokens from an address."""
    for number in range(count):
        claimed = claimed_token(sent.format(number))
        tokens.check(address, claimed)
        tokens.wrong(address, claimed)


def test_an_address_waits_longer_after_each_wrong_token() -> None:
    """After the free ones all that comes from there is refused alike: half a minute, then more."""
    clock = Clock()
    tokens = WrongAttempts(clock=clock)
    guess(tokens, HERE, FREE_OF_ADDRESS)
    for sent in ("guess-0", "another", f"{TOKEN_MARK}ab12_right"):
        with pytest.raises(TooManyAttempts) as caught:
            tokens.check(HERE, claimed_token(sent))
        assert caught.value.retry_after_s == 30.0
    tokens.check(THERE, claimed_token("another"))
    clock.now += 30.0
    guess(tokens, HERE, 1, "later-{}")
    with pytest.raises(TooManyAttempts) as caught:
        tokens.check(HERE, claimed_token("another"))
    assert caught.value.retry_after_s == 60.0


def test_a_token_is_guessed_from_many_addresses_in_vain() -> None:
    """Secrets tried for one id are counted together, whether or not that id exists."""
    tokens = WrongAttempts(clock=Clock())
    for number in range(FREE_OF_CREDENTIAL):
        guess(tokens, f"198.51.100.{number}", 1, f"{TOKEN_MARK}ab12_{number}-{{}}")
    with pytest.raises(TooManyAttempts):
        tokens.check(THERE, claimed_token(f"{TOKEN_MARK}ab12_right"))
    tokens.check(THERE, claimed_token(f"{TOKEN_MARK}cd34_right"))


def test_who_was_let_in_before_is_not_shut_out_by_strangers() -> None:
    """A token that was right from an address stays good there, and for nothing else there."""
    tokens = WrongAttempts(clock=Clock())
    mine = f"{TOKEN_MARK}ab12_right"
    tokens.right(HERE, claimed_token(mine))
    guess(tokens, HERE, FREE_OF_ADDRESS)
    guess(tokens, THERE, FREE_OF_CREDENTIAL, f"{TOKEN_MARK}ab12_{{}}")
    tokens.check(HERE, claimed_token(mine))
    for address, sent in ((THERE, mine), (HERE, f"{TOKEN_MARK}cd34_right")):
        with pytest.raises(TooManyAttempts):
            tokens.check(address, claimed_token(sent))


def test_a_flood_of_wrong_tokens_does_not_grow_memory() -> None:
    """Only the newest failures are kept."""
    tokens = WrongAttempts(clock=Clock())
    for number in range(MOST_KEPT + 10):
        tokens.wrong(f"address-{number}", f"token-{number}")
    assert len(tokens._failures) == MOST_KEPT
