"""Proofs of capture, each of which counts once for a purpose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_captured"
down_revision = "0003_registers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "captured",
        sa.Column("company", sa.String, primary_key=True),
        sa.Column("evidence", sa.String, primary_key=True),
        sa.Column("purpose", sa.String, primary_key=True),
    )
