"""Routes of runs: dispatch, look, follow, stop, again, diff, land."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from node_agent.wire.failure import Outcome
from pancode.api.bodies import DispatchBody, LandBody, ReasonBody, RetryBody
from pancode.api.context import ApiContext
from pancode.api.routing import ApiCall, Verb
from pancode.api.streaming import log_events, run_events, sse
from pancode.control import snapshots
from pancode.control.dispatch import Dispatched, JudgedDispatch, dispatch, dry_run
from pancode.control.inside import refuse
from pancode.control.landed import not_landed
from pancode.control.query import log as query_log
from pancode.control.query import run as query
from pancode.control.query import runs as query_runs
from pancode.control.query import story as query_story
from pancode.control.query.receipts import verify
from pancode.control.retry import dispatch_again
from pancode.domain.networks import networks
from pancode.domain.records import Run, RunState
from pancode.domain.resolve import Resolution
from pancode.errors import WorkspaceError


def _dispatch(context: ApiContext, call: ApiCall) -> Any:
    body = call.body if call.inside is None else _childs(context, call.inside, call.body)
    callers: dict[str, object] = dict(body.settings.items())
    around = context.coordinator.around(callers, body.preset)
    if body.dry_run:
        judged = dry_run(context.core, around, body.request(), body.parent)
        project = judged.resolution.project
        told = (judged.resolution.request.folder, judged.resolution.allowed_files)
        taken = context.coordinator.code.preview(project, *told) if project else None
        return {**_report(judged), "snapshot": taken}
    done = dispatch(context.core, around, body.request(), body.parent)
    return _queued(done)


def _queued(done: Dispatched) -> Any:
    return {**query.queued(done.run, done.chosen), "warnings": list(done.warnings)}


def _childs(context: ApiContext, parent: Run, body: DispatchBody) -> DispatchBody:
    """From inside a run: its child, whatever the request claims, and no more urgent than it."""
    if body.land:
        refuse(context.core, parent, "to land a change")
    priority = min(body.priority, parent.priority)
    update = {"parent": parent.id, "by": parent.id, "priority": priority, "secret_files": False}
    return body.model_copy(update=update)


def _report(judged: JudgedDispatch) -> dict[str, Any]:
    """What `--dry-run` shows: the ten gates and what would happen."""
    gates = [
        {"gate": v.gate, "passed": v.passed, "warning": v.warning, "words": v.words, "fix": v.fix}
        for v in judged.verdicts
    ]
    admitted = all(v.passed for v in judged.verdicts)
    places = [place.text for place in judged.untested]
    notes = [*judged.outranked, *judged.notes]
    told = {"untested": places, "costly_test": judged.costly, "notes": notes}
    return {"dry_run": True, "admitted": admitted, "gates": gates, **told, **_plan(judged.resolution)}


def _plan(resolution: Resolution) -> dict[str, Any]:
    nodes = [
        {
            "node": c.name,
            "fits": c.fits,
            "ready": c.ready,
            "why": c.why,
            "fix": c.fix,
            "isolation": c.isolation,
        }
        for c in resolution.candidates
    ]
    return {
        "agent": resolution.agent.name,
        "chosen": resolution.chosen,
        "runtime": resolution.runtime.name,
        "model": resolution.model,
        "reasoning": resolution.reasoning,
        "mode": resolution.mode.value,
        "safety": resolution.safety.value,
        "workspace": resolution.workspace,
        "project": resolution.project,
        "folder": resolution.request.folder,
        "setup": [list(argv) for argv in resolution.setup],
        "cache": list(resolution.cache),
        "verify": [list(argv) for argv in resolution.gates],
        "limits": resolution.limits.plain(),
        "tokens": dict(resolution.tokens),
        "nodes": nodes,
        "network": networks(resolution),
        "env": list(resolution.env),
        "secrets": list(resolution.secrets),
        "estimate_usd": f"{resolution.due.usd:f}",
        "estimate_tokens": resolution.due.tokens,
        "estimate_minutes": round(resolution.due.ms / 60_000, 2),
    }


def _runs(context: ApiContext, call: ApiCall) -> Any:
    wanted = query_runs.Filter.of(call.query, context.core.wall_ms())
    return {"runs": query_runs.runs(context.core, call.number("limit", 20, query.MOST), wanted)}


def _snapshots(context: ApiContext, call: ApiCall) -> Any:
    return {"snapshots": snapshots.under_way(context.core)}


def _show(context: ApiContext, call: ApiCall) -> Any:
    return query.show(context.core, call.path["run"])


def _brief(context: ApiContext, call: ApiCall) -> Any:
    return query.brief(context.core, call.path["run"])


def _why(context: ApiContext, call: ApiCall) -> Any:
    return query_story.why(context.core, call.path["run"])


def _events(context: ApiContext, call: ApiCall) -> Any:
    query.brief(context.core, call.path["run"])  # an unknown run is an answer of its own, not an event
    return sse(run_events(context, call))


def _log(context: ApiContext, call: ApiCall) -> Any:
    place = query_log.LogPlace.of(call.query)
    piece = query_log.read_log(context.core, context.coordinator.streams, call.path["run"], place)
    if call.flag("follow"):
        return sse(log_events(context, call))
    told = {"Pancode-Attempt": piece.place.attempt, "Pancode-Next": str(piece.place.offset)}
    told["Pancode-State"] = "more" if piece.more else "end" if piece.end else "open"
    return Response(piece.data, media_type="application/octet-stream", headers=told)


def _streams(context: ApiContext, call: ApiCall) -> Any:
    return {"streams": query_log.stream_names(context.core, context.coordinator.streams, call.path["run"])}


def _meant(context: ApiContext, call: ApiCall) -> Run:
    with context.core.ports.ledger.transaction() as tx:
        return query.find_run(tx, call.path["run"])


def _stop(context: ApiContext, call: ApiCall) -> Any:
    body: ReasonBody = call.body
    reason = body.reason or f"stopped by {body.by}"
    run = context.coordinator.plane.stop(_meant(context, call).id, reason)
    if run.land and run.state is RunState.ENDED:
        context.coordinator.code.call_off(run)  # the one that is being written just now
    return query.brief(context.core, run.id)


def _retry(context: ApiContext, call: ApiCall) -> Any:
    around = context.coordinator.around({})
    return _queued(
        dispatch_again(context.core, around, _meant(context, call), call.body.by, call.body.resume)
    )


def _diff(context: ApiContext, call: ApiCall) -> Any:
    change = context.coordinator.code.diff(_meant(context, call), call.flag("stat"))
    return Response(change, media_type="application/octet-stream")


def _land(context: ApiContext, call: ApiCall) -> Any:
    body: LandBody = call.body
    run = _meant(context, call)
    if run.outcome not in (None, Outcome.DONE) and not body.anyway:
        without = "--no-gates " if run.outcome is Outcome.VERIFY_FAILED else ""  # they would fail again
        raise WorkspaceError(
            f"{run.id} did not end well: {run.outcome}",
            why=run.reason,
            fix=f"look: pancode runs diff {run.id}; then: pancode runs land --anyway {without}{run.id}",
            code="not_done",
        )
    try:
        return {"run": run.id, **context.coordinator.code.land(run, body.landing())}
    except WorkspaceError as error:
        not_landed(context.core, run, error, body.by)
        raise


def _call_off(context: ApiContext, call: ApiCall) -> Any:
    run = _meant(context, call)
    return {"run": run.id, "landings": context.coordinator.code.call_off(run)}


def _verify(context: ApiContext, call: ApiCall) -> Any:
    return verify(context.core, call.path["run"], context.coordinator.streams)


RUN_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/runs", _runs, query=("limit", *query_runs.FILTERS)),
    Verb("POST", "/v1/runs", _dispatch, DispatchBody, pokes=True, status=201, for_runs=True),
    Verb("GET", "/v1/snapshots", _snapshots),
    Verb("GET", "/v1/runs/{run}", _show),
    Verb("GET", "/v1/runs/{run}/brief", _brief),
    Verb("GET", "/v1/runs/{run}/why", _why),
    Verb("GET", "/v1/runs/{run}/events", _events),
    Verb("GET", "/v1/runs/{run}/log", _log, query=("offset", "stream", "attempt", "follow")),
    Verb("GET", "/v1/runs/{run}/streams", _streams),
    Verb("POST", "/v1/runs/{run}/stop", _stop, ReasonBody, pokes=True),
    Verb("POST", "/v1/runs/{run}/retry", _retry, RetryBody, pokes=True, status=201),
    Verb("GET", "/v1/runs/{run}/diff", _diff, query=("stat",)),
    Verb("POST", "/v1/runs/{run}/land", _land, LandBody),
    Verb("POST", "/v1/runs/{run}/land/cancel", _call_off, ReasonBody),
    Verb("GET", "/v1/runs/{run}/verify", _verify),
)
