"""Routes of queues, money, receipts, records, and the lists to choose from."""

from __future__ import annotations

from typing import Any

from node_agent.wire.order import Reasoning
from node_agent.wire.policy import ALLOWED, MODE_DISPATCHES, MODE_WRITES, Mode, Safety
from pancode.access.rights import OPERATES, REMOVES
from pancode.account.audit_filter import AuditFilter
from pancode.agents.runtimes import RUNTIMES, matrix
from pancode.api.context import ApiContext
from pancode.api.document.answers import (
    AuditAnswer,
    AuditVerdictShape,
    EndpointsAnswer,
    KeysAnswer,
    ModelsAnswer,
    ModesAnswer,
    Object,
    PausedAnswer,
    PingAnswer,
    QueuesShape,
    ReceiptRow,
    ReceiptsAnswer,
    RunShape,
    RuntimesAnswer,
    SafetyAnswer,
    VerdictShape,
)
from pancode.api.pages import PAGED, Cursors
from pancode.api.request.bodies import QueueBody, ReasonBody
from pancode.api.routing import ApiCall, AtDoor, Verb
from pancode.control.paging import MOST_ROWS
from pancode.control.run import brief
from pancode.core.names import not_found
from pancode.fleet.fleet import fleet
from pancode.fleet.models import ModelFilter, endpoints, models
from pancode.nodes.node import holds
from pancode.reports.story import audit, verify_audit
from pancode.runs.fleet_settings import pause_queue
from pancode.runs.receipts import chain, export, keys, receipt, receipts
from pancode.runs.runs import queues
from pancode.runs.stop import stop_waiting
from pancode.sessions.rehearsals import summaries


def _ping(context: ApiContext, call: ApiCall) -> Any:
    """To who has no token only that we are here, and of which version."""
    if call.visitor is not None and call.visitor.token is None:
        return {"version": context.facts["version"]}
    return context.facts


# -- queues ----------------------------------------------------------------------------------------


def _queues(context: ApiContext, call: ApiCall) -> Any:
    return queues(context.core, call.query.get("name"))


def _pause(context: ApiContext, call: ApiCall) -> Any:
    body: QueueBody = call.body
    return _set_pause(context, body, body.reason or f"paused by {body.by}")


def _resume(context: ApiContext, call: ApiCall) -> Any:
    return _set_pause(context, call.body, None)


def _set_pause(context: ApiContext, body: QueueBody, reason: str | None) -> Any:
    """The whole fleet, one node's queue, or one pool."""
    pause_queue(context.core, body.queue, reason, body.by)
    return {"queue": body.queue, "paused": reason}


def _take_out(context: ApiContext, call: ApiCall) -> Any:
    """Only a run that still waits: one that a node has must be stopped there, by another verb."""
    body: ReasonBody = call.body
    reason = body.reason or f"taken out of the queue by {body.by}"
    return brief(context.core, stop_waiting(context.core, call.path["run"], reason).id)


# -- receipts and records --------------------------------------------------------------------------


def _receipts(context: ApiContext, call: ApiCall) -> Any:
    cursors, limit = Cursors(call.query, "receipts"), call.number("limit", 20, MOST_ROWS)
    page = receipts(context.core, limit, cursors.after())
    return {"receipts": page.rows, "next": cursors.next(page.last)}


def _receipt(context: ApiContext, call: ApiCall) -> Any:
    return receipt(context.core, call.path["run"])


def _export(context: ApiContext, call: ApiCall) -> Any:
    return export(context.core, call.query.get("run"))


def _keys(context: ApiContext, call: ApiCall) -> Any:
    return {"keys": keys(context.core)}


def _rotate(context: ApiContext, call: ApiCall) -> Any:
    context.coordinator.rotate_key(call.body.by)
    return _keys(context, call)


def _chain(context: ApiContext, call: ApiCall) -> Any:
    return chain(context.core, call.path["node"])


def _audit(context: ApiContext, call: ApiCall) -> Any:
    limit = call.number("limit", 50, MOST_ROWS)
    wanted = AuditFilter(*(call.query.get(name) for name in ("about", "domain", "level", "run", "by")))
    cursors = Cursors(call.query, "audit", int)
    page = audit(context.core, wanted, limit, cursors.after())
    return {"audit": page.rows, "next": cursors.next(page.last)}


