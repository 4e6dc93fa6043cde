"""Whose limits the end of an attempt is about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pancode.store.migrations.spec import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("fences", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("provider", text(), autoincrement=False, nullable=False, server_default="")
        )
    with op.batch_alter_table("fences", schema=None) as batch_op:  # a new ledger has no such default
        batch_op.alter_column("provider", server_default=None)
