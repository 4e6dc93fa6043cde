"""Routes of runs: dispatch, show, follow, stop and retry."""

from __future__ import annotations

from functools import partial

from pancode.conversation.stream import reading_of
from pancode.interfaces.http.access.rights import DISPATCHES, STOPS
from pancode.interfaces.http.access.run_rights import refuse_act
from pancode.interfaces.http.bodies import BeginsRun, ContinueBody, DispatchBody, ReasonBody, RetryBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.cursors import PAGED, Cursors
from pancode.interfaces.http.routing import ApiCall, EventStream, Octets, Verb
from pancode.interfaces.http.streams import (
    PartsOfLog,
    ReadLog,
    ShownLog,
    log_events,
    make_event_stream,
    run_events,
    show_tail,
)
from pancode.kernel.pages import MOST_ROWS, RUN_FILTERS
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.runs import answers
from pancode.runs.admission.dry_run import describe_preview, report_plan
from pancode.runs.dispatch import describe_queued, dispatch_run, dry_run, under_way
from pancode.runs.facts import Caller
from pancode.runs.lists import Filter, list_runs
from pancode.runs.log import MOST_TAIL, LogPlace, read_log, read_tails, stream_names
from pancode.runs.messages import continue_from, may_land_next
from pancode.runs.receipts.service import verify_run
from pancode.runs.remaining_budget import parent_of
from pancode.runs.request import DispatchRequest, workspace_in
from pancode.runs.retry import dispatch_again
from pancode.runs.stop import stop_run
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import get_run, get_run_detail, get_run_shape
from pancode.runs.whole_changes import diff_change, diff_since


@Verb(answers.RUNS, command="runs ls", query=(*PAGED, *RUN_FILTERS))
def _runs(context: ApiContext, call: ApiCall) -> answers.RunsAnswer:
    """List the newest runs."""
    cursors, limit = Cursors(call.query, "runs"), call.number("limit", 20, MOST_ROWS)
    known = context.known(call.query)
    wanted = Filter.of(known, context.core.wall_ms(), checks=call.flag("checks"))
    page = list_runs(context.core, limit, wanted, cursors.after())
    return {"runs": page.rows, "next": cursors.next(page.last)}


def report_dry_run(
    context: ApiContext, around: Surroundings, request: DispatchRequest, parent: str | None
) -> answers.DryRunAnswer:
    """Return a dry run's report: gate results, the plan, and which repository files would be sent."""
    plan = dry_run(context.core, around, request, parent)
    taken = plan.project is not None and plan.request.begins is None
    args = (str(plan.project), plan.request.folder, plan.allowed_files)
    preview = describe_preview(context.core.ports.depot.preview(*args)) if taken else None
    return {**report_plan(plan), "snapshot": preview}


def resolve_request(
    context: ApiContext, call: ApiCall[BeginsRun]
) -> tuple[DispatchRequest, str | None, Surroundings]:
    """Return a call's request, its parent run and the effective settings; a call from inside a run creates a
    child of that run."""
    request, parent, preset = call.body.request(), call.body.parent, call.body.preset
    if call.inside is not None:
        request, parent = make_child_request(context, call.inside, request), call.inside.id
        preset = request.preset or None
    callers: dict[str, object] = {**request.caller_settings, **dict(call.body.settings.items())}
    return request, parent, context.coordinator.around(callers, preset)


def make_child_request(context: ApiContext, parent: Run, request: DispatchRequest) -> DispatchRequest:
    """Return the request as a child of the calling run, with at most that run's priority.

    Without a mode it gets the parent's mode; without a safety level, an orchestrator's child gets the
    parent's level. Nothing in the request counts as a user's approval.
    """
    if request.land:
        refuse_act(context.core, parent, "landing a change")
    if workspace_in(request.workspace) is not None:
        refuse_act(context.core, parent, "working in a user's workspace")
    priority = min(request.priority, parent.priority)
    caller = Caller.of(parent)
    above = parent_of(context.core, parent.id)
    return replace(
        request,
        created_by=parent.id,
        mode=request.mode or above.mode,
        safety=request.safety or (above.safety if above.leads else None),
        priority=priority,
        secret_files=False,
        preset=request.preset or caller.preset,
        caller_settings=caller.caller_settings,
        confirmed=False,
    )


