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
    DrainAnswer,
    EventStream,
    FleetShape,
    LoginAnswer,
    NodeResultShape,
    NodeShape,
    Object,
    ProbeAnswer,
    StoppingAnswer,
)
from pancode.api.request.bodies import (
    CallerBody,
    DrainBody,
    HandedBody,
    LoginBody,
    NodesBody,
    SetBody,
    ShutdownBody,
    SpecBody,
    TrustBody,
    UpBody,
)
from pancode.api.routing import ApiCall, Verb
from pancode.api.streaming import sse, steps
from pancode.control.faces import Caller, NodeChange, NodeSpec, Progress
from pancode.counted import counted
from pancode.errors import RefusedError, UsageError


def _status(context: ApiContext, call: ApiCall) -> Any:
    known = {
        "after_reboot": context.coordinator.after_reboot(),
        "trouble": context.trouble.shape(),
        "closed": [*context.coordinator.closed(), *context.closed],
    }
    return context.plane.nodes.fleet({**context.facts, **known})


def _node(context: ApiContext, call: ApiCall) -> Any:
    return context.plane.nodes.show(call.path["node"])


def _up(context: ApiContext, call: ApiCall) -> Any:
    body: UpBody = call.body
    context.plane.nodes.must_exist(body.nodes)

    def work(progress: Progress) -> Any:
        results = context.coordinator.fleet.up(body.nodes, _caller(body), progress, body.link)
        context.poke()
        return {"results": [asdict(r) for r in results], **_status(context, call)}

    return sse(steps(context, work))


def _down(context: ApiContext, call: ApiCall) -> Any:
    body: NodesBody = call.body
    context.plane.nodes.must_exist(body.nodes)
    if not body.now:
        _refuse_while_running(context, body.nodes)

    def work(progress: Progress) -> Any:
        results = context.coordinator.fleet.down(body.nodes, _caller(body), progress)
        return {"results": [asdict(r) for r in results]}

    return sse(steps(context, work))


def _refuse_while_running(context: ApiContext, names: tuple[str, ...]) -> None:
    busy = context.plane.nodes.busy_runs(names)
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
    context.plane.nodes.must_exist(body.nodes)
    reason = body.reason or f"drained by {body.by}"
    return _set_drain(context, body, reason)


def _resume(context: ApiContext, call: ApiCall) -> Any:
    body: DrainBody = call.body
    context.plane.nodes.must_exist(body.nodes)
    if not body.nodes:
        context.plane.queues.pause(None, None, body.by)
    answer = _set_drain(context, body, None)
    freed = [name for name in body.nodes if context.plane.nodes.release(name, body.by)]
    context.coordinator.fleet.let_in(freed)
    return {**answer, "let_in": freed}


def _set_drain(context: ApiContext, body: DrainBody, reason: str | None) -> Any:
    """No names: the fleet itself takes no new work, and every node of it."""
    plane = context.plane
    if not body.nodes:
        plane.nodes.drain_fleet(reason, body.by)
    for name in body.nodes or context.plane.nodes.names():
        plane.nodes.drain(name, reason, body.by)
    return {"nodes": list(body.nodes or context.plane.nodes.names()), "draining": reason}


def _doctor(context: ApiContext, call: ApiCall) -> Any:
    body: NodesBody = call.body
    context.plane.nodes.must_exist(body.nodes)
    checks = context.coordinator.fleet.doctor(body.nodes, _caller(body))
    return {"checks": [*context.plane.nodes.sandbox_checks(body.nodes), *checks]}


def _probe(context: ApiContext, call: ApiCall) -> Any:
    body: SpecBody = call.body
    probed = context.coordinator.fleet.probe(_spec(body), _caller(body))
    questions = [asdict(question) for question in probed.questions]
    return {"target": probed.target, "questions": questions, "warnings": list(probed.warnings)}


def _add(context: ApiContext, call: ApiCall) -> Any:
    body: SpecBody = call.body
    node = context.coordinator.fleet.add(_spec(body), _caller(body))
    return context.plane.nodes.show(node.name)


def _set(context: ApiContext, call: ApiCall) -> Any:
    body: SetBody = call.body
    name = call.path["node"]
    context.plane.nodes.must_exist((name,))
    if body.slots is None and not body.labels and not body.unlabel:
        raise UsageError("nothing is to be changed", fix="give --slots, --label or --unlabel")
    context.plane.nodes.adjust(name, NodeChange(body.slots, body.labels, body.unlabel), body.by)
    return context.plane.nodes.show(name)


def _login(context: ApiContext, call: ApiCall) -> Any:
    body: LoginBody = call.body
    node = context.plane.nodes.show(call.path["node"])
    if body.outcome is None:
        check_login(node, body.runtime)
    context.plane.nodes.note_login(node["name"], body.runtime, body.by, body.outcome)
    return {"node": node["name"], "runtime": body.runtime, "target": node["target"]}


def _remove(context: ApiContext, call: ApiCall) -> Any:
    body: CallerBody = call.body
    name = call.path["node"]
    context.plane.nodes.must_exist((name,))

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
    context.plane.nodes.must_exist((name,))
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
    Verb("POST", "/v1/fleet/doctor", _doctor, NodesBody, right=OPERATES, answers=ChecksAnswer),
    Verb("GET", "/v1/nodes/{node}", _node, answers=NodeShape),
    Verb("POST", "/v1/nodes/probe", _probe, SpecBody, right=SETS_UP, answers=ProbeAnswer),
    Verb("POST", "/v1/nodes", _add, SpecBody, status=201, right=SETS_UP, answers=NodeShape),
    Verb("POST", "/v1/nodes/{node}/set", _set, SetBody, pokes=True, right=OPERATES, answers=NodeShape),
    Verb("POST", "/v1/nodes/{node}/login", _login, LoginBody, right=SETS_UP, answers=LoginAnswer),
    Verb("POST", "/v1/nodes/{node}/remove", _remove, CallerBody, right=REMOVES, answers=EventStream),
    Verb("POST", "/v1/nodes/{node}/steps", _handed, HandedBody, right=SETS_UP, answers=Object),
    Verb("POST", "/v1/nodes/{node}/cleaned", _cleaned, CallerBody, right=REMOVES, answers=CleanedAnswer),
    Verb("POST", "/v1/nodes/{node}/trust", _trust, TrustBody, right=REMOVES, answers=NodeResultShape),
    Verb("POST", "/v1/shutdown", _shutdown, ShutdownBody, right=SETS_UP, answers=StoppingAnswer),
)
