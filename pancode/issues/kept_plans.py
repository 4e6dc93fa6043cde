"""Records the plans that users have kept, and checks whether a file in a repository is one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pancode.issues.records import KeptPlan
from pancode.kernel.names import plan_file, questions_file
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.runs.core import Core

MOST_READ = 1 << 20


def record_plan(core: Core, name: str, files: Mapping[str, str], by: str) -> None:
    """Record that a user has approved these files as the plan of a workspace."""
    plan, questions = (
        hashlib.sha256(files[path].encode()).hexdigest() for path in (plan_file(name), questions_file(name))
    )
    with core.lock, core.ports.ledger.transaction() as tx:
        tx.put(KeptPlan(name, plan, questions, core.wall_ms(), by))


def list_kept_texts(tx: Transaction) -> set[str]:
    """Return the digests of the files of all kept plans."""
    return {digest for one in tx.find(KeptPlan) for digest in (one.plan, one.questions)}


def is_plan_kept(core: Core, project: str, name: str, newest: Run | None) -> bool:
    """Whether a run in the workspace of that name may be instructed to carry out the plan there. `newest`:
    the newest run there.

    A user must have kept the plan, and its text must not have changed since (an agent or an untrusted branch
    could have replaced it). A missing file counts as kept, because it is still being written.
    """
    with core.ports.ledger.transaction() as tx:
        kept = tx.get(KeptPlan, name)
    if kept is None:
        return False
    if newest is None:
        path = Path(project, plan_file(name))
        there = path.read_bytes()[:MOST_READ] if path.is_file() else None
    else:
        commit = newest.result.get("commit") or newest.workspace["snapshot"]
        repo = str(newest.workspace["repo"])
        there = core.ports.depot.read_file(repo, str(commit), plan_file(name), MOST_READ)
    return there is None or hashlib.sha256(there).hexdigest() == kept.plan
