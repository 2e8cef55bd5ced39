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
        words = sa.Column(name, sa.String, nullable=False, server_default="")
        op.add_column("staff_account", words)
    oversaw = sa.Column("oversaw", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("staff_account", oversaw)
    # whoever was an officer or dpo before this step was known is taken to have begun
    op.execute(
        "UPDATE staff_account SET oversaw = (1 = 1) WHERE active AND "
        "(' ' || roles || ' ' LIKE '% officer %' OR ' ' || roles || ' ' LIKE '% dpo %')"
    )
