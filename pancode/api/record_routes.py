"""Routes of queues, money, receipts, records, and the lists to choose from."""

from __future__ import annotations

from typing import Any, cast

from typing_extensions import TypedDict

from node_agent.wire.order import Reasoning
from node_agent.wire.policy import ALLOWED, MODE_DISPATCHES, MODE_WRITES, Mode, Safety
from pancode.access.rights import OPERATES, REMOVES, TESTS
from pancode.agents.runtimes import RUNTIMES, matrix
from pancode.api.context import ApiContext
from pancode.api.pages import PAGED, Cursors
from pancode.api.request.bodies import ExamBody, QueueBody, ReasonBody
from pancode.api.routing import ApiCall, AtDoor, EventStream, Object, Verb
from pancode.api.streaming import sse, steps
from pancode.control.paging import MOST_ROWS
from pancode.control.run import brief
from pancode.control.run_shapes import RunShape
from pancode.core.names import not_found
from pancode.fleet.acts import Progress
from pancode.fleet.exams import examine, where
from pancode.fleet.fleet import fleet
from pancode.fleet.models import ModelFilter, ModelShape, endpoints, models
from pancode.nodes.node import holds
from pancode.reports.story import AuditFilter, AuditRow, AuditVerdictShape, audit, verify_audit
from pancode.runs.fleet_settings import pause_queue
from pancode.runs.receipts import ReceiptRow, VerdictShape, chain, export, keys, receipt, receipts
from pancode.runs.runs import QueuesShape, queues
from pancode.runs.stop import stop_waiting
from pancode.sessions.rehearsals import summaries


class PausedAnswer(TypedDict):
    queue: str | None
    paused: str | None


class ReceiptsAnswer(TypedDict):
    receipts: list[ReceiptRow]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


class KeysAnswer(TypedDict):
    keys: list[Object]


class AuditAnswer(TypedDict):
    audit: list[AuditRow]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


class RuntimesAnswer(TypedDict):
    runtimes: list[Object]
    walls: list[Object]


class EndpointsAnswer(TypedDict):
    endpoints: list[Object]


class ModelsAnswer(TypedDict):
    models: list[ModelShape]


class ModeShape(TypedDict):
    name: str
    dispatches: bool
    writes: bool
    default: bool


class ModesAnswer(TypedDict):
    modes: list[ModeShape]


class LevelShape(TypedDict):
    name: str
    allows: list[str]
    default: bool


class HeldShape(TypedDict):
    """How a runtime keeps to a rule, with a sandbox and without."""

    runtime: str
    rule: str
    with_sandbox: str
    without: str


class SafetyAnswer(TypedDict):
    safety: list[LevelShape]
    matrix: list[HeldShape]


class PingAnswer(TypedDict):
    """More only to who may know it: pid, home, begin."""

    version: str


@Verb("POST /v1/models/test", ExamBody, "models test", right=TESTS)
def _test(context: ApiContext, call: ApiCall) -> EventStream:
    """Test a model on its machine."""
    body: ExamBody = call.body
    places = where(context.core, body.model, body.node)
    ends = context.closing.wait

    def work(progress: Progress) -> Any:
        tests = [examine(context.core, one, body.again, progress, context.poke, ends) for one in places]
        return {"tests": tests}

    return sse(steps(context, work))


@Verb("GET /v1/ping", at_door=AtDoor.OPEN)
def _ping(context: ApiContext, call: ApiCall) -> PingAnswer:
    """Which coordinator this is.

    To who has no token only that we are here, and of which version.
    """
    if call.visitor is not None and call.visitor.token is None:
        return {"version": context.facts["version"]}
    return cast("PingAnswer", context.facts)


# -- queues ----------------------------------------------------------------------------------------


@Verb("GET /v1/queues", command="queue ls", query=("name",))
def _queues(context: ApiContext, call: ApiCall) -> QueuesShape:
    """What waits where."""
    return queues(context.core, call.query.get("name"))


@Verb("POST /v1/queues/pause", QueueBody, "queue pause", pokes=True, right=OPERATES)
def _pause(context: ApiContext, call: ApiCall) -> PausedAnswer:
    """Pause the fleet or a queue."""
    body: QueueBody = call.body
    return _set_pause(context, body, body.reason or f"paused by {body.by}")


@Verb("POST /v1/queues/resume", QueueBody, "queue resume", pokes=True, right=OPERATES)
def _resume(context: ApiContext, call: ApiCall) -> PausedAnswer:
    """And go on."""
    return _set_pause(context, call.body, None)


def _set_pause(context: ApiContext, body: QueueBody, reason: str | None) -> PausedAnswer:
    """The whole fleet, one node's queue, or one pool."""
    pause_queue(context.core, body.queue, reason, body.by)
    return {"queue": body.queue, "paused": reason}


@Verb("POST /v1/queues/runs/{run}/remove", ReasonBody, "queue rm", pokes=True, right=OPERATES)
def _take_out(context: ApiContext, call: ApiCall) -> RunShape:
    """Take out what still waits.

    Only a run that still waits: one that a node has must be stopped there, by another verb.
    """
    body: ReasonBody = call.body
    reason = body.reason or f"taken out of the queue by {body.by}"
    return brief(context.core, stop_waiting(context.core, call.path["run"], reason).id)


# -- receipts and records --------------------------------------------------------------------------


@Verb("GET /v1/receipts", command="receipt ls", query=PAGED)
def _receipts(context: ApiContext, call: ApiCall) -> ReceiptsAnswer:
    """Receipts of the newest runs."""
    cursors, limit = Cursors(call.query, "receipts"), call.number("limit", 20, MOST_ROWS)
    page = receipts(context.core, limit, cursors.after())
    return {"receipts": page.rows, "next": cursors.next(page.last)}


