"""Saved views: a page with its filters under a name of one's own, found again in the menu.

An address says what is filtered and names nobody: pseudonyms are searched for by forms whose
fields stay out of addresses. So a view is no record of a person, and its owner alone sees it.
"""

from __future__ import annotations

from audit.errors import AccountInvalid, AccountUnknown
from audit.portal.ledger import StaffLedger
from audit.portal.secrets import Randomness
from audit.portal.tables import ViewRow
from policies.clock import Clock

MOST_VIEWS = 40
LONGEST_TITLE, LONGEST_ADDRESS = 60, 2_000


class Views:
    """The views of all accounts; each is asked for its own alone."""

    def __init__(self, ledger: StaffLedger, *, clock: Clock, randomness: Randomness) -> None:
        self._ledger, self._clock, self._randomness = ledger, clock, randomness

    def of(self, account: str) -> list[ViewRow]:
        """Return an account's views by title."""
        return self._ledger.views(account)

    def keep(self, account: str, title: str, address: str) -> None:
        """Keep a page under a title; the same title again replaces it.

        Raises:
            AccountInvalid: The title is empty or long or not printable, the address is none of
                this site's, or there are too many.
        """
        title = " ".join(title.split())
        if not title or len(title) > LONGEST_TITLE or not title.isprintable():
            raise AccountInvalid(f"a view's name is 1 to {LONGEST_TITLE} letters")
        if not is_local(address) or len(address) > LONGEST_ADDRESS:
            raise AccountInvalid("a view is a page of this site: save it from there")
        known = [row for row in self.of(account) if row.title != title]
        if len(known) >= MOST_VIEWS:
            raise AccountInvalid(f"there are {MOST_VIEWS} views already: forget one first")
        row = ViewRow(
            view=self._randomness(8).hex(),
            account=account,
            title=title,
            address=address,
            made_at=self._clock(),
        )
        self._ledger.keep_view(row)

    def forget(self, account: str, view: str) -> None:
        """Forget one of an account's own views.

        Raises:
            AccountUnknown: It has no such view.
        """
        if not self._ledger.forget_view(account, view):
            raise AccountUnknown("you have no such view")


def is_local(path: str) -> bool:
    """Return whether an address is a path of this service and leads nowhere else."""
    plain = path.isascii() and path.isprintable() and "\\" not in path
    return plain and path.startswith("/") and not path.startswith("//")
