"""Dispatches a run's request again on the current files, through the same ten gates (`runs retry`)."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from node_agent.wire.failure import Outcome
from node_agent.wire.git import decode_path
from pancode.agents.agents import ORCHESTRATOR
from pancode.agents.endpoints import EndpointNeed, endpoint_of, fleets_model, lack_of
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import UsageError, WorkspaceError
from pancode.kernel.node import NodeView
from pancode.kernel.records import Node, Run, RunState, SessionRow, TurnTaking
from pancode.kernel.values import replace
from pancode.runs.admission.model_choice import level_of_mode
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run
from pancode.runs.facts import Approvals, Caller, GateTerms, Lineage, Messages, Provision, SessionTurn
from pancode.runs.life.continuations import LeftOver, continue_request
from pancode.runs.life.conversation import IDLE_MS, InteractiveTerms, read_terms
from pancode.runs.options import OPTIONS, Option
from pancode.runs.placement.placement import can_be_had, needs_sandbox
from pancode.runs.request import Beginning, DispatchRequest, request_from
from pancode.runs.retention.parts import must_have_changes
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import session_of, words_of
from pancode.runs.whole_changes import find_larger


def dispatch_again(
    core: Core,
    around: Surroundings,
    old: Run,
    by: str,
    resume: bool = False,
    alone: bool = False,
    recovers: bool = False,
    before: Mapping[str, str] | None = None,
) -> Dispatched:
    """Dispatch the run's work again. UsageError if the old run has not ended.

    A lost run is given up permanently. UsageError for a run of larger work, which starts its failed runs
    again itself; `alone`: the new run stays outside.
    `resume`: the new run continues the session on its node; UsageError if there is no session. `recovers`:
    the new run must be the only recovery, RefusedError if there already is one; if the old run continued
    another run, the new one does too. `before`: as in DispatchRequest.
    """
    if old.state is not RunState.ENDED:
        raise UsageError(
            f"{old.id} has not ended: it is {old.state}", fix=f"pancode runs stop {old.id}", code="not_ended"
        )
    _must_be_no_settling(old)
    _must_not_be_interactive(old)
    if not alone:
        _must_be_no_part(core, old)
    request = replace(make_request(core, old, by), scouts=Provision.of(old).scouts, recovers=recovers)
    request = replace(request, before=before or {})
    if old.takes_turns:
        with core.ports.ledger.transaction() as tx:
            left = LeftOver(words_of(tx, old))
        again = continue_request(old, request, "", is_reachable(core, old), left=left)
        request = replace(unpin_request(core, again), retry_of=old.id)
    if recovers and Lineage.of(old).begins and not old.takes_turns:
        request = replace(request, begins=same_files(old), continues=old.id)
    request = add_session(old, request) if resume else request
    _must_be_below(around, old, request)
    return dispatch_run(core, around, request)


def same_files(old: Run) -> Beginning | None:
    """Return a beginning with the files that the old run started from; None without a repository."""
    place, snapshot = old.workspace, old.workspace.get("snapshot")
    if place.get("kind") != "git" or snapshot is None:
        return None
    must_have_changes(old)
    base, form = place.get("base"), str(place.get("object_format") or "sha1")
    base, lineage = None if base is None else str(base), Lineage.of(old)
    return Beginning(lineage.begins or old.id, str(place["repo"]), str(snapshot), base, form, lineage.carries)


def _must_be_no_part(core: Core, old: Run) -> None:
    """Raise UsageError for a run of larger work."""
    with core.ports.ledger.transaction() as tx:
        work = find_larger(core, tx, old.workflow)
    if work is not None:
        raise UsageError(
            f"{old.id} cannot be retried in its place: it is part of {work.id}",
            fix=f"start it again there: {work.start_again}; outside: pancode runs retry --alone {old.id}",
            code="not_in_its_place",
        )


def _must_not_be_interactive(old: Run) -> None:
    """Raise UsageError for an interactive run unless lost, as a retry would repeat the session's first turn.

    The retry of a lost interactive run is the next run of its session: it has the session's context and gets
    the messages again.
    """
    if old.takes_turns and old.outcome is not Outcome.LOST:
        raise UsageError(
            f"{old.id} is part of a session, and a retry would repeat its first turn",
            fix=f'continue the session: pancode attach {old.id} "..."',
            code="is_interactive",
        )


def is_reachable(core: Core, old: Run) -> bool:
    """Whether the run's node accepts work now and can run the model that the user has chosen since.

    An interactive run's node also counts while it is away or busy, as it has the program's memory and only it
    can report that memory lost. The node of a lost run does not, as the next run starts on another node.
    """
    name = old.result.get("node") or old.node
    with core.ports.ledger.transaction() as tx:
        node = tx.get(Node, name) if isinstance(name, str) else None
        waits = old.takes_turns and old.outcome is not Outcome.LOST
        there = node is not None and node.removed is None and (waits or can_be_had(core.view_of(node)))
        return there and keeps_node(old, session_of(tx, old), core.views(tx))


def keeps_node(old: Run, session: SessionRow | None, nodes: Sequence[NodeView]) -> bool:
    """Whether the model of the next interactive run is available on the old run's node, which has the
    program's memory; on another node the next run would start from a summary."""
    model, name = None if session is None else session.model, old.result.get("node") or old.node
    if model is None or model == old.asked_model:
        return True
    ref = fleets_model(model, nodes)
    endpoint = endpoint_of(ref, nodes)
    facts = next((view.last.heartbeat.facts for view in nodes if view.last and view.node.name == name), None)
    if ref.node is not None or endpoint is None or facts is None:
        return ref.node in (None, name)
    return lack_of(facts, EndpointNeed(endpoint, ref.model, old.runtime), str(name)) is None


