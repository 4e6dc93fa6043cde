"""Indexes, so that lists of open work read no history."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_ended_runs_left", "ended_runs", ["left", "repository", "ended_ms"])
    op.create_index("ix_ended_runs_repository", "ended_runs", ["repository", "ended_ms"])
    op.create_index("ix_ended_runs_retry_of", "ended_runs", ["retry_of"])
    for name in ("node", "tag"):
        op.drop_index(f"ix_fences_{name}", "fences")
        op.create_index(f"ix_fences_{name}", "fences", [name, "state"])
