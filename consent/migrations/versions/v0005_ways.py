"""Steps of requests as earlier versions wrote them get the particulars that are asked for now.

An extension and an asking after the identity name the way by which the person was told; a decision
on review names the digest of its reasons. What was never recorded is not made up: `not-recorded`
stands there. The log's entries of these steps stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005_ways"
down_revision = "0004_captured"
branch_labels = None
depends_on = None

UNRECORDED = "not-recorded"
_TRIGGER = """
    CREATE TRIGGER rights_step_never_changes BEFORE UPDATE ON rights_step
    BEGIN SELECT RAISE(ABORT, 'the steps of a request are append-only'); END
"""


def upgrade() -> None:
    """Add what is missing; on SQLite the trigger stands aside for it, in one transaction."""
    bind = op.get_bind()
    sqlite = bind.dialect.name == "sqlite"
    if sqlite:
        op.execute("DROP TRIGGER rights_step_never_changes")
    step = sa.table("rights_step", sa.column("number"), sa.column("kind"), sa.column("details"))
    for number, kind, details in bind.execute(sa.select(step)).all():
        told = json.loads(details)
        more = _lacking(kind, told)
        if more:
            change = sa.update(step).where(step.c.number == number)
            bind.execute(change.values(details=json.dumps(told | more)))
    if sqlite:
        op.execute(_TRIGGER)


def _lacking(kind: str, told: Mapping[str, Any]) -> dict[str, str]:
    if kind in {"identity-asked", "extended"} and not told.get("way"):
        return {"way": UNRECORDED}
    if told.get("evidence") == "human-decided" and not told.get("digest"):
        return {"digest": UNRECORDED}
    return {}
