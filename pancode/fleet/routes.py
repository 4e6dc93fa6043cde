"""Routes of nodes: status, bring-up with progress events, drain, trust, removal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from pancode.agents.tiers import check_login
from pancode.config.fleet_settings import drain_fleet, pause_queue
from pancode.fleet import answers
from pancode.fleet.acts import Caller, NodeChange, NodeSpec, Progress
from pancode.fleet.fleet import check_sandboxes, get_fleet, get_node, list_disk_use, must_exist
from pancode.fleet.inventory import adjust, busy_runs, note_act
from pancode.interfaces.http import bodies
from pancode.interfaces.http.access.rights import CHANGES, OPERATES, REMOVES, SETS_UP
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, EventStream, Object, TcpAccess, Verb
from pancode.interfaces.http.streams import make_event_stream, stream_steps
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.formatting import count_noun
from pancode.runs.answers import HandoverShape
from pancode.runs.nodes.quota import release_node
from pancode.runs.placement.prefetch_service import hand_over
from pancode.runs.retention.parts import RunFiles
from pancode.runs.retention.service import carry_out, plan_retention


@Verb(answers.FLEET, command="node ls")
def _status(context: ApiContext, call: ApiCall) -> answers.FleetShape:
    """Return the coordinator and its nodes."""
    return get_fleet(context.core, context.running())


@Verb("POST /v1/fleet/up", bodies.UpBody, "fleet up", right=OPERATES, when_held=True)
def _bring_up(context: ApiContext, call: ApiCall[bodies.UpBody]) -> EventStream:
    """Bring nodes up."""
    body = call.body
    must_exist(context.core, body.nodes)
    held = context.coordinator.held
    if held is not None:
        if held.mode.value not in body.take_up:
            raise held.refuse().because(*context.coordinator.fleet.list_contacts())
        context.coordinator.lead(body.by)

    def work(progress: Progress) -> Any:
        results = context.coordinator.fleet.up(body.nodes, _make_caller(body), progress)
        context.poke()
        return {"results": [asdict(r) for r in results], **_status(context, call)}

    return make_event_stream(stream_steps(work))


@Verb("POST /v1/fleet/down", bodies.NodesBody, "fleet down", right=OPERATES, when_held=True)
def _take_down(context: ApiContext, call: ApiCall[bodies.NodesBody]) -> EventStream:
    """Stop node agents."""
    body = call.body
    must_exist(context.core, body.nodes)
    if (held := context.coordinator.held) is not None:
        if body.nodes:
            raise held.refuse()
        return make_event_stream(stream_steps(lambda progress: {"results": []}))  # its nodes are not its own
    if not body.now:
        busy = busy_runs(context.core, body.nodes)
        if busy:
            listed = ", ".join(busy[:8])
            raise RefusedError(
                f"{count_noun(len(busy), 'run')} in flight",
                why=(
                    f"{listed}: they continue without the coordinator, and send their results when the "
                    "fleet is up again"
                ),
                fix="pancode fleet down --now, or wait until they end, or pancode runs stop RUN",
                code="runs_in_flight",
            )

    def work(progress: Progress) -> Any:
        results = context.coordinator.fleet.down(body.nodes, _make_caller(body), progress)
        return {"results": [asdict(r) for r in results]}

    return make_event_stream(stream_steps(work))


@Verb(answers.DRAIN, bodies.DrainBody, "fleet drain", pokes=True, right=OPERATES)
def _drain(context: ApiContext, call: ApiCall[bodies.DrainBody]) -> answers.DrainAnswer:
    """Start nothing new on these nodes or queues."""
    body = call.body
    must_exist(context.core, body.nodes)
    reason = body.reason or f"drained by {body.by}"
    return {"nodes": drain_fleet(context.core, body.nodes, reason, body.by), "draining": reason}


@Verb(answers.HANDOVER, bodies.ActBody, "admin handover", pokes=True, right=OPERATES)
def _hand_over(context: ApiContext, call: ApiCall) -> HandoverShape:
    """Hand over all runs that may wait on nodes; return which runs stay on the coordinator, and why."""
    return hand_over(context.core)


@Verb(answers.RESUME, bodies.DrainBody, "fleet resume", pokes=True, right=OPERATES)
def _resume(context: ApiContext, call: ApiCall[bodies.DrainBody]) -> answers.DrainAnswer:
    """Start work on these nodes or queues again."""
    body = call.body
    must_exist(context.core, body.nodes)
    if not body.nodes:
        pause_queue(context.core, None, None, body.by)
    nodes = drain_fleet(context.core, body.nodes, None, body.by)
    freed = [name for name in body.nodes if release_node(context.core, name, body.by)]
    context.coordinator.fleet.let_in(freed)
    return {"nodes": nodes, "draining": None, "let_in": freed}


@Verb(answers.DOCTOR, bodies.NodesBody, "doctor", right=OPERATES)
def _check_nodes(context: ApiContext, call: ApiCall[bodies.NodesBody]) -> answers.ChecksAnswer:
    """Contact and check nodes."""
    body = call.body
    must_exist(context.core, body.nodes)
    checks = context.coordinator.fleet.doctor(body.nodes, _make_caller(body))
    return {"checks": [*check_sandboxes(context.core, body.nodes), *checks]}


@Verb(answers.COLLECT, bodies.CollectBody, "admin gc", right=REMOVES)
def _collect(context: ApiContext, call: ApiCall[bodies.CollectBody]) -> answers.CollectAnswer:
    """Delete the commits and logs of old runs."""
    core, files = context.core, context.coordinator.kept_files
    plan, before = plan_retention(core, files), files.sizes()
    if not call.body.dry_run:
        carry_out(core, files, plan, call.body.by)
    after = before if call.body.dry_run else files.sizes()
    here: list[answers.RoomRow] = [
        {"node": None, "what": what, "bytes": size} for what, size in after.items()
    ]
    return {
        "changes": plan.count(RunFiles.CHANGES),
        "logs": plan.count(RunFiles.LOGS),
        "young": plan.young,
        "kept": [{"runs": runs, "why": need.value} for need, runs in plan.kept.items()],
        "freed": max(0, sum(before.values()) - sum(after.values())),
        "room": [*here, *list_disk_use(core)],
    }


@Verb(answers.NODE, command="node show")
def _node(context: ApiContext, call: ApiCall) -> answers.NodeDetail:
    """Return one node, with what it has reported."""
    return get_node(context.core, call.path["node"])


@Verb(answers.PROBE, bodies.SpecBody, right=SETS_UP)
def _probe(context: ApiContext, call: ApiCall[bodies.SpecBody]) -> answers.ProbeAnswer:
    """Examine a node before it is added."""
    body = call.body
    return cast("answers.ProbeAnswer", context.coordinator.fleet.probe(_make_spec(body), _make_caller(body)))


@Verb(answers.ADD, bodies.SpecBody, "node add", status=201, right=SETS_UP)
def _add(context: ApiContext, call: ApiCall[bodies.SpecBody]) -> answers.NodeDetail:
    """Add a node to the inventory."""
    added = context.coordinator.fleet.add(_make_spec(call.body), _make_caller(call.body))
    return get_node(context.core, added.name)


@Verb(answers.SET, bodies.SetBody, "node set", pokes=True, right=CHANGES)
def _set(context: ApiContext, call: ApiCall[bodies.SetBody]) -> answers.NodeDetail:
    """Change slots, labels, and which runs get the node's GPUs."""
    body = call.body
    name = call.path["node"]
    must_exist(context.core, (name,))
    if body.slots is None and body.gpus is None and not body.labels and not body.unlabel:
        raise UsageError("no change was given", fix="give --slots, --gpus, --label or --unlabel")
    wanted = NodeChange(body.slots, body.least, body.gpus, body.labels, body.unlabel)
    adjust(context.core, name, wanted, body.by)
    return get_node(context.core, name)


