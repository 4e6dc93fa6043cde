"""The browser behind a token, and when it last opened a one-time link."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pancode.store.migrations.spec import text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.add_column(sa.Column("agent", text(), autoincrement=False, nullable=True))
        batch_op.add_column(sa.Column("address", text(), autoincrement=False, nullable=True))
        batch_op.add_column(sa.Column("confirmed_ms", sa.BigInteger(), autoincrement=False, nullable=True))
    op.execute("UPDATE tokens SET confirmed_ms = created_ms WHERE name LIKE 'web-%'")
