"""Agent-made tools as users see them: proposed, tried in a sandbox, kept with approval, revoked."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.wire.failure import Outcome
from node_agent.wire.receipt import Claims
from pancode.kernel.errors import ConflictError, RefusedError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EventKind, Run
from pancode.kernel.values import replace
from pancode.runs.answers import Need, NeedAct, NeedGroup
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run
from pancode.runs.life.changes import Happened
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import find_run, format_iso
from pancode.skills.answers import ToolDetail, ToolShape
from pancode.skills.made_tool_rules import SoundTool, tool_of
from pancode.skills.made_tool_store import (
    MOST,
    PAYLOAD,
    forget_tool,
    is_as_kept,
    kept_rows,
    load_files,
    proposed_rows,
    put_tool,
    signed_bytes,
    trial_request,
)
from pancode.skills.records import StoredTool

_ASKED = {
    "proposed": ("was proposed by {run}; its tests have not been run", "try"),
    "tried": ("was proposed by {run}, and its tests passed", "keep"),
    "failed": ("was proposed by {run}, and its tests did not pass", "show"),
    "cut short": ("was proposed by {run}, and its trial ended before its tests were done", "try"),
    "not sound": ("was proposed by {run}, but it is invalid", "show"),
}
"""By the state of a tool in the inbox: the text, and the verb that continues with it."""
_MOST_ASKED = 20
_NOT_JUDGED = (Outcome.INTERRUPTED, Outcome.LOST, Outcome.INFRA, Outcome.SUPERSEDED)


def keep_proposed(work: Work, claims: Claims) -> None:
    """Store the tools that a run in a project proposed in its receipt, in the transaction that accepts the
    receipt."""
    run = find_run(work.tx, claims.identity.run)
    if run.project is None:
        return
    for one in claims.proposed:
        now = work.core.wall_ms()
        row = StoredTool(run.id, one.name, False, run.project, run.id, one.digest, one.packed, now)
        put_tool(work.tx, replace(row, problem=_find_problem(row) or ""))
        work.tell(run.id, "tools", one.name, "proposed", f"pancode project tools show {run.id} {one.name}")
    for old in proposed_rows(work.tx)[: -MOST // 2]:
        forget_tool(work.tx, old)


def list_tools(core: Core, project: str | None) -> list[ToolShape]:
    """Return the tools of this project, or all if None: kept ones first, then proposed ones, newest first."""
    with core.ports.ledger.transaction() as tx:
        rows = [row for row in reversed(proposed_rows(tx)) if project in (None, row.project)]
        return [_shape(core, tx, load_files(tx, row)) for row in (*kept_rows(tx, project), *rows)]


def list_needs(core: Core, tx: Transaction) -> Iterator[Need]:
    """Yield the proposed tools that wait for a user: first those that only need approval, then the others,
    newest first. A tool on trial does not wait."""
    states = [(row, _find_state(core, tx, row)) for row in reversed(proposed_rows(tx))]
    waiting = sorted((one for one in states if one[1] in _ASKED), key=lambda one: one[1] != "tried")
    for row, state in waiting[:_MOST_ASKED]:
        words, verb = _ASKED[state]
        what, command = words.format(run=row.run), f"pancode project tools {verb} {row.run} {row.name}"
        name, title = f"tool:{row.run}:{row.name}", f"the tool {row.name}"
        acts = (NeedAct.done(name),)
        yield Need(name, NeedGroup.ASKS, "tool", title, what, command, run=row.run, words=what, acts=acts)
    if (more := len(waiting) - _MOST_ASKED) > 0:
        what = f"{more} more proposed tools"
        yield Need("tools", NeedGroup.ASKS, "tool", what, what, "pancode project tools ls")


def get_tool(core: Core, run: str, name: str) -> ToolDetail:
    """Return a proposed tool with its files. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        row = _find_row(tx, run, name)
        shape = _shape(core, tx, row)
    files = {} if shape["problem"] else _load_tool(row).files
    return {**shape, "files": {path: data.decode() for path, data in sorted(files.items())}}


def _shape(core: Core, tx: Transaction, row: StoredTool) -> ToolShape:
    problem = _find_problem(row)
    tool = None if problem else _load_tool(row)
    return {
        "name": row.name,
        "project": row.project,
        "state": _find_state(core, tx, row),
        "about": "" if tool is None else tool.about,
        "digest": row.digest if tool is None else tool.digest,
        "run": row.run,
        "by": row.by or None,
        "at": format_iso(row.at_ms),
        "trial": row.trial or None,
        "problem": problem,
    }


