"""Says of each route of the API what it is for, which command asks it, and which object it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Told(NamedTuple):
    """`command`: the one that asks it; empty: none by itself. `answer`: words, and objects of JSON."""

    what: str
    command: str
    answer: str


EVENTS = "events"
ROUTES: Mapping[str, Told] = {
    "GET /v1/runs": Told("the newest runs", "runs", '`{"runs": [RunShape]}`'),
    "POST /v1/runs": Told("dispatch; with `dry_run` only judge", "dispatch", "Queued, with `warnings`"),
    "GET /v1/snapshots": Told("snapshots that are being made now", "", '`{"snapshots": []}`'),
    "GET /v1/runs/{run}": Told("all of a run", "runs show", "RunDetail"),
    "GET /v1/runs/{run}/brief": Told("a run in short", "", "RunShape"),
    "GET /v1/runs/{run}/why": Told("every decision about it", "why", "WhyShape"),
    "GET /v1/runs/{run}/events": Told("follow it until it ends", "", "events: `run` with RunShape"),
    "GET /v1/runs/{run}/log": Told("its output from a byte on", "runs logs", "bytes; with `follow` events"),
    "GET /v1/runs/{run}/streams": Told("which outputs it has", "", '`{"streams": []}`'),
    "POST /v1/runs/{run}/stop": Told("stop it", "runs stop", "RunShape"),
    "POST /v1/runs/{run}/retry": Told("the same work as a new run", "runs retry", "Queued, with `warnings`"),
    "GET /v1/runs/{run}/diff": Told("what it changed", "runs diff", "a patch, as bytes"),
    "GET /v1/runs/{run}/verify": Told("judge its receipt", "receipt verify", "VerdictShape"),
    "GET /v1/landings": Told("the landings that wait, in order", "land", '`{"landings"}`'),
    "GET /v1/landings/green": Told("done, verified and not landed, in a repository", "land", '`{"runs"}`'),
    "POST /v1/runs/{run}/land": Told("land it; answers when that is over", "land", "object"),
    "POST /v1/runs/{run}/land/cancel": Told("call a landing off", "", '`{"run", "landings"}`'),
    "POST /v1/runs/{run}/continue": Told(
        "a new run that goes on from its result", "runs continue", "Queued, with `warnings`"
    ),
    "GET /v1/inbox": Told("everything that waits for a person", "inbox", '`{"items": [InboxShape]}`'),
    "POST /v1/runs/{run}/answer": Told("answer its question", "answer", "Queued, with `warnings`"),
    "POST /v1/runs/{run}/approve": Told("say yes: land what waits for that", "approve", "object, as of land"),
    "POST /v1/runs/{run}/deny": Told("say no to what it waits for", "deny", "RunShape"),
    "POST /v1/runs/{run}/tell": Told("words for its agent", "tell", '`{"run", "state", "delivered"}`'),
    "GET /v1/workflows": Told("the newest workflows", "batches", '`{"workflows": [WorkflowShape]}`'),
    "POST /v1/workflows": Told("begin one; with `dry_run` only judge", "chain", "WorkflowShape"),
    "GET /v1/workflows/{workflow}": Told("one of them", "workflow show", "WorkflowShape"),
    "GET /v1/workflows/{workflow}/receipt": Told("its signed summary, judged", "workflow receipt", "object"),
    "POST /v1/workflows/{workflow}/stop": Told(
        "stop its runs, begin nothing more", "workflow stop", "WorkflowShape"
    ),
    "POST /v1/workflows/{workflow}/resume": Told(
        "go on with what is not done", "workflow resume", "WorkflowShape"
    ),
    "POST /v1/workflows/{workflow}/retry": Told("all of it anew", "workflow retry", "WorkflowShape"),
    "GET /v1/schedules": Told("all schedules", "schedule ls", '`{"schedules": [ScheduleShape]}`'),
    "POST /v1/schedules": Told("make one; with `dry_run` only judge", "schedule add", "ScheduleShape"),
    "GET /v1/schedules/{schedule}": Told("one, with its firings", "schedule show", "ScheduleShape"),
    "POST /v1/schedules/{schedule}/pause": Told("fire no more", "schedule pause", "ScheduleShape"),
    "POST /v1/schedules/{schedule}/resume": Told("fire again", "schedule resume", "ScheduleShape"),
    "POST /v1/schedules/{schedule}/run": Told("fire now", "schedule run", "ScheduleShape"),
    "POST /v1/schedules/{schedule}/remove": Told("remove it", "schedule rm", '`{"removed"}`'),
    "GET /v1/notify": Told(
        "channels of notices", "notify ls", '`{"channels": [ChannelShape], "troubles": []}`'
    ),
    "POST /v1/notify/test": Told("send a notice now", "notify test", "DeliveryShape"),
    "GET /v1/webhooks": Told("all webhooks", "webhook ls", '`{"webhooks": [WebhookShape]}`'),
    "POST /v1/webhooks": Told("make one; its secret is told once", "webhook add", "WebhookShape"),
    "POST /v1/webhooks/{webhook}/remove": Told("remove it", "webhook rm", '`{"removed"}`'),
    "GET /v1/deliveries": Told(
        "what a target was sent", "webhook deliveries", '`{"deliveries": [DeliveryShape]}`'
    ),
    "POST /v1/deliveries/again": Told("send one once more", "webhook redeliver", "DeliveryShape"),
    "GET /v1/fleet": Told("coordinator and nodes", "fleet status", "FleetShape"),
    "POST /v1/fleet/up": Told("bring nodes up", "fleet up", "events; `results`, and FleetShape"),
    "POST /v1/fleet/down": Told("stop node agents", "fleet down", "events; `results`"),
    "POST /v1/fleet/drain": Told("start nothing new there", "fleet drain", '`{"nodes", "draining"}`'),
    "POST /v1/fleet/resume": Told("take work again", "fleet resume", '`{"nodes", "draining", "let_in"}`'),
    "POST /v1/fleet/doctor": Told("reach and check nodes", "fleet doctor", '`{"checks": []}`'),
    "GET /v1/nodes/{node}": Told("one node, with what it has told", "node show", "object"),
    "POST /v1/nodes/probe": Told(
        "look at a machine before it is added", "", '`{"target", "questions", "warnings"}`'
    ),
    "POST /v1/nodes": Told("put a machine into the inventory", "node add", "object, as of one node"),
    "POST /v1/nodes/{node}/set": Told("slots and labels", "node set", "object, as of one node"),
    "POST /v1/nodes/{node}/login": Told(
        "note that a login is opened there", "node login", '`{"node", "runtime", "target"}`'
    ),
    "POST /v1/nodes/{node}/remove": Told("take a machine out", "node rm", "events"),
    "POST /v1/nodes/{node}/steps": Told("a bring-up as data, for other tools", "node steps", "object"),
    "POST /v1/nodes/{node}/cleaned": Told("another tool has cleaned it", "", '`{"forgotten"}`'),
    "POST /v1/nodes/{node}/trust": Told("a new host key is right", "node trust", "object"),
    "POST /v1/shutdown": Told("stop the coordinator", "fleet down", '`{"stopping", "pid"}`'),
    "GET /v1/events": Told(
        "everything that happens", "events", "events: each kind with FeedShape; `reset` after a gap"
    ),
    "GET /v1/breakers": Told("circuit breakers", "breakers", '`{"breakers": []}`'),
    "POST /v1/breakers/reset": Told("close one", "breakers reset", '`{"breakers": []}`'),
    "GET /v1/metrics": Told("the fleet in figures", "metrics", '`{"figures": [], "text"}`'),
    "POST /v1/models/test": Told("test a model on its machine", "models test", "events; `tests`"),
    "GET /v1/ping": Told("which coordinator this is", "", "object with `pid` and `version`"),
    "GET /v1/queues": Told("what waits where", "queue ls", "QueuesShape"),
    "POST /v1/queues/pause": Told("pause the fleet or a queue", "queue pause", '`{"queue", "paused"}`'),
    "POST /v1/queues/resume": Told("and go on", "queue resume", '`{"queue", "paused"}`'),
    "POST /v1/queues/runs/{run}/remove": Told("take out what still waits", "queue rm", "RunShape"),
    "GET /v1/receipts": Told("receipts of the newest runs", "receipt ls", '`{"receipts": [ReceiptRow]}`'),
    "GET /v1/receipts/{run}": Told("what a receipt says", "receipt show", "object"),
    "GET /v1/chains/{node}": Told("judge the chain of its receipts", "receipt verify", "VerdictShape"),
    "GET /v1/keys": Told("every key with its dates", "key ls", '`{"keys": []}`'),
    "POST /v1/keys/rotate": Told("a new key for the coordinator", "key rotate", '`{"keys": []}`'),
    "GET /v1/export": Told("a receipt with keys, or the keys", "receipt export", "object"),
    "GET /v1/audit": Told("what happened in the fleet", "audit", '`{"audit": [AuditRow]}`'),
    "GET /v1/audit/verify": Told("check the audit's chain", "audit", "AuditVerdictShape"),
    "GET /v1/runtimes": Told("programs, and where they are", "runtimes", '`{"runtimes": [], "walls": []}`'),
    "GET /v1/endpoints": Told("model servers of the nodes", "endpoints", '`{"endpoints": []}`'),
    "GET /v1/models": Told("their models", "models", '`{"models": [ModelShape]}`'),
    "GET /v1/modes": Told("what each mode lets a dispatch do", "modes", '`{"modes": []}`'),
    "GET /v1/safety": Told("the levels, and who holds them", "safety ls", '`{"safety": [], "matrix": []}`'),
    "GET /v1/config": Told("every setting, and where it was said", "config show", '`{"settings": []}`'),
    "GET /v1/budget": Told("spent, held, free", "budget show", "BudgetShape"),
    "POST /v1/budget/ceiling": Told("set a ceiling", "budget set", "BudgetShape"),
    "POST /v1/budget/ceiling/unset": Told("the configured one again", "budget unset", "BudgetShape"),
    "POST /v1/budget/settle": Told(
        "say what an unknown cost was", "budget settle", '`{"run", "usd", "attempts"}`'
    ),
    "GET /v1/cost": Told("what runs have cost, by one of their properties", "cost", "CostTable"),
    "GET /v1/workers": Told(
        "each agent on each runtime and node: what it does now, its record", "workers", "WorkerShape"
    ),
    "GET /v1/records": Told(
        "who does which kind of work how well", "records", '`{"records": [TrackRecordRow]}`'
    ),
    "GET /v1/brief": Told("what happened since the last look", "brief", "BriefShape"),
    "POST /v1/brief/looked": Told("a person has looked now", "brief", '`{"by": ""}`'),
    "GET /v1/report": Told("a brief of a longer time, with costs", "report", "ReportShape"),
    "GET /v1/presets": Told("the presets", "presets", '`{"presets": []}`'),
    "POST /v1/presets/apply": Told(
        "apply one", "presets apply", '`{"preset", "before", "settings", "warnings"}`'
    ),
    "POST /v1/presets/unset": Told("apply none", "presets unset", '`{"preset", "before"}`'),
    "GET /v1/agents": Told("agent definitions", "agents", '`{"agents": []}`'),
    "GET /v1/agents/{agent}/prompt": Told("what an agent is told", "agents show", "object"),
}