def _verify_audit(context: ApiContext, call: ApiCall) -> Any:
    return verify_audit(context.core)


# -- what there is to choose from ------------------------------------------------------------------


def _runtimes(context: ApiContext, call: ApiCall) -> Any:
    """The facts that PanCode knows, and the source of each."""
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


def _endpoints(context: ApiContext, call: ApiCall) -> Any:
    """Every model server of every node that is heard, or of one."""
    return {"endpoints": endpoints(context.core, call.query.get("node"))}


def _models(context: ApiContext, call: ApiCall) -> Any:
    """Every model of theirs, with its tier."""
    tiers = context.coordinator.around({}).tiers(context.project_of(call.query.get("cwd")))
    found = models(context.core, ModelFilter(call.query.get("node"), call.query.get("tier")), tiers)
    known = summaries(context.core)
    for row in found["models"]:
        names = (row["ref"], f"{row['endpoint']}/{row['id']}", row["id"])
        row["decomposes"] = next((known[name] for name in names if name in known), None)
    return found


def _modes(context: ApiContext, call: ApiCall) -> Any:
    default = context.coordinator.around({}).defaults(context.project_of(call.query.get("cwd"))).mode
    modes = [
        {
            "name": m.value,
            "dispatches": m in MODE_DISPATCHES,
            "writes": m in MODE_WRITES,
            "default": m is default,
        }
        for m in Mode
    ]
    return {"modes": modes}


def _safety(context: ApiContext, call: ApiCall) -> Any:
    default = context.coordinator.around({}).defaults(context.project_of(call.query.get("cwd"))).safety
    levels = [
        {"name": s.value, "allows": sorted(a.value for a in ALLOWED[s]), "default": s == default}
        for s in Safety
    ]
    rows = [
        {"runtime": runtime, "rule": rule, "with_sandbox": walled.value, "without": bare.value}
        for runtime, rule, walled, bare in matrix()
    ]
    return {"safety": levels, "matrix": rows}


_AUDIT = ("about", "domain", "level", "run", "by", *PAGED)

RECORD_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/ping", _ping, at_door=AtDoor.OPEN, answers=PingAnswer),
    Verb("GET", "/v1/queues", _queues, query=("name",), answers=QueuesShape),
    Verb("POST", "/v1/queues/pause", _pause, QueueBody, pokes=True, right=OPERATES, answers=PausedAnswer),
    Verb("POST", "/v1/queues/resume", _resume, QueueBody, pokes=True, right=OPERATES, answers=PausedAnswer),
    Verb(
        "POST",
        "/v1/queues/runs/{run}/remove",
        _take_out,
        ReasonBody,
        pokes=True,
        right=OPERATES,
        answers=RunShape,
    ),
    Verb("GET", "/v1/receipts", _receipts, query=PAGED, answers=ReceiptsAnswer),
    Verb("GET", "/v1/receipts/{run}", _receipt, answers=ReceiptRow),
    Verb("GET", "/v1/chains/{node}", _chain, answers=VerdictShape),
    Verb("GET", "/v1/keys", _keys, answers=KeysAnswer),
    Verb("POST", "/v1/keys/rotate", _rotate, ReasonBody, pokes=True, right=REMOVES, answers=KeysAnswer),
    Verb("GET", "/v1/export", _export, query=("run",), answers=Object),
    Verb(
        "GET",
        "/v1/audit",
        _audit,
        query=_AUDIT,
        answers=AuditAnswer,
    ),
    Verb("GET", "/v1/audit/verify", _verify_audit, answers=AuditVerdictShape),
    Verb("GET", "/v1/runtimes", _runtimes, query=("cwd", "name"), answers=RuntimesAnswer),
    Verb("GET", "/v1/endpoints", _endpoints, query=("node",), answers=EndpointsAnswer),
    Verb("GET", "/v1/models", _models, query=("cwd", "node", "tier"), answers=ModelsAnswer),
    Verb("GET", "/v1/modes", _modes, query=("cwd",), answers=ModesAnswer),
    Verb("GET", "/v1/safety", _safety, query=("cwd",), answers=SafetyAnswer),
)
