"""For developers: writes the first revision (`first`), or the next one, from the records.

python -m pancode.store.migrations.new first        only before a release
python -m pancode.store.migrations.new MESSAGE      then set HEAD in __init__.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from pancode.kernel.records import ALL
from pancode.store.migrations.script import HERE, config, scripts
from pancode.store.shape import Column, Kind, RecordShape, shape_of
from pancode.store.sqlite import engine_for, sqlite_url

VERSIONS = HERE / "versions"
FIRST = VERSIONS / "0001_first.py"
_HEAD_OF_FIRST = '''"""The first schema. Written by migrations/new.py."""

from __future__ import annotations

from pancode.store.migrations.spec import create_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# name, key, indexes, columns
TABLES = (
'''
_TAIL_OF_FIRST = """)


def upgrade() -> None:
    for table in TABLES:
        create_table(*table)
"""


def write_first() -> Path:
    """Write the first revision from the present records. Ledgers that an earlier one wrote no longer open."""
    tables = "".join(_table(shape_of(kind)) for kind in ALL)
    FIRST.write_text(_HEAD_OF_FIRST + tables + _TAIL_OF_FIRST)
    return FIRST


def write_next(message: str) -> Path:
    """Write a revision that turns the newest schema into that of the records."""
    number = f"{len(list(scripts().walk_revisions())) + 1:04}"
    with tempfile.TemporaryDirectory() as folder:
        engine = engine_for(sqlite_url(Path(folder) / "empty.db"), 0)
        with engine.connect() as connection, connection.begin():
            setup = config(connection)
            command.upgrade(setup, "head")
            command.revision(setup, message, autogenerate=True, rev_id=number)
        engine.dispose()
    return next(VERSIONS.glob(f"{number}_*.py"))


def _table(shape: RecordShape) -> str:
    indexes = " ".join(name for name in shape.record.TABLE.indexes if name != shape.key[0])
    lines = "".join(f'        "{line}"\n' for line in _wrapped([_column(c) for c in shape.columns]))
    head = "".join(f'        "{text}",\n' for text in (shape.name, " ".join(shape.key), indexes))
    return f"    (\n{head}{lines[:-1]},\n    ),\n"


def _column(column: Column) -> str:
    kind = {Kind.INTEGER: "int", Kind.BOOLEAN: "bool"}.get(column.kind, "text")
    return f"{column.name}:{kind}{'?' if column.nullable else ''}"


def _wrapped(words: list[str], width: int = 90) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word + " "
    return [*lines[:-1], lines[-1].rstrip()]


if __name__ == "__main__":
    words = sys.argv[1:]
    written = write_first() if words == ["first"] else write_next(" ".join(words) or "change")
    sys.stdout.write(f"{written}\n")
