"""The table of workspaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class KeptWorkspace(Record):
    """The facts of a workspace that its runs do not record.

    `first`: its first run, from which the others continue; empty: no run yet. `last`: its newest; empty: not
    recorded. `node` None: any node. `saved`: after a repair, the run with whose files the first run begins;
    empty: a snapshot. `ended`: its issue is closed; the next run in the workspace reopens it.
    """

    TABLE: ClassVar = Table("workspaces", ("name",), ("ended,created_ms",))
    name: str
    project: str
    branch: str
    node: str | None
    created_ms: int
    created_by: str
    first: str = ""
    saved: str = ""
    last: str = ""
    ended: bool = False
