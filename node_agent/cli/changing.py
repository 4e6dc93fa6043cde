"""Prints the change of a run in progress, for the coordinator: a line of JSON with notes, then the diff."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from node_agent.attempt.records import apply_record, open_entry
from node_agent.files.durable import from_json
from node_agent.journal.storage import JournalFiles
from node_agent.machine.home import NodeHome
from node_agent.runner.launching import find_hidden
from node_agent.runtimes.logins import list_token_paths
from node_agent.vault.vault import Vault
from node_agent.wire.clock import SystemClock
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.sealing import open_files
from node_agent.wire.signing import parse_envelope, parse_message
from node_agent.workspace.change_so_far import ChangeReader
from node_agent.workspace.folders import WorkspaceFolders
from node_agent.workspace.git import WorkspaceFailure


def show_change(home: NodeHome, name: str) -> bytes:
    """Return the change so far. WorkspaceFailure if the attempt has no checkout that its agent works in."""
    identity = AttemptId.parse(name)
    storage = JournalFiles(home.journal)
    if name not in storage.names():
        raise WorkspaceFailure(f"{name} is not on this node")
    records = [from_json(raw) for raw in storage.read(name)]
    entry = open_entry(records[0])
    for record in records[1:]:
        entry = apply_record(entry, record)
    if entry.mark not in (Mark.PREPARED, Mark.SPAWNED, Mark.EXITED):
        raise WorkspaceFailure("its agent does not work now")
    job = parse_message(Job, parse_envelope(str(records[0]["head"]["order"])).body())
    clock = SystemClock()
    vault = Vault(home.secrets, dict(os.environ), clock, list_token_paths(home.root))
    key = home.read_key()

    def open_copied(job: Job) -> dict[str, bytes]:
        return dict(open_files(job.copied, key, name)) if job.copied else {}

    hidden = find_hidden(job, vault.values(), vault.owned(), open_copied)
    with tempfile.TemporaryDirectory(dir=home.root / "run") as scratch:
        reader = ChangeReader(WorkspaceFolders(home.root), hidden, Path(scratch), clock)
        diff, notes = reader.read(identity, job.workspace, entry.baseline)
    return json.dumps({"notes": notes}).encode() + b"\n" + diff