@Verb(answers.DISPATCH, DispatchBody, "dispatch", pokes=True, status=201, for_runs=True, right=DISPATCHES)
def _dispatch(
    context: ApiContext, call: ApiCall[DispatchBody]
) -> answers.QueuedAnswer | answers.DryRunAnswer:
    """Dispatch a run; with `dry_run` only report what would happen."""
    request, parent, around = resolve_request(context, call)
    if call.body.dry_run:
        return report_dry_run(context, around, request, parent)
    return describe_queued(dispatch_run(context.core, around, request, parent))


@Verb(answers.SNAPSHOTS)
def _list_snapshots(context: ApiContext, call: ApiCall) -> answers.SnapshotsAnswer:
    """List the snapshots that are being made now."""
    return {"snapshots": under_way(context.core)}


@Verb(answers.TAILS, query=("bytes", "shown"))
def _list_tails(context: ApiContext, call: ApiCall) -> answers.TailsAnswer:
    """Return the last output of each run that is at work. `shown`: as the text that `pancode logs` shows."""
    core, most, is_shown = context.core, call.number("bytes", 600, MOST_TAIL), call.flag("shown")

    def describe(run: str, tail: bytes) -> str:
        if not is_shown:
            return tail.decode(errors="replace")
        return show_tail(get_run(core, run).runtime, tail, most)

    tails = read_tails(core, context.coordinator.streams, most)
    return {"tails": {run: describe(run, tail) for run, tail in tails.items()}}


@Verb(answers.RUN, command="runs show")
def _show(context: ApiContext, call: ApiCall) -> answers.RunDetail:
    """Return everything about a run."""
    return get_run_detail(context.core, call.path["run"])


@Verb(answers.BRIEF)
def _describe_run(context: ApiContext, call: ApiCall) -> answers.RunShape:
    """Return a run's summary."""
    return get_run_shape(context.core, call.path["run"])


@Verb("GET /v1/runs/{run}/events")
def _stream_events(context: ApiContext, call: ApiCall) -> EventStream:
    """Follow a run's events until it ends."""
    get_run_shape(context.core, call.path["run"])  # An unknown run must be an error response, not an event.
    return make_event_stream(run_events(context, call))


@Verb(
    "GET /v1/runs/{run}/log",
    command="logs",
    query=("offset", "last", "stream", "attempt", "follow", "shown", "parts"),
)
def _log(context: ApiContext, call: ApiCall) -> Octets | EventStream:
    """Return a run's output from an offset on, or its last bytes.

    `follow`: as events, until the run has ended. `shown`: as events with the text that `pancode logs` shows.
    `parts`: as events with what the agent says, thinks and does.
    """
    place, follows, is_shown = LogPlace.of(call.query), call.flag("follow"), call.flag("shown")
    read: ReadLog = partial(read_log, context.core, context.coordinator.streams, call.path["run"])
    if call.flag("parts"):
        run = _find_run(context, call)
        tell = PartsOfLog(run.id, run.runtime).format
        return make_event_stream(log_events(context, read, place, follows=follows, tell=tell))
    piece = read(replace(place, offset=0, last=0) if is_shown else place)
    if follows or is_shown:
        if is_shown and reading_of(runtime := _find_run(context, call).runtime) is not None:
            read = ShownLog(read, runtime, place, follows=follows).read
        return make_event_stream(log_events(context, read, place, follows=follows))
    headers = {"Pancode-Attempt": piece.place.attempt, "Pancode-Next": str(piece.place.offset)}
    if piece.before != 0:
        headers["Pancode-Lines-Before"] = "unknown" if piece.before is None else str(piece.before)
    headers["Pancode-State"] = "more" if piece.more else "end" if piece.end else "open"
    return Octets(piece.data, headers=headers)


