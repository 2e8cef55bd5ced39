"""Who works at a coordinator, and how they sign in: the frame of `audit.portal`, its own store.

The admin token stands for whoever sets the coordinator up, and works its commands on the machine.
"""

from __future__ import annotations

from audit.log import EvidenceLog
from audit.portal.access import Access
from audit.portal.accounts import BOOTSTRAP
from audit.portal.cookies import Cookies
from audit.signing import SigningKey
from audit.staff import Staff, StaffRole
from coordinator.errors import ApprovalForeign
from coordinator.settings import CoordinatorSettings
from policies.clock import Clock

BOOTSTRAP_ROLES = frozenset({StaffRole.OPERATOR, StaffRole.DATA_SCIENTIST})
COOKIES = Cookies(site="coordinator")
EVERYBODY = tuple(StaffRole)
PLANNERS = (StaffRole.DATA_SCIENTIST,)
OPERATORS = (StaffRole.OPERATOR,)
STOPPERS = (StaffRole.DATA_SCIENTIST, StaffRole.OPERATOR, StaffRole.OFFICER, StaffRole.DPO)
"""Whoever sees that a run must not go on, stops it."""


def open_access(
    settings: CoordinatorSettings,
    *,
    log: EvidenceLog,
    key: SigningKey,
    clock: Clock,
    admin_token: str,
) -> Access:
    """Open the accounts of a coordinator's staff.

    Raises:
        AccountsUnavailable: They cannot be opened.
    """
    return Access(
        folder=settings.folder,
        log=log,
        key=key,
        clock=clock,
        bootstrap_token=admin_token,
        bootstrap_roles=BOOTSTRAP_ROLES,
        settings=settings.portal,
        cookies=COOKIES,
    )


def check_approver(staff: Staff, approved_by: str) -> None:
    """Return if somebody may put this name under what they ask for: their own.

    The admin token is no person, so who uses it says who approved.

    Raises:
        ApprovalForeign: It is another's.
    """
    if staff.name not in {BOOTSTRAP, approved_by}:
        raise ApprovalForeign("approved_by: sign in as whoever approves; yours is the only name")
