"""Orders that wait on a node for a slot."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("fences", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("ahead", sa.Boolean(), autoincrement=False, nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("fences", schema=None) as batch_op:  # a new ledger has no such default
        batch_op.alter_column("ahead", server_default=None)
