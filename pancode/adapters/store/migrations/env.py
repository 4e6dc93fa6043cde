"""Run by Alembic: the revisions are applied on the connection, and in the transaction, of whoever calls."""

from __future__ import annotations

from alembic import context

from pancode.adapters.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
