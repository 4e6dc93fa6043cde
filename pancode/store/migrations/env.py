"""Run by Alembic: applies the revisions on the caller's connection, in the caller's transaction."""

from __future__ import annotations

from alembic import context

from pancode.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