@Verb("GET /v1/receipts/{run}", command="receipt show")
def _receipt(context: ApiContext, call: ApiCall) -> ReceiptRow:
    """What a receipt says."""
    return cast("ReceiptRow", receipt(context.core, call.path["run"]))


@Verb("GET /v1/chains/{node}", command="receipt verify")
def _chain(context: ApiContext, call: ApiCall) -> VerdictShape:
    """Judge the chain of its receipts."""
    return chain(context.core, call.path["node"])


@Verb("GET /v1/keys", command="key ls")
def _keys(context: ApiContext, call: ApiCall) -> KeysAnswer:
    """Every key with its dates."""
    return {"keys": keys(context.core)}


@Verb("POST /v1/keys/rotate", ReasonBody, "key rotate", pokes=True, right=REMOVES)
def _rotate(context: ApiContext, call: ApiCall) -> KeysAnswer:
    """A new key for the coordinator."""
    context.coordinator.rotate_key(call.body.by)
    return _keys(context, call)


@Verb("GET /v1/export", command="receipt export", query=("run",))
def _export(context: ApiContext, call: ApiCall) -> Object:
    """A receipt with keys, or the keys."""
    return export(context.core, call.query.get("run"))


_AUDIT = ("about", "domain", "level", "run", "by", *PAGED)


@Verb("GET /v1/audit", command="audit", query=_AUDIT)
def _audit(context: ApiContext, call: ApiCall) -> AuditAnswer:
    """What happened in the fleet."""
    limit = call.number("limit", 50, MOST_ROWS)
    wanted = AuditFilter(*(call.query.get(name) for name in ("about", "domain", "level", "run", "by")))
    cursors = Cursors(call.query, "audit", int)
    page = audit(context.core, wanted, limit, cursors.after())
    return {"audit": page.rows, "next": cursors.next(page.last)}


@Verb("GET /v1/audit/verify", command="audit")
def _verify_audit(context: ApiContext, call: ApiCall) -> AuditVerdictShape:
    """Check the audit's chain."""
    return verify_audit(context.core)


# -- what there is to choose from ------------------------------------------------------------------


@Verb("GET /v1/runtimes", command="runtimes", query=("cwd", "name"))
def _runtimes(context: ApiContext, call: ApiCall) -> RuntimesAnswer:
    """Programs, and where they are.

    The facts that PanCode knows, and the source of each.
    """
    heard = fleet(context.core, {})["nodes"]
    found: dict[str, list[dict[str, Any]]] = {n: [] for n in RUNTIMES}
    for node in heard:
        for fact in node["runtimes"]:
            found.setdefault(fact["name"], []).append({"node": node["name"], **fact})
    name = call.query.get("name")
    if name is not None and name not in found:
        raise not_found("runtime", name, found, "pancode runtimes")
    walls = [{"node": n["name"], "isolation": n["isolation"], "holds": holds(n["isolation"])} for n in heard]
    return {"runtimes": [_runtime(n, f) for n, f in found.items() if name in (None, n)], "walls": walls}


def _runtime(name: str, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """A node may tell of one that this coordinator does not know."""
    kind = RUNTIMES.get(name)
    levels = [level.value for level in Reasoning if kind is not None and level in kind.reasons]
    turns = kind is not None and kind.takes_turns
    return {"name": name, "nodes": nodes, "reasoning": levels, "takes_turns": turns}


@Verb("GET /v1/endpoints", command="endpoints", query=("node",))
def _endpoints(context: ApiContext, call: ApiCall) -> EndpointsAnswer:
    """Model servers of the nodes.

    Every model server of every node that is heard, or of one.
    """
    return {"endpoints": endpoints(context.core, call.query.get("node"))}


@Verb("GET /v1/models", command="models", query=("cwd", "node", "tier"))
def _models(context: ApiContext, call: ApiCall) -> ModelsAnswer:
    """Their models.

    Every model of theirs, with its tier.
    """
    tiers = context.coordinator.around({}).tiers(context.project_of(call.query.get("cwd")))
    found = models(context.core, ModelFilter(call.query.get("node"), call.query.get("tier")), tiers)
    known = summaries(context.core)
    for row in found["models"]:
        names = (row["ref"], f"{row['endpoint']}/{row['id']}", row["id"])
        row["decomposes"] = next((known[name] for name in names if name in known), None)
    return cast("ModelsAnswer", found)


@Verb("GET /v1/modes", command="modes", query=("cwd",))
def _modes(context: ApiContext, call: ApiCall) -> ModesAnswer:
    """What each mode lets a dispatch do."""
    default = context.coordinator.around({}).defaults(context.project_of(call.query.get("cwd"))).mode
    modes: list[ModeShape] = [
        {
            "name": m.value,
            "dispatches": m in MODE_DISPATCHES,
            "writes": m in MODE_WRITES,
            "default": m is default,
        }
        for m in Mode
    ]
    return {"modes": modes}


@Verb("GET /v1/safety", command="safety ls", query=("cwd",))
def _safety(context: ApiContext, call: ApiCall) -> SafetyAnswer:
    """The levels, and who holds them."""
    default = context.coordinator.around({}).defaults(context.project_of(call.query.get("cwd"))).safety
    levels: list[LevelShape] = [
        {"name": s.value, "allows": sorted(a.value for a in ALLOWED[s]), "default": s == default}
        for s in Safety
    ]
    rows: list[HeldShape] = [
        {"runtime": runtime, "rule": rule, "with_sandbox": walled.value, "without": bare.value}
        for runtime, rule, walled, bare in matrix()
    ]
    return {"safety": levels, "matrix": rows}
