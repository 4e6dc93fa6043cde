"""Checks a ledger file without changing it: its integrity, schema and size."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pancode.store import migrations

BUSY_S = 5.0
REVISIONS = frozenset(
    path.stem.partition("_")[0] for path in Path(migrations.__path__[0], "versions").glob("[0-9]*.py")
)
"""The schema revisions known to this version."""


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """The result of a check. `wrong`: the first fault found; empty if there is none."""

    revision: str
    runs: int
    size: int
    wrong: str = ""


def look_at(path: Path) -> LedgerReport:
    """Check a ledger file and return a report. sqlite3.Error if it is not a ledger or cannot be read."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_S)) as ledger:
        (verdict,) = ledger.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            return LedgerReport("", 0, path.stat().st_size, str(verdict))
        (revision,) = ledger.execute("SELECT version_num FROM alembic_version").fetchone()
        (runs,) = ledger.execute("SELECT count(*) FROM runs").fetchone()
        return LedgerReport(str(revision), int(runs), path.stat().st_size)
