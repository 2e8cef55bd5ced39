"""Sign-ins that are at the identity provider, and roles that wait for a second person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "staff_0002"
down_revision = "staff_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new."""
    op.create_table(
        "staff_handshake",
        sa.Column("state_hash", sa.String, primary_key=True),
        sa.Column("visit_hash", sa.String, nullable=False),
        sa.Column("going", sa.String, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    for name in ("asked_roles", "asked_by"):
        op.add_column(
            "staff_account", sa.Column(name, sa.String, nullable=False, server_default="")
        )