def unpin_request(core: Core, request: DispatchRequest) -> DispatchRequest:
    """Return the next interactive run's request, unpinned from a node that left the fleet or lacks the model.
    An unpinned run starts on another node, from a summary."""
    with core.ports.ledger.transaction() as tx:
        node = tx.get(Node, request.node) if request.node is not None else None
        nodes = core.views(tx)
    ref = fleets_model(request.model, nodes) if request.model else None
    named = ref is None or ref.node in (None, request.node)
    stays = node is not None and node.removed is None and named
    return request if stays or not request.turns else replace(request, node=None)


def _must_be_no_settling(old: Run) -> None:
    """Raise UsageError for a run that resolves a conflict: the conflict may no longer exist."""
    resolves = Lineage.of(old).resolves
    if resolves:
        branch = resolves["way"].get("branch")
        raise UsageError(
            f"{old.id} cannot be retried: it resolves the conflict of {resolves['run']}",
            why="a retry starts from the project's current files, which do not contain the conflict",
            fix=(
                f"pancode land {resolves['run']} "
                f"--resolve{f' --branch {branch}' if branch else ''}; or continue from its result: "
                f"pancode runs continue {old.id}"
            ),
            code="settles_conflict",
        )


def add_session(old: Run, request: DispatchRequest) -> DispatchRequest:
    """Return the request with the old run's session, pinned to its node. UsageError without a session."""
    session, node = old.result.get("session"), old.result.get("node")
    kept = RUNTIMES[old.runtime].resumes
    if session is None or node is None or not kept:
        none = (
            "its program has not reported a session"
            if kept
            else f"the runtime {old.runtime} cannot resume sessions"
        )
        fix = f"retry without the session: pancode runs retry {old.id}"
        raise UsageError(f"{old.id} has no session to continue", why=none, fix=fix, code="no_session")
    return replace(request, node=str(node), resume={"run": old.id, "session": str(session)})


def _folder_of(run: Run) -> str:
    """Return the run's folder relative to the top of its project; empty for the top."""
    return str(run.workspace.get("folder") or "")


def _must_be_below(around: Surroundings, old: Run, request: DispatchRequest) -> None:
    """Raise WorkspaceError if the old run's folder is no longer below the project's top."""
    folder, cwd, top = _folder_of(old), request.cwd, request.project
    if folder and cwd is not None and top is not None and not around.below(cwd, top):
        raise WorkspaceError(
            f"a run cannot start in {decode_path(os.fsencode(folder))}: it is no longer a "
            f"directory below {top}",
            why="the directory or one of its parents is a link that leads outside the project",
            fix=f"restore the directory, or dispatch again from {top}",
        )


