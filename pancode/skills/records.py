"""The tables of tools that agents have made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class StoredTool(Record):
    """A tool that agents have made. `place`: the run that proposes it, or the project that keeps it.

    `trial`: the newest run that tried the tool, or empty. `by`: who kept it. `packed`: the files of a kept
    tool, and `digest`: their digest; a proposal's files are in `StoredToolFiles`, as every inbox query reads
    this row. `signed`: the coordinator's signature that it was kept. `problem`: why it cannot be tried.
    """

    TABLE: ClassVar = Table("made_tools", ("place", "name"), ("kept,at_ms",))
    place: str
    name: str
    kept: bool
    project: str
    run: str
    digest: str
    packed: str
    at_ms: int
    trial: str = ""
    by: str = ""
    signed: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StoredToolFiles(Record):
    """The files of a proposed tool; they never change."""

    TABLE: ClassVar = Table("made_tool_files", ("run", "name"))
    run: str
    name: str
    packed: str
