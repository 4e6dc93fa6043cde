"""Workspaces and the work on issues have tables of their own, in which open ones are found by an index."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from pancode.store.migrations.spec import create_table

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
WORKSPACES = (
    "name:text project:text branch:text node:text? created_ms:int created_by:text first:text saved:text "
    "last:text ended:bool"
)
ISSUE_WORKS = (
    "workspace:text ref:text title:text url:text project:text by:text began_ms:int text:text tracker:text "
    "state:text said:text pull:text comment:text trouble:text run:text epoch:int ended:bool"
)


def upgrade() -> None:
    create_table("workspaces", "name", "ended,created_ms", WORKSPACES)
    create_table("issue_works", "workspace", "ended,began_ms", ISSUE_WORKS)
    _move("workspace:", "workspaces", WORKSPACES)
    _move("issue:", "issue_works", ISSUE_WORKS)


def _move(prefix: str, table: str, columns: str) -> None:
    """Make rows of the settings whose names begin so; a key that an old setting lacks is empty or 0."""
    settings = sa.table("settings", sa.column("name", sa.Text), sa.column("value", sa.Text))
    names = [spec.partition(":")[0::2] for spec in columns.split()]
    target = sa.table(table, *[sa.column(name) for name, _ in names])
    empty = {"text": "", "int": 0, "bool": False, "text?": None}
    ledger = op.get_bind()
    found = ledger.execute(
        sa.select(settings.c.value).where(settings.c.name.startswith(prefix, autoescape=True))
    )
    values = [json.loads(value) if isinstance(value, str) else value for (value,) in found]
    rows = [
        {name: one.get(name, empty[kind]) for name, kind in names} for one in values if isinstance(one, dict)
    ]
    if rows:
        ledger.execute(target.insert(), rows)
    ledger.execute(sa.delete(settings).where(settings.c.name.startswith(prefix, autoescape=True)))
