"""`runs retry`: the same request once more, through the same ten gates, on the tree as it is now."""

from __future__ import annotations

import os
import posixpath
import shlex
from dataclasses import replace
from decimal import Decimal
from typing import Any

from node_agent.wire.failure import Outcome
from node_agent.wire.git import shown
from pancode.agents.request import DispatchRequest
from pancode.agents.runtimes import RUNTIMES
from pancode.control.core import Core
from pancode.control.surroundings import Surroundings
from pancode.core.records import Run, RunState
from pancode.dispatch.dispatch import Dispatched, dispatch
from pancode.errors import UsageError, WorkspaceError
from pancode.life.continuing import is_sitting
from pancode.life.orders import rules_of
from pancode.life.placement import is_walled
from pancode.life.verified import VERIFY_ON
from pancode.workflow import rejoining
from pancode.workflow.retrying import begins_at


def dispatch_again(
    core: Core, around: Surroundings, old: Run, by: str, resume: bool = False, alone: bool = False
) -> Dispatched:
    """A new run; a lost one is given up for good. UsageError while the old one has not ended.

    The retry of a step's run takes the step, and its workflow goes on; UsageError where it cannot. `alone`:
    it stays outside. `resume`: it goes on with the session, on its node; UsageError where there is none.
    """
    if old.state is not RunState.ENDED:
        raise UsageError(
            f"{old.id} has not ended, it is {old.state}", fix=f"pancode runs stop {old.id}", code="not_ended"
        )
    _must_be_no_settling(old)
    _must_be_no_sitting(old)
    request = request_of(old, by)
    if old.workflow is not None and not alone:
        with core.ports.ledger.transaction() as tx:
            rejoining.must_take(tx, old)  # before anything is paid for a snapshot; and again as it is queued
        request = replace(request, in_step=True, begins=begins_at(old))
    request = going_on(old, request) if resume else request
    _must_be_below(around, old, request)
    return dispatch(core, around, request)


def _must_be_no_sitting(old: Run) -> None:
    """UsageError for a sitting, unless its node is lost: words go on with a session, and repeat nothing."""
    if is_sitting(old) and old.outcome is not Outcome.LOST:
        raise UsageError(
            f"{old.id} is a sitting of a session, and a retry would repeat its first turn",
            fix=f'go on with the session: pancode attach {old.id} "..."',
            code="is_sitting",
        )


def _must_be_no_settling(old: Run) -> None:
    """UsageError for a run that was to settle a conflict: its place was that conflict, as it was then."""
    resolves = old.terms.get("resolves")
    if resolves:
        branch = resolves["way"].get("branch")
        raise UsageError(
            f"{old.id} cannot be retried: it was to settle the conflict of {resolves['run']}",
            why="a retry begins at the project's files as they are now, which have no conflict in them",
            fix=f"pancode land {resolves['run']} --resolve{f' --branch {branch}' if branch else ''}; "
            f"or go on with its result: pancode runs continue {old.id}",
            code="settles_conflict",
        )


def going_on(old: Run, request: DispatchRequest) -> DispatchRequest:
    """The request with the session of the old run, on the node that has it. UsageError when there is none."""
    session, node = old.result.get("session"), old.result.get("node")
    kept = RUNTIMES[old.runtime].resumes
    if session is None or node is None or not kept:
        none = "its program has reported none" if kept else f"the runtime {old.runtime} has none"
        fix = f"without it: pancode runs retry {old.id}"
        raise UsageError(f"{old.id} has no session to go on with", why=none, fix=fix, code="no_session")
    return replace(request, node=str(node), resume={"run": old.id, "session": str(session)})


def _folder_of(run: Run) -> str:
    """The folder relative to the project's top; empty for the top."""
    return str(run.workspace.get("folder") or "")


def _must_be_below(around: Surroundings, old: Run, request: DispatchRequest) -> None:
    """WorkspaceError where the place of before leads elsewhere: the run would begin at the top instead."""
    folder, cwd, top = _folder_of(old), request.cwd, request.project
    if folder and cwd is not None and top is not None and not around.below(cwd, top):
        raise WorkspaceError(
            f"a run cannot begin in {shown(os.fsencode(folder))}: it is no folder below {top} any more",
            why="it is, or lies behind, a link that leads elsewhere",
            fix=f"put the folder back, or dispatch anew from {top}",
        )


def _place_of(run: Run) -> str | None:
    """The folder of the old request."""
    folder = _folder_of(run)
    return run.project if run.project is None or not folder else posixpath.join(run.project, folder)


def _score(run: Run) -> str | None:
    words = run.terms.get("score")
    return shlex.join(words) if words else None


def request_of(run: Run, by: str) -> DispatchRequest:
    """The parts of the old request that decide the work; the user's configuration may have changed."""
    limits: dict[str, Any] = run.limits
    usd = limits.get("usd")
    gates: list[dict[str, Any]] = list(run.gates)
    verify = run.terms.get("verify_retries")
    return DispatchRequest(
        task=run.task,
        created_by=by,
        argv=tuple(run.argv) if run.argv is not None else None,
        agent=run.agent,
        node=run.node,
        require=dict(run.require),
        mode=run.mode,
        safety=run.safety,
        model=run.asked_model,
        reasoning=run.reasoning,
        runtime=run.runtime,
        workspace=str(run.workspace.get("kind")),
        budget=None if usd is None else Decimal(str(usd)),
        timeout_ms=limits["wall_ms"],
        idle_timeout_ms=limits["idle_ms"],
        max_requests=limits.get("requests"),
        max_turns=limits.get("turns"),
        max_tokens=None if RUNTIMES[run.runtime].own else limits.get("tokens"),
        max_output=limits["output_bytes"],
        max_memory=limits.get("memory_bytes"),
        max_processes=limits.get("processes"),
        max_disk=limits.get("disk_bytes"),
        wrap_up=bool(limits.get("wrap_up")),
        verify=tuple(shlex.join(str(word) for word in gate["argv"]) for gate in gates),
        score=_score(run),
        reports=tuple(run.terms.get("reports", ())),
        priority=run.priority,
        told_only=run.told_only,
        network=rules_of(run.rules).network,
        untested=run.untested,
        secret_files=run.terms.get("allowed_files") == ["*"],
        depth=run.depth,
        project=run.project,
        cwd=_place_of(run),
        answers=run.terms.get("answers") if RUNTIMES[run.runtime].own else None,
        on_lost=run.on_lost,
        max_attempts=run.max_attempts,
        verify_retries=verify if isinstance(verify, int) else None,
        verify_on=str(on) if (on := run.terms.get(VERIFY_ON)) else None,
        land=run.land and run.landed is None,
        turns=run.terms.get("turns", {}),
        session=run.terms.get("session", ""),
        walled=is_walled(run),
        confirmed=True,  # by the person who names this very run; a run may not
        retry_of=run.id,
        ask="asks" in run.terms,
    )
