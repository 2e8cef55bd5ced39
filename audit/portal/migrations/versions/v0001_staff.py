"""The first tables: accounts, recovery codes, sessions, tokens, throttles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "staff_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "staff_account",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("roles", sa.String, nullable=False),
        sa.Column("issuer", sa.String),
        sa.Column("subject", sa.String),
        sa.Column("password_hash", sa.String),
        sa.Column("first_token_hash", sa.String),
        sa.Column("first_token_until", sa.Float),
        sa.Column("totp_salt", sa.String, nullable=False),
        sa.Column("totp_step", sa.Integer, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.UniqueConstraint("issuer", "subject"),
    )
    op.create_table(
        "staff_token",
        sa.Column("token", sa.String, primary_key=True),
        sa.Column("secret_hash", sa.String, nullable=False),
        sa.Column("account", sa.String, nullable=False, index=True),
        sa.Column("roles", sa.String, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    _create_what_passes()


def _create_what_passes() -> None:
    op.create_table(
        "staff_recovery",
        sa.Column("code_hash", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False, index=True),
    )
    op.create_table(
        "staff_session",
        sa.Column("id_hash", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False, index=True),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
    op.create_table(
        "staff_throttle",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
