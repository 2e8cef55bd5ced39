"""Requests of people: the requests, their steps, and nodes' sealed answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_rights"
down_revision = "0001"
branch_labels = None
depends_on = None

_TRIGGER = """
    CREATE TRIGGER rights_step_never_{what} BEFORE {act} ON rights_step
    BEGIN SELECT RAISE(ABORT, 'the steps of a request are append-only'); END
"""


def upgrade() -> None:
    """Create the tables, and the triggers that keep steps as they were."""
    op.create_table(
        "rights_request",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column("subject", sa.String, nullable=False, index=True),
        sa.Column("token_hash", sa.String, nullable=False, unique=True),
        sa.Column("is_open", sa.Boolean, nullable=False, index=True),
    )
    request = sa.ForeignKey("rights_request.request")
    op.create_table(
        "rights_step",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("request", sa.String, request, nullable=False, index=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("details", sa.String, nullable=False),
        sa.Column("log_index", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rights_answer",
        sa.Column("request", sa.String, sa.ForeignKey("rights_request.request"), primary_key=True),
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for what, act in (("changes", "UPDATE"), ("goes", "DELETE")):
            op.execute(_TRIGGER.format(what=what, act=act))
