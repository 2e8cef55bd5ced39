"""Registers: the steps of breaches, liftings and appointments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_registers"
down_revision = "0002_rights"
branch_labels = None
depends_on = None

_TRIGGER = """
    CREATE TRIGGER register_step_never_{what} BEFORE {act} ON register_step
    BEGIN SELECT RAISE(ABORT, 'the registers are append-only'); END
"""


def upgrade() -> None:
    """Create the table, and the triggers that keep its rows as they were."""
    op.create_table(
        "register_step",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("book", sa.String, nullable=False, index=True),
        sa.Column("entry", sa.String, nullable=False, index=True),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("details", sa.String, nullable=False),
        sa.Column("log_index", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "sqlite":
        for what, act in (("changes", "UPDATE"), ("goes", "DELETE")):
            op.execute(_TRIGGER.format(what=what, act=act))