@Verb(answers.LOGIN, bodies.LoginBody, "node login", right=SETS_UP)
def _login(context: ApiContext, call: ApiCall[bodies.LoginBody]) -> answers.LoginAnswer:
    """Record that a user opens a login on the node."""
    body = call.body
    found = get_node(context.core, call.path["node"])
    if body.outcome is None:
        check_login(found, body.runtime)
    what = "login opened" if body.outcome is None else "login ended"
    note_act(context.core, found["name"], what, body.by, body.outcome, runtime=body.runtime)
    return {"node": found["name"], "runtime": body.runtime, "target": found["target"]}


@Verb(answers.PROGRAMS, bodies.ProgramsBody, "node install", right=SETS_UP)
def _note_programs(context: ApiContext, call: ApiCall[bodies.ProgramsBody]) -> answers.ProgramsAnswer:
    """Record that a user installs programs on the node."""
    body = call.body
    found = get_node(context.core, call.path["node"])
    what = f"programs: {body.act} {'begun' if body.outcome is None else 'ended'}"
    note_act(context.core, found["name"], what, body.by, body.outcome, runtimes=list(body.runtimes))
    return {"node": found["name"], "runtimes": list(body.runtimes), "target": found["target"]}


@Verb("POST /v1/nodes/{node}/remove", bodies.CallerBody, "node rm", right=REMOVES)
def _remove(context: ApiContext, call: ApiCall[bodies.CallerBody]) -> EventStream:
    """Remove a node."""
    name = call.path["node"]
    must_exist(context.core, (name,))

    def work(progress: Progress) -> Any:
        return asdict(context.coordinator.fleet.remove(name, _make_caller(call.body), progress))

    return make_event_stream(stream_steps(work))


