"""The plans that people have kept."""

from __future__ import annotations

from pancode.store.migrations.spec import create_table

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table("plans", "workspace", "", "workspace:text plan:text questions:text kept_ms:int kept_by:text")
