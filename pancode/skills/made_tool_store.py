"""Stores tools of projects in the ledger: those proposed by runs, and those kept by a user and signed."""

from __future__ import annotations

import json

from node_agent.wire.policy import NetworkAccess
from node_agent.wire.signing import Envelope, WireRefusal, verify_envelope
from node_agent.wire.skill import MOST_PACKED, MOST_SKILLS, TOOL, TOOLS, JobSkill
from pancode.kernel.ports import Transaction
from pancode.kernel.rows import GivenSkills
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest, PromptParts
from pancode.runs.user_environment import Surroundings
from pancode.skills.made_tool_rules import SoundTool
from pancode.skills.records import StoredTool, StoredToolFiles

MOST = 200
SPARE_S = 60
"""Seconds that a trial gets in addition to the seconds of each test."""
PAYLOAD = "application/vnd.pancode.kept-tool+json"


def signed_bytes(row: StoredTool) -> bytes:
    """Return the bytes to sign for a tool; the digest in them covers its files."""
    return json.dumps([row.project, row.name, row.digest, row.run, row.by, row.at_ms]).encode()


def order_tool(row: StoredTool) -> JobSkill:
    """Return the tool as a skill of a job."""
    return JobSkill(name=f"{TOOL}{row.name}", digest=row.digest, place=TOOLS, packed=row.packed)


def put_tool(tx: Transaction, row: StoredTool) -> None:
    """Write the row. A proposal's files are written only if the row has them, as they never change."""
    if row.packed and not row.kept:
        tx.put(StoredToolFiles(row.run, row.name, row.packed))
    tx.put(row if row.kept else replace(row, packed=""))


def forget_tool(tx: Transaction, row: StoredTool) -> None:
    """Delete the row and its files. Idempotent."""
    tx.delete(StoredTool, row.place, row.name)
    if not row.kept:
        tx.delete(StoredToolFiles, row.run, row.name)


def _oldest_first(found: list[StoredTool]) -> list[StoredTool]:
    return sorted(found, key=lambda one: one.at_ms)


def proposed_rows(tx: Transaction, run: str | None = None) -> list[StoredTool]:
    """Return the tools that this run proposed, or all proposed tools if `run` is None, oldest first."""
    if run is not None:
        return _oldest_first([one for one in tx.find(StoredTool, {"place": run}) if not one.kept])
    return tx.find(StoredTool, {"kept": False}, order="at_ms")


def load_files(tx: Transaction, row: StoredTool) -> StoredTool:
    """Return the row with the tool's files, which are stored separately."""
    files = None if row.packed else tx.get(StoredToolFiles, row.run, row.name)
    return row if files is None else replace(row, packed=files.packed)


def kept_rows(tx: Transaction, project: str | None) -> list[StoredTool]:
    """Return the kept tools of this project; None: of all projects."""
    if project is not None:
        return _oldest_first([one for one in tx.find(StoredTool, {"place": project}) if one.kept])
    return tx.find(StoredTool, {"kept": True}, order="at_ms")


def is_as_kept(core: Core, row: StoredTool) -> bool:
    """Whether the coordinator signed this row and its files match its digest."""
    keys = {key.public.keyid: key.public for key in (core.key, *core.former.values())}
    try:
        envelope = Envelope.model_validate_json(row.signed)
        verify_envelope(envelope, keys)
        order_tool(row).files()
    except (WireRefusal, ValueError):
        return False
    return (envelope.payloadType, envelope.body()) == (PAYLOAD, signed_bytes(row))


def trial_request(row: StoredTool, tool: SoundTool, by: str) -> DispatchRequest:
    """Return the request for a run of the tool's tests: with limits, without network access, only in a
    sandbox. It has a checkout, as a user's script without one runs outside of the sandbox."""
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


def give_skills(
    core: Core, around: Surroundings, request: DispatchRequest, skills: tuple[str, ...]
) -> PromptParts:
    """Return the named skills, the project's skills and its kept tools, as parts of the request's prompt."""
    project = request.repository
    return PromptParts(skills=with_tools(core, project, around.skills(project, skills)))


def with_tools(core: Core, project: str | None, given: GivenSkills) -> GivenSkills:
    """Return the skills with those kept tools of the project that fit. A tool that changed since a user kept
    it is left out, with a warning."""
    if project is None:
        return given
    with core.ports.ledger.transaction() as tx:
        kept = kept_rows(tx, project)
    ordered, left_out = list(given.ordered), list(given.left_out)
    for row in kept:
        room = MOST_PACKED - sum(len(one.packed) for one in ordered)
        if not is_as_kept(core, row):
            fix = f"pancode project tools rm {row.name}"
            left_out.append(f"tool {row.name} changed since it was kept, so it is left out: {fix}")
        elif len(row.packed) > room or len(ordered) == MOST_SKILLS:
            left_out.append(f"tool {row.name} is left out: the skills leave no room for it")
        elif f"{TOOL}{row.name}" in {one.name for one in ordered}:
            left_out.append(f"tool {row.name} is left out: a skill has the same name")
        else:
            ordered.append(order_tool(row))
    return GivenSkills(tuple(ordered), tuple(left_out))