def _load_tool(row: StoredTool) -> SoundTool:
    return tool_of(row.name, row.digest, row.packed)


def _find_state(core: Core, tx: Transaction, row: StoredTool) -> str:
    if row.by:
        return "kept" if is_as_kept(core, row) else "changed"
    trial = tx.get(Run, row.trial) if row.trial else None
    if trial is None:
        return "not sound" if row.problem else "proposed"
    if trial.outcome is None:
        return "on trial"
    if trial.outcome is Outcome.DONE:
        return "tried"
    return "cut short" if trial.outcome in _NOT_JUDGED else "failed"


def _find_problem(row: StoredTool) -> str | None:
    """Return the reason why the tool cannot be tried or kept, or None."""
    try:
        _load_tool(row)
    except UsageError as wrong:
        return wrong.why
    return None


def _find_row(tx: Transaction, run: str, name: str) -> StoredTool:
    rows = proposed_rows(tx, find_run(tx, run).id)
    found = next((one for one in rows if one.name == name), None)
    if found is None:
        raise not_found("tool", name, [one.name for one in rows], "pancode project tools ls")
    return load_files(tx, found)


def try_it(core: Core, around: Surroundings, run: str, name: str, by: str) -> Dispatched:
    """Run the tool's tests on a node, without network access, only in a sandbox. UsageError for an invalid
    tool; errors of admission. A version that the run proposes meanwhile stays untried."""
    with core.ports.ledger.transaction() as tx:
        row = _find_row(tx, run, name)
    tool = _load_tool(row)
    done = dispatch_run(core, around, trial_request(row, tool, by), None)
    with unit_of_work(core) as work:
        now = _find_row(work.tx, row.run, name)
        if now.digest == row.digest:
            put_tool(work.tx, replace(now, trial=done.run.id))
    return done


def keep_tool(core: Core, run: str, name: str, digest: str, by: str) -> ToolShape:
    """Keep the tool: the user approves these bytes, and the project's later runs get it.

    UsageError for an invalid tool; RefusedError if its tests have not passed in a sandbox; ConflictError if
    its bytes differ from those that the user has seen.
    """
    with unit_of_work(core) as work:
        row = _find_row(work.tx, run, name)
        tool = _load_tool(row)
        if digest != tool.digest:
            what = f"tool {name} has changed since it was shown"
            fix = f"pancode project tools show {row.run} {name}"
            raise ConflictError(what, why=f"its digest is {tool.digest}", fix=fix, code="changed")
        if _find_state(core, work.tx, row) != "tried":
            why = (
                (f"the tool's newest trial is {row.trial}")
                if row.trial
                else "the tool's tests have not been run"
            )
            fix = f"pancode project tools try {row.run} {name}"
            raise RefusedError(f"the tests of {name} have not passed", why=why, fix=fix, code="not_tried")
        laid = tool.ordered()
        kept = replace(
            row,
            place=row.project,
            kept=True,
            digest=laid.digest,
            packed=laid.packed,
            at_ms=core.wall_ms(),
            by=by,
        )
        kept = replace(kept, signed=core.key.sign(PAYLOAD, signed_bytes(kept)).model_dump_json())
        put_tool(work.tx, kept)
        forget_tool(work.tx, row)
        work.audit(
            "trust", "info", "tool kept", row.run, by=by, tool=name, digest=kept.digest, project=row.project
        )
        work.happened(Happened(EventKind.INBOX_ANSWERED, row.run))
        return _shape(core, work.tx, kept)


def remove_tool(core: Core, name: str, project: str, by: str) -> None:
    """Revoke the tool for later runs; a running one keeps its copy to its end. NotFoundError if unknown."""
    with unit_of_work(core) as work:
        kept = {row.name: row for row in kept_rows(work.tx, project)}
        if name not in kept:
            raise not_found("tool", name, list(kept), "pancode project tools ls")
        forget_tool(work.tx, kept[name])
        work.audit("trust", "info", "tool removed", None, by=by, tool=name, project=project)


def put_aside(core: Core, run: str, name: str, by: str) -> None:
    """Dismiss the tool that this run proposes. NotFoundError if it proposes no such tool."""
    with unit_of_work(core) as work:
        row = _find_row(work.tx, run, name)
        forget_tool(work.tx, row)
        work.audit("trust", "info", "tool dismissed", row.run, by=by, tool=name, project=row.project)
        work.happened(Happened(EventKind.INBOX_ANSWERED, row.run))
