"""How a session began, and who went on from it to the other site."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "staff_0004"
down_revision = "staff_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new."""
    for name in ("amr", "provider_sid"):
        words = sa.Column(name, sa.String, nullable=False, server_default="")
        op.add_column("staff_session", words)
    op.add_column("staff_session", sa.Column("proven_at", sa.Float, nullable=True))
    # until now a password came with a code or not at all
    op.execute(
        "UPDATE staff_session SET amr = 'mfa otp pwd', proven_at = made_at "
        "WHERE method = 'password-and-code'"
    )
    op.create_table(
        "staff_sign_on",
        sa.Column("sid", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False, index=True),
        sa.Column("session_hash", sa.String, nullable=False, index=True),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("told", sa.String, nullable=False, server_default=""),
        sa.Column("again_at", sa.Float, nullable=False, server_default="0"),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "staff_sign_on_code",
        sa.Column("code_hash", sa.String, primary_key=True),
        sa.Column("sid", sa.String, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("session_hash", sa.String, nullable=False),
        sa.Column("redirect_uri", sa.String, nullable=False),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("nonce", sa.String, nullable=False),
        sa.Column("challenge", sa.String, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("used", sa.Boolean, nullable=False, server_default=sa.false()),
    )
