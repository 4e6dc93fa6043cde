"""Routes of machines: status, bring-up with its steps as they happen, drain, trust, removal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pancode.access.rights import OPERATES, REMOVES, SETS_UP
from pancode.agents.tiers import check_login
from pancode.api.context import ApiContext
from pancode.api.document.answers import (
    ChecksAnswer,
    CleanedAnswer,
    CollectAnswer,
    DrainAnswer,
    EventStream,
    FleetShape,
    LoginAnswer,
    NodeResultShape,
    NodeShape,
    Object,
    ProbeAnswer,
    ProgramsAnswer,
    RoomRow,
    StoppingAnswer,
)
from pancode.api.request.bodies import (
    CallerBody,
    CollectBody,
    DrainBody,
    HandedBody,
    LoginBody,
    NodesBody,
    ProgramsBody,
    SetBody,
    ShutdownBody,
    SpecBody,
    TrustBody,
    UpBody,
)
from pancode.api.routing import ApiCall, Verb
from pancode.api.streaming import sse, steps
from pancode.code.retention import carry_out, planned
from pancode.errors import RefusedError, UsageError
from pancode.fleet.acts import Caller, NodeChange, NodeSpec, Progress
from pancode.fleet.fleet import fleet, must_exist, node, rooms, walls
from pancode.fleet.inventory import adjust, busy_runs, note_login, note_programs
from pancode.fleet.quota import release
from pancode.life.retention import RunFiles
from pancode.plain import counted
from pancode.runs.fleet_settings import drain_fleet, pause_queue


def _status(context: ApiContext, call: ApiCall) -> Any:
    known = {
        "after_reboot": context.coordinator.after_reboot(),
        "trouble": context.trouble.shape(),
        "closed": [*context.coordinator.closed(), *context.closed],
    }
    return fleet(context.core, {**context.facts, **known})


def _node(context: ApiContext, call: ApiCall) -> Any:
    return node(context.core, call.path["node"])


def _up(context: ApiContext, call: ApiCall) -> Any:
    body: UpBody = call.body
    must_exist(context.core, body.nodes)

    def work(progress: Progress) -> Any:
        results = context.coordinator.fleet.up(body.nodes, _caller(body), progress, body.link)
        context.poke()
        return {"results": [asdict(r) for r in results], **_status(context, call)}

    return sse(steps(context, work))


def _down(context: ApiContext, call: ApiCall) -> Any:
    body: NodesBody = call.body
    must_exist(context.core, body.nodes)
    if not body.now:
        _refuse_while_running(context, body.nodes)

    def work(progress: Progress) -> Any:
        results = context.coordinator.fleet.down(body.nodes, _caller(body), progress)
        return {"results": [asdict(r) for r in results]}

    return sse(steps(context, work))


def _refuse_while_running(context: ApiContext, names: tuple[str, ...]) -> None:
    busy = busy_runs(context.core, names)
    if busy:
        listed = ", ".join(busy[:8])
        raise RefusedError(
            f"{counted(len(busy), 'run')} in flight",
            why=f"{listed}: they go on without us, and deliver when the fleet is up again",
            fix="pancode fleet down --now, or wait for them, or pancode runs stop RUN",
            code="runs_in_flight",
        )


def _drain(context: ApiContext, call: ApiCall) -> Any:
    body: DrainBody = call.body
    must_exist(context.core, body.nodes)
    reason = body.reason or f"drained by {body.by}"
    return {"nodes": drain_fleet(context.core, body.nodes, reason, body.by), "draining": reason}


def _resume(context: ApiContext, call: ApiCall) -> Any:
    body: DrainBody = call.body
    must_exist(context.core, body.nodes)
    if not body.nodes:
        pause_queue(context.core, None, None, body.by)
    nodes = drain_fleet(context.core, body.nodes, None, body.by)
    freed = [name for name in body.nodes if release(context.core, name, body.by)]
    context.coordinator.fleet.let_in(freed)
    return {"nodes": nodes, "draining": None, "let_in": freed}


def _doctor(context: ApiContext, call: ApiCall) -> Any:
    body: NodesBody = call.body
    must_exist(context.core, body.nodes)
    checks = context.coordinator.fleet.doctor(body.nodes, _caller(body))
    return {"checks": [*walls(context.core, body.nodes), *checks]}


def _collect(context: ApiContext, call: ApiCall) -> Any:
    core, files = context.core, context.coordinator.kept_files
    plan, before = planned(core, files), files.sizes()
    if not call.body.dry_run:
        carry_out(core, files, plan, call.body.by)
    after = before if call.body.dry_run else files.sizes()
    here: list[RoomRow] = [{"node": None, "what": what, "bytes": size} for what, size in after.items()]
    return {
        "changes": plan.count(RunFiles.CHANGES),
        "logs": plan.count(RunFiles.LOGS),
        "young": plan.young,
        "kept": [{"runs": runs, "why": need.value} for need, runs in plan.kept.items()],
        "freed": max(0, sum(before.values()) - sum(after.values())),
        "room": here + rooms(core),
    }


def _probe(context: ApiContext, call: ApiCall) -> Any:
    body: SpecBody = call.body
    return context.coordinator.fleet.probe(_spec(body), _caller(body))


def _add(context: ApiContext, call: ApiCall) -> Any:
    body: SpecBody = call.body
    added = context.coordinator.fleet.add(_spec(body), _caller(body))
    return node(context.core, added.name)


def _set(context: ApiContext, call: ApiCall) -> Any:
    body: SetBody = call.body
    name = call.path["node"]
    must_exist(context.core, (name,))
    if body.slots is None and not body.labels and not body.unlabel:
        raise UsageError("nothing is to be changed", fix="give --slots, --label or --unlabel")
    adjust(context.core, name, NodeChange(body.slots, body.least, body.labels, body.unlabel), body.by)
    return node(context.core, name)


def _login(context: ApiContext, call: ApiCall) -> Any:
    body: LoginBody = call.body
    found = node(context.core, call.path["node"])
    if body.outcome is None:
        check_login(found, body.runtime)
    note_login(context.core, found["name"], body.runtime, body.by, body.outcome)
    return {"node": found["name"], "runtime": body.runtime, "target": found["target"]}


def _programs(context: ApiContext, call: ApiCall) -> Any:
    body: ProgramsBody = call.body
    found = node(context.core, call.path["node"])
    note_programs(context.core, found["name"], body.act, body.runtimes, body.by, body.outcome)
    return {"node": found["name"], "runtimes": list(body.runtimes), "target": found["target"]}


def _remove(context: ApiContext, call: ApiCall) -> Any:
    body: CallerBody = call.body
    name = call.path["node"]
    must_exist(context.core, (name,))

    def work(progress: Progress) -> Any:
        return asdict(context.coordinator.fleet.remove(name, _caller(body), progress))

    return sse(steps(context, work))


def _handed(context: ApiContext, call: ApiCall) -> Any:
    body: HandedBody = call.body
    return context.coordinator.fleet.handed(call.path["node"], body.probe, body.key, body.remove)


def _cleaned(context: ApiContext, call: ApiCall) -> Any:
    return {"forgotten": context.coordinator.fleet.cleaned(call.path["node"])}


def _trust(context: ApiContext, call: ApiCall) -> Any:
    body: TrustBody = call.body
    name = call.path["node"]
    must_exist(context.core, (name,))
    return asdict(context.coordinator.fleet.trust(name, body.fingerprint, _caller(body)))


def _shutdown(context: ApiContext, call: ApiCall) -> Any:
    body: ShutdownBody = call.body
    context.shutdown(body.by)
    return {"stopping": True, "pid": context.facts.get("pid")}


def _caller(body: CallerBody) -> Caller:
    return Caller(body.by, dict(body.environ))


def _spec(body: SpecBody) -> NodeSpec:
    return NodeSpec(**body.model_dump(exclude={"by", "environ"}))


FLEET_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/fleet", _status, answers=FleetShape),
    Verb("POST", "/v1/fleet/up", _up, UpBody, right=OPERATES, answers=EventStream),
    Verb("POST", "/v1/fleet/down", _down, NodesBody, right=OPERATES, answers=EventStream),
    Verb("POST", "/v1/fleet/drain", _drain, DrainBody, pokes=True, right=OPERATES, answers=DrainAnswer),
    Verb("POST", "/v1/fleet/resume", _resume, DrainBody, pokes=True, right=OPERATES, answers=DrainAnswer),
    Verb("POST", "/v1/gc", _collect, CollectBody, right=REMOVES, answers=CollectAnswer),
    Verb("POST", "/v1/fleet/doctor", _doctor, NodesBody, right=OPERATES, answers=ChecksAnswer),
    Verb("GET", "/v1/nodes/{node}", _node, answers=NodeShape),
    Verb("POST", "/v1/nodes/probe", _probe, SpecBody, right=SETS_UP, answers=ProbeAnswer),
    Verb("POST", "/v1/nodes", _add, SpecBody, status=201, right=SETS_UP, answers=NodeShape),
    Verb("POST", "/v1/nodes/{node}/set", _set, SetBody, pokes=True, right=OPERATES, answers=NodeShape),
    Verb("POST", "/v1/nodes/{node}/login", _login, LoginBody, right=SETS_UP, answers=LoginAnswer),
    Verb("POST", "/v1/nodes/{node}/programs", _programs, ProgramsBody, right=SETS_UP, answers=ProgramsAnswer),
    Verb("POST", "/v1/nodes/{node}/remove", _remove, CallerBody, right=REMOVES, answers=EventStream),
    Verb("POST", "/v1/nodes/{node}/steps", _handed, HandedBody, right=SETS_UP, answers=Object),
    Verb("POST", "/v1/nodes/{node}/cleaned", _cleaned, CallerBody, right=REMOVES, answers=CleanedAnswer),
    Verb("POST", "/v1/nodes/{node}/trust", _trust, TrustBody, right=REMOVES, answers=NodeResultShape),
    Verb("POST", "/v1/shutdown", _shutdown, ShutdownBody, right=SETS_UP, answers=StoppingAnswer),
)
