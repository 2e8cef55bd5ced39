"""The history of the ledger's tables; Alembic runs it at every start."""
