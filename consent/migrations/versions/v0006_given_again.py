"""Receipts of records that their sender named, so that one is given again as it was logged.

Records of earlier versions have none: theirs is made anew, and given where it is the one logged.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_given_again"
down_revision = "0005_ways"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty."""
    op.add_column("ledger", sa.Column("receipt", sa.String, nullable=True))
