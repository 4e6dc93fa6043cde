"""The tools of projects in the ledger: those that runs propose, and those that a person has kept, signed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from node_agent.wire.policy import NetworkAccess
from node_agent.wire.signing import Envelope, WireRefusal, verify
from node_agent.wire.skill import MOST_PACKED, MOST_SKILLS, TOOL, TOOLS, OrderedSkill
from pancode.kernel.ports import Transaction
from pancode.kernel.records import StoredTool, StoredToolFiles
from pancode.kernel.terms import GivenSkills
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest
from pancode.skills.made_tool_rules import SoundTool

MOST = 200
SPARE_S = 60
"""Seconds that a trial gets beside the time of each test."""
PAYLOAD = "application/vnd.pancode.kept-tool+json"


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool of a project. `run`: that has proposed it; `trial`: the newest run that has tried it, or empty.

    `by`: who has kept it; empty: nobody. `packed`: the files as proposed, or as they are laid; `digest`: of
    these. `signed`: the coordinator's word that it was kept. `problem`: why nobody can try it.
    """

    project: str
    name: str
    run: str
    digest: str
    packed: str
    at_ms: int
    trial: str = ""
    by: str = ""
    signed: str = ""
    problem: str = ""

    def said(self) -> bytes:
        """Return the bytes that are signed; the digest in them stands for the files."""
        return json.dumps([self.project, self.name, self.digest, self.run, self.by, self.at_ms]).encode()

    def ordered(self) -> OrderedSkill:
        return OrderedSkill(name=f"{TOOL}{self.name}", digest=self.digest, place=TOOLS, packed=self.packed)

    @property
    def place(self) -> str:
        """Where it stands: with the project that keeps it, or with the run that proposes it."""
        return self.project if self.by else self.run

    def put(self, tx: Transaction) -> None:
        """Write it; the files of a proposal only where it has them: they do not change."""
        packed = self.packed if self.by else ""
        tx.put(StoredTool(place=self.place, kept=bool(self.by), **{**asdict(self), "packed": packed}))
        if self.packed and not self.by:
            tx.put(StoredToolFiles(self.run, self.name, self.packed))

    def forget(self, tx: Transaction) -> None:
        """Idempotent."""
        tx.delete(StoredTool, self.place, self.name)
        if not self.by:
            tx.delete(StoredToolFiles, self.run, self.name)


def _rows(found: list[StoredTool]) -> list[ToolRow]:
    """Return them in the form of rules and interfaces, oldest first."""
    names = [one.name for one in fields(ToolRow)]
    made = [ToolRow(**{name: getattr(one, name) for name in names}) for one in found]
    return sorted(made, key=lambda one: one.at_ms)


def proposed_rows(tx: Transaction, run: str | None = None) -> list[ToolRow]:
    """Return the proposed tools, of this run or of all, oldest first."""
    if run is not None:
        return _rows([one for one in tx.find(StoredTool, {"place": run}) if not one.kept])
    return _rows(tx.find(StoredTool, {"kept": False}, order="at_ms"))


def whole(tx: Transaction, row: ToolRow) -> ToolRow:
    """It with its files."""
    files = None if row.packed else tx.get(StoredToolFiles, row.run, row.name)
    return row if files is None else replace(row, packed=files.packed)


def kept_rows(tx: Transaction, project: str | None) -> list[ToolRow]:
    """Return the kept tools of this project; None: of all projects."""
    if project is not None:
        return _rows([one for one in tx.find(StoredTool, {"place": project}) if one.kept])
    return _rows(tx.find(StoredTool, {"kept": True}, order="at_ms"))


def is_as_kept(core: Core, row: ToolRow) -> bool:
    """Whether the coordinator has signed this row, and its files have the row's digest."""
    keys = {key.public.keyid: key.public for key in (core.key, *core.former.values())}
    try:
        envelope = Envelope.model_validate_json(row.signed)
        verify(envelope, keys)
        row.ordered().files()
    except (WireRefusal, ValueError):
        return False
    return (envelope.payloadType, envelope.body()) == (PAYLOAD, row.said())


def trial_request(row: ToolRow, tool: SoundTool, by: str) -> DispatchRequest:
    """Return the request for a run of the tool's tests: bounded, without a network, only in a sandbox. It has
    a checkout, since a person's script without one runs outside of any sandbox.
    """
    return DispatchRequest(
        task=tool.trial(),
        created_by=by,
        runtime="shell",
        workspace="git",
        cwd=row.project,
        verify=(),
        reports=(),
        walled=True,
        network=NetworkAccess.NONE,
        timeout_ms=(tool.seconds * len(tool.tests) + SPARE_S) * 1000,
        max_output=1 << 20,
        max_memory=1 << 30,
        max_processes=64,
        max_disk=64 << 20,
        attempts=1,
    )


def with_tools(core: Core, project: str | None, given: GivenSkills) -> GivenSkills:
    """Add the project's kept tools for which there is room. A tool that has changed since a person kept it is
    left out, with a warning.
    """
    if project is None:
        return given
    with core.ports.ledger.transaction() as tx:
        kept = kept_rows(tx, project)
    ordered, left_out = list(given.ordered), list(given.left_out)
    for row in kept:
        room = MOST_PACKED - sum(len(one.packed) for one in ordered)
        if not is_as_kept(core, row):
            fix = f"pancode tools rm {row.name}"
            left_out.append(f"the tool {row.name} is not as it was kept, and is not given: {fix}")
        elif len(row.packed) > room or len(ordered) == MOST_SKILLS:
            left_out.append(f"there is no room for the tool {row.name} beside the skills")
        elif f"{TOOL}{row.name}" in {one.name for one in ordered}:
            left_out.append(f"a skill has the name of the tool {row.name}, which is not given")
        else:
            ordered.append(row.ordered())
    return GivenSkills(tuple(ordered), tuple(left_out))
