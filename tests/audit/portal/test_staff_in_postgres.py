"""Staff in PostgreSQL: what other rooms claim of accounts, sessions and tokens holds there too."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa

from audit.portal import ledger
from audit.portal.tables import HandshakeRow
from audit.staff import StaffRole
from tests.audit import postgres
from tests.audit.portal import test_sign_in, test_token_pages
from tests.audit.portal.conftest import Desk

CLAIMS: list[Callable[[Desk], None]] = [
    test_sign_in.test_a_code_is_good_once,
    test_sign_in.test_a_recovery_code_is_good_once,
    test_sign_in.test_signing_in_gives_a_new_session,
    test_sign_in.test_signing_out_everywhere_ends_every_session,
    test_sign_in.test_guessing_waits_longer_and_longer_and_never_for_ever,
    test_sign_in.test_strangers_cannot_keep_an_officer_out,
    test_sign_in.test_a_closed_account_is_out_at_once,
    test_sign_in.test_a_token_has_no_more_than_its_owner,
    test_sign_in.test_a_session_is_seen_and_ended_from_another,
    test_sign_in.test_a_password_changes_with_the_old_one_and_a_code,
    test_token_pages.test_a_local_account_makes_a_token_with_password_and_code,
]
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def socket() -> Iterator[Path]:
    """Return the socket of a server."""
    with postgres.server() as running:
        yield running


@pytest.fixture
def staff_url(socket: Path) -> str:
    """Return the URL of an empty database."""
    return postgres.make_database(socket, f"staff-{next(NUMBERS)}")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_claim_holds_there(desk: Desk, claim: Callable[[Desk], None], tmp_path: Path) -> None:
    """As in SQLite; and there is no file of it."""
    claim(desk)
    assert not (tmp_path / "staff.db").exists()


def test_a_restart_goes_on(make_desk: Callable[..., Desk]) -> None:
    """Who was signed in still is, and a view of theirs is there."""
    first = make_desk()
    first.staff("ada", StaffRole.OFFICER)
    browser = first.sign_in("ada")
    views = first.access.views
    for address in ("/account", "/account/sessions"):  # the second in the first's place
        views.keep("ada", "Mine", address)
    first.access.close()
    first.log.close()
    second = make_desk()
    second.now = first.now
    again = second.browser()
    again.cookies.update(browser.cookies)
    assert again.get("/account").status_code == 200
    (view,) = second.access.views.of("ada")
    assert (view.title, view.address) == ("Mine", "/account/sessions")
    assert second.access.ledger.forget_view("ada", view.view) == 1


def test_a_browser_on_its_way_is_taken_back_once(desk: Desk) -> None:
    """What is kept of a sign-in at a provider goes when it is taken, and when it is old."""
    for state, until in (("old", 10.0), ("new", 99.0)):
        row = HandshakeRow(state_hash=state, visit_hash="v", going="/", until=until)
        desk.access.ledger.remember_handshake(row, now=until - 1)
    assert desk.access.ledger.take_handshake("old") is None
    found = desk.access.ledger.take_handshake("new")
    assert found is not None
    assert found.until == 99.0
    assert desk.access.ledger.take_handshake("new") is None


def test_accounts_of_the_first_version_are_taken_over(staff_url: str) -> None:
    """Whoever oversaw before that was written down counts; a session by code had two factors."""
    engine = sa.create_engine(staff_url.replace("://", "+pg8000://").replace("socket", "unix_sock"))
    with engine.begin() as connection:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(Path(ledger.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "staff_0001")
        for name, roles in (("ada", "auditor officer"), ("otto", "operator")):
            connection.execute(
                sa.text(
                    "INSERT INTO staff_account (name, roles, totp_salt, totp_step, active, "
                    "disabled, made_at) VALUES (:name, :roles, '', -1, true, false, 1)"
                ),
                {"name": name, "roles": roles},
            )
        connection.execute(
            sa.text("INSERT INTO staff_session VALUES ('h', 'ada', 'password-and-code', 5, 6)")
        )
    engine.dispose()
    with closing(ledger.StaffLedger(staff_url)) as store:
        known = [(row.name, row.oversaw) for row in store.accounts()]
        assert known == [("ada", True), ("otto", False)]
        (session,) = store.sessions("ada")
        assert (session.amr, session.proven_at) == ("mfa otp pwd", 5.0)
