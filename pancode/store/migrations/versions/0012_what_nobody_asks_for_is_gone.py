"""Drops the table of webhooks, what was kept of sent notices, and columns of workflows and schedules."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("webhooks")
    # Only what still waits is kept, and no kind of action is left that this version cannot read.
    op.execute("delete from deliveries where state <> 'waiting'")
    op.execute("delete from actions where kind = 'verify'")
    with op.batch_alter_table("deliveries") as table:
        table.drop_index("ix_deliveries_state")
        for name in ("state", "status", "tried_ms", "done_ms"):
            table.drop_column(name)
    with op.batch_alter_table("schedules") as table:
        table.drop_column("trouble")
    with op.batch_alter_table("workflows") as table:
        table.drop_column("board")
        table.drop_column("receipt")
