"""Run the steps on the connection that `audit.database` hands over.

The version table has a name of its own, so that the staff tables may share a database.
"""

from __future__ import annotations

from alembic import context

from audit.portal.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="staff_version",
)
with context.begin_transaction():
    context.run_migrations()