@Verb("GET /v1/runs/{run}/diff", command="diff", query=("stat", "now", "since"))
def _diff(context: ApiContext, call: ApiCall) -> Octets:
    """Return the run's change as a diff.

    `since`: what has changed since the result of another run, such as that of the round before. `now`: for a
    run in progress, its change so far, read from its node at most every ten seconds; the headers `Pancode-At`
    and `Pancode-Notes` say when it was read and what it lacks.
    """
    run, since = _find_run(context, call), call.query.get("since", "")
    if since:
        return Octets(diff_since(context.core, run.id, since, call.flag("stat")))
    is_open = run.state is not RunState.ENDED and run.result.get("commit") is None
    read = context.unfinished.read
    found = read(context.core, context.coordinator.fleet, run) if call.flag("now") and is_open else None
    if found is not None:
        return Octets(found.stat if call.flag("stat") else found.diff, headers=found.headers)
    return Octets(diff_change(context.core, call.path["run"], call.flag("stat")))


@Verb(answers.STREAMS)
def _list_streams(context: ApiContext, call: ApiCall) -> answers.StreamsAnswer:
    """List the output streams of a run."""
    return {"streams": stream_names(context.core, context.coordinator.streams, call.path["run"])}


def _find_run(context: ApiContext, call: ApiCall) -> Run:
    return get_run(context.core, call.path["run"])


@Verb(answers.STOP, ReasonBody, "stop", pokes=True, right=STOPS)
def _stop(context: ApiContext, call: ApiCall[ReasonBody]) -> answers.RunShape:
    """Stop a run."""
    body = call.body
    reason = body.reason or f"stopped by {body.by}"
    run = stop_run(context.core, _find_run(context, call).id, reason)
    if run.land and run.state is RunState.ENDED:
        # Cancel also the landing that is being written at this moment.
        for part in context.coordinator.parts:
            part.call_off(run)
    return get_run_shape(context.core, run.id)


def lands_again(context: ApiContext, call: ApiCall) -> bool:
    """Whether the run still has a change to land."""
    run = _find_run(context, call)
    return run.land and run.landed is None


@Verb(answers.RETRY, RetryBody, "runs retry", pokes=True, status=201, right=DISPATCHES, lands=lands_again)
def _retry(context: ApiContext, call: ApiCall[RetryBody]) -> answers.QueuedAnswer:
    """Dispatch the same work as a new run."""
    body = call.body
    old, around = _find_run(context, call), context.coordinator.around({})
    return describe_queued(dispatch_again(context.core, around, old, body.by, body.resume, body.alone))


def may_land_after(context: ApiContext, call: ApiCall) -> bool:
    """Whether this message may begin a run that lands; in a session, the session's newest run decides."""
    run = _find_run(context, call)
    return may_land_next(context.core, run) if run.takes_turns else lands_again(context, call)


@Verb(
    answers.CONTINUE,
    ContinueBody,
    "runs continue",
    pokes=True,
    status=201,
    right=DISPATCHES,
    lands=may_land_after,
)
def _continue(context: ApiContext, call: ApiCall[ContinueBody]) -> answers.QueuedAnswer:
    """Continue from a run's result in a new run, and return the new run.

    For a session: send it the message, in any state, and return the run that gets it.
    """
    core, around = context.core, context.coordinator.around({})
    old = _find_run(context, call)
    if old.takes_turns and call.inside is not None:
        refuse_act(core, call.inside, f"sending a message to session {old.id}")
    return describe_queued(continue_from(core, around, old, call.body.text, call.inside or call.body.by))


@Verb(answers.VERIFY, command="receipt verify")
def _verify(context: ApiContext, call: ApiCall) -> answers.VerdictShape:
    """Verify a run's receipt."""
    return verify_run(context.core, call.path["run"], context.coordinator.streams)
