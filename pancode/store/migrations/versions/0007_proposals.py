"""Tools that agents have made, and proposed and past changes of settings have tables of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from pancode.store.migrations.spec import create_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
TOOL = (
    "place:text name:text kept:bool project:text run:text digest:text packed:text at_ms:int trial:text "
    "by:text signed:text problem:text"
)
FILES = "run:text name:text packed:text"
PROPOSAL = (
    "id:text at_ms:int kind:text target:text value:text? old:text new:text notes:text why:text by:text "
    "run:text?"
)
CHANGE = "number:int kind:text target:text value:text? after:text?"


def upgrade() -> None:
    create_table("made_tools", "place name", "kept,at_ms", TOOL)
    create_table("made_tool_files", "run name", "", FILES)
    create_table("config_proposals", "id", "at_ms", PROPOSAL)
    create_table("config_changes", "number", "", CHANGE)
    kept = [{**one, "place": one["project"], "kept": True} for _, one in _taken("kept-tool:")]
    proposed = [{**one, "place": one["run"], "kept": False} for _, one in _taken("proposed-tool:")]
    _insert("made_tools", TOOL, [*kept, *proposed])
    files = [(name.partition(":")[2].split("/", 1), text) for name, text in _taken("proposed-files:")]
    rows = [{"run": run, "name": name, "packed": text} for (run, name), text in files]
    _insert("made_tool_files", FILES, rows)
    waiting = [one for _, rows in _taken("config_proposals") for one in rows]
    rows = [{**one, **one["change"], "notes": json.dumps(one["notes"])} for one in waiting]
    _insert("config_proposals", PROPOSAL, rows)
    changes = [one for _, rows in _taken("config_changes") for one in rows]
    rows = [{**one["back"], "after": one["after"], "number": at} for at, one in enumerate(changes, start=1)]
    _insert("config_changes", CHANGE, rows)


def _taken(prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and value of each setting whose name begins so, and delete it."""
    settings = sa.table("settings", sa.column("name", sa.Text), sa.column("value", sa.Text))
    begins = settings.c.name.startswith(prefix, autoescape=True)
    found = op.get_bind().execute(sa.select(settings.c.name, settings.c.value).where(begins)).all()
    op.get_bind().execute(sa.delete(settings).where(begins))
    for name, value in found:
        yield name, json.loads(value)


def _insert(table: str, columns: str, rows: list[dict[str, Any]]) -> None:
    """A key that an old row lacks is empty."""
    names = [spec.partition(":")[0::2] for spec in columns.split()]
    empty: dict[str, object] = {"text": "", "int": 0, "bool": False}
    whole = [{name: row.get(name, empty.get(kind)) for name, kind in names} for row in rows]
    if whole:
        op.get_bind().execute(sa.table(table, *[sa.column(name) for name, _ in names]).insert(), whole)