@Verb("POST /v1/nodes/{node}/steps", bodies.HandedBody, "admin steps", right=SETS_UP)
def _make_steps(context: ApiContext, call: ApiCall[bodies.HandedBody]) -> Object:
    """Return the steps of a bring-up as data, for other tools."""
    body = call.body
    return context.coordinator.fleet.handed(call.path["node"], body.probe, body.key, body.remove)


@Verb(answers.CLEANED, bodies.CallerBody, right=REMOVES)
def _note_cleaned(context: ApiContext, call: ApiCall) -> answers.CleanedAnswer:
    """Record that another tool has cleaned the node."""
    return {"forgotten": context.coordinator.fleet.cleaned(call.path["node"])}


@Verb(answers.TRUST, bodies.TrustBody, "node trust", right=REMOVES)
def _trust(context: ApiContext, call: ApiCall[bodies.TrustBody]) -> answers.NodeResultShape:
    """Trust a new host key."""
    body = call.body
    name = call.path["node"]
    must_exist(context.core, (name,))
    trusted = context.coordinator.fleet.trust(name, body.fingerprint, _make_caller(body))
    return cast("answers.NodeResultShape", asdict(trusted))


@Verb(answers.SHUTDOWN, bodies.ShutdownBody, "fleet down", right=SETS_UP, when_held=True)
def _stop_coordinator(context: ApiContext, call: ApiCall[bodies.ShutdownBody]) -> answers.StoppingAnswer:
    """Stop the coordinator."""
    body = call.body
    context.shutdown(body.by)
    return {"stopping": True, "pid": context.facts.get("pid")}


def _make_caller(body: bodies.CallerBody) -> Caller:
    return Caller(body.by, dict(body.environ))


def _make_spec(body: bodies.SpecBody) -> NodeSpec:
    return NodeSpec(**body.model_dump(exclude={"by", "environ"}))


@Verb(answers.PING, over_tcp=TcpAccess.OPEN)
def _get_identity(context: ApiContext, call: ApiCall) -> answers.PingAnswer:
    """Identify this coordinator.

    Callers without a token learn only that it runs, and its version.
    """
    if call.visitor is not None and call.visitor.token is None:
        return {"version": context.facts["version"]}
    return {**context.process()}
