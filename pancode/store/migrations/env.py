"""Run by Alembic: applies the revisions on the caller's connection, in the caller's transaction."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),  # compared by the script for developers
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