def _place_of(run: Run) -> str | None:
    """Return the absolute path of the folder that the old run was requested in; None without a project."""
    folder = _folder_of(run)
    return run.project if run.project is None or not folder else posixpath.join(run.project, folder)


def make_request(core: Core, run: Run, by: str) -> DispatchRequest:
    """Return the request like `request_of`; for an interactive run, with the user's later choices too."""
    with core.ports.ledger.transaction() as tx:
        return request_of(run, by, session_of(tx, run))


def request_of(run: Run, by: str, session: SessionRow | None = None) -> DispatchRequest:
    """Return a request: the old one's parts that define the work, the rest from the user's current
    configuration. `session`: an interactive run's session, with the user's choices for its next run."""
    own, caller, score = RUNTIMES[run.runtime].own, Caller.of(run), GateTerms.of(run).score
    limits: dict[str, Any] = run.limits
    gates: list[dict[str, Any]] = list(run.gates)
    request = request_from(
        {one.name: _find_value(run, one) for one in OPTIONS.values() if one.kept != ""}, by
    )
    return replace(
        request,
        task=run.task,
        argv=tuple(run.argv) if run.argv is not None else None,
        max_tokens=None if own else limits.get("tokens"),
        verify=tuple(shlex.join(str(word) for word in gate["argv"]) for gate in gates),
        score=shlex.join(score) if score else None,
        secret_files=Provision.of(run).allowed_files == ("*",),
        depth=run.depth,
        project=run.project,
        cwd=_place_of(run),
        answers=(Messages.of(run).answers or None) if own else None,
        land=run.land and run.landed is None,
        # An interactive run's ceiling belongs to its session.
        budget=None if run.takes_turns else request.budget,
        on_cap="" if session is None else session.on_cap,
        rounds=_count_rounds(run),
        session=run.session if run.takes_turns else "",
        charged_to=caller.charged_to,
        preset=caller.preset,
        caller_settings=caller.caller_settings,
        walled=needs_sandbox(run),
        confined=request.confined | Provision.of(run).confined,
        confirmed=True,  # By naming this run, the user confirmed the request; a run cannot confirm one.
        retry_of=run.id,
        ask=bool(Approvals.of(run).asks),
        **_next_terms(run, session),
    )


def _next_terms(run: Run, session: SessionRow | None) -> dict[str, Any]:
    if session is None or session.chosen_by is None:
        return {"turns": _find_turns(run)}
    return in_request(run, read_terms(session), _find_turns(run))


def in_request(run: Run, terms: InteractiveTerms, turns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's fields for the next interactive run with these terms."""
    body = terms.as_json()
    by_mode = run.agent == ORCHESTRATOR and run.reasoning is level_of_mode(run.mode, RUNTIMES[run.runtime])
    if by_mode and terms.reasoning is run.reasoning:
        # The safety level was derived from the mode, so it is dropped if the mode is.
        body["reasoning"] = None
    return {"turns": {**turns, "mode": body.pop("program_mode")}, **body}


def _count_rounds(run: Run) -> int:
    """Return how many more interactive runs may follow without a user's message; 0 once gates have passed."""
    return 0 if run.outcome is Outcome.DONE else max(0, SessionTurn.of(run).rounds - 1)


def _find_turns(run: Run) -> Mapping[str, Any]:
    """Return the run's turn settings; the last run allowed without a user's message gets usual idle time."""
    turns = TurnTaking.of(run).turns
    return {**turns, "idle_ms": IDLE_MS} if SessionTurn.of(run).rounds and not _count_rounds(run) else turns


def _find_value(run: Run, one: Option) -> object:
    """Return an option's value in a run: a column, or a key in a JSON column or a facet."""
    column, _, key = (one.kept or one.name).partition(".")
    value = getattr(GateTerms.of(run), key) if column == "GateTerms" else getattr(run, column)
    value = value.get(key) if key and column != "GateTerms" else value
    if one.bounds is None or not isinstance(value, int):
        return value
    least, most = one.bounds
    return min(max(value, least), most)  # An older version allowed values outside these bounds.
