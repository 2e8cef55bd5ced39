"""The first tables: ledger, nodes, checkpoints, challenges.

The ledger is append-only by trigger (SQLite): no row is ever changed, and the rows of a
person go only when an erasure record stands in their place.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TRIGGERS = (
    """
    CREATE TRIGGER ledger_never_changes BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
    """,
    """
    CREATE TRIGGER ledger_goes_only_by_erasure BEFORE DELETE ON ledger
    WHEN OLD.kind = 'erasure' OR OLD.subject IS NULL OR NOT EXISTS (
        SELECT 1 FROM ledger WHERE subject = OLD.subject AND kind = 'erasure')
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
    """,
)


def upgrade() -> None:
    """Create the tables and the triggers."""
    _create_ledger()
    op.create_table(
        "node",
        sa.Column("node", sa.String, primary_key=True),
        sa.Column("key_name", sa.String, nullable=False, unique=True),
        sa.Column("vkey", sa.String, nullable=False),
        sa.Column("company", sa.String, nullable=False),
        sa.Column("enrolled_at", sa.Float, nullable=False),
        sa.Column("log_index", sa.Integer, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("node", sa.String, sa.ForeignKey("node.node"), nullable=False, index=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("shrunk", sa.Boolean, nullable=False),
    )
    op.create_table(
        "challenge",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("node", sa.String, sa.ForeignKey("node.node"), nullable=False, index=True),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("agrees", sa.Boolean, nullable=True),
    )
    if op.get_bind().dialect.name == "sqlite":
        for trigger in _TRIGGERS:
            op.execute(trigger)


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("record_id", sa.String, nullable=False, unique=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("company", sa.String, nullable=True),
        sa.Column("subject", sa.String, nullable=True, index=True),
        sa.Column("node", sa.String, nullable=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("body", sa.String, nullable=False),
        sa.Column("token_hash", sa.String, nullable=True, unique=True),
        sa.Column("log_index", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ledger_company_sequence", "ledger", ["company", "sequence"])
