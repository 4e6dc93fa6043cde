"""Which runs get the GPUs of a node, what a run asks for, and what it holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pancode.store.migrations.spec import create_table, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table("gpu_holds", "run fence", "", "run:text fence:int node:text uuids:text")
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("gpus", text(), autoincrement=False, nullable=False, server_default="all")
        )
    with op.batch_alter_table("nodes", schema=None) as batch_op:  # a new ledger has no such default
        batch_op.alter_column("gpus", server_default=None)
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("gpus", text(), autoincrement=False, nullable=True))
        batch_op.add_column(sa.Column("gpu_memory", sa.BigInteger(), autoincrement=False, nullable=True))
