"""The queues: pools of work that no node has yet, and the orders that each node was given."""

from __future__ import annotations

from collections.abc import Iterable

from node_agent.wire.keys import node_queue, pool_queue
from pancode.control.core import Core, open_fences
from pancode.control.shapes import OrderShape, QueueShape, QueuesShape
from pancode.core.names import not_found
from pancode.core.ports import Transaction
from pancode.core.records import Fence, FenceState, Node, Run, RunState, Setting
from pancode.life.placement import in_order, pool_of

PAUSED = "paused"
PAUSE = "pause:"


def queues(core: Core, name: str | None = None) -> QueuesShape:
    """All queues, pools first; `name`: only that one (its full name, a pool's requirement, or a node)."""
    with core.ports.ledger.transaction() as tx:
        fences = open_fences(tx)
        fleet = tx.get(Setting, PAUSED)
        bound = {fence.run for fence in fences}
        waiting = [r for r in tx.find(Run, {"state": RunState.PENDING}) if r.id not in bound]
        shapes = _pools(core, tx, waiting) + _nodes(core, tx, fences)
    paused = str(fleet.value) if fleet is not None else None
    if name is None:
        return {"paused": paused, "queues": shapes}
    wanted = [q for q in shapes if name in (q["name"], q["name"].removeprefix("pool."), q["node"])]
    if not wanted:
        raise not_found("queue", name, [q["name"] for q in shapes], "pancode queue ls")
    return {"paused": paused, "queues": wanted}


def pause_key(tx: Transaction, name: str) -> str:
    """The setting that pauses a pool; NotFoundError for a name that no pool can have."""
    pool = name.removeprefix("pool.")
    known = {pool_of(run) for run in tx.find(Run, {"state": RunState.PENDING})} | {"any"}
    known |= {s.name.removeprefix(PAUSE) for s in tx.find(Setting) if s.name.startswith(PAUSE)}
    known |= {f"node.{node.name}" for node in tx.find(Node)}
    if pool not in known and "=" not in pool:
        raise not_found("queue", name, [f"pool.{p}" for p in known], "pancode queue ls")
    return PAUSE + pool


def _pools(core: Core, tx: Transaction, waiting: Iterable[Run]) -> list[QueueShape]:
    by_pool: dict[str, list[Run]] = {"any": []}
    for run in in_order(waiting):
        by_pool.setdefault(pool_of(run), []).append(run)
    paused = {s.name: str(s.value) for s in tx.find(Setting) if s.name.startswith(PAUSE)}
    for name in paused:
        by_pool.setdefault(name.removeprefix(PAUSE), [])
    return [_pool(core, name, runs, paused.get(PAUSE + name)) for name, runs in sorted(by_pool.items())]


def _pool(core: Core, name: str, runs: list[Run], paused: str | None) -> QueueShape:
    orders = [_waiting(core, run) for run in runs]
    pinned = name.removeprefix("node.") if name.startswith("node.") else None
    return _queue(pool_queue(name), "pool", pinned, paused, orders, 0)


def _nodes(core: Core, tx: Transaction, fences: list[Fence]) -> list[QueueShape]:
    shapes = []
    for node in tx.find(Node):
        if node.tag is None or node.removed == "removed":
            continue
        mine = [fence for fence in fences if fence.node == node.name]
        pairs = [(tx.get(Run, fence.run), fence) for fence in mine]
        orders = [_bound(core, run, fence) for run, fence in pairs if run is not None]
        running = sum(1 for fence in mine if fence.state is not FenceState.OFFERED)
        paused = node.paused or (f"draining: {node.draining}" if node.draining is not None else None)
        shapes.append(_queue(node_queue(node.tag), "node", node.name, paused, orders, running))
    return shapes


def _queue(
    name: str, kind: str, node: str | None, paused: str | None, orders: list[OrderShape], running: int
) -> QueueShape:
    return {
        "name": name,
        "kind": kind,
        "node": node,
        "paused": paused,
        "waiting": len(orders) - running,
        "running": running,
        "oldest_s": max((order["waiting_s"] for order in orders), default=None),
        "orders": orders,
    }


def _waiting(core: Core, run: Run) -> OrderShape:
    return _order(run, core.wall_ms() - run.created_ms, run.reason)


def _bound(core: Core, run: Run, fence: Fence) -> OrderShape:
    reason = run.reason if fence.fence == run.fence else f"older fence, {fence.state}"
    return _order(run, core.wall_ms() - fence.bound_ms, reason)


def _order(run: Run, waited_ms: int, reason: str) -> OrderShape:
    return {
        "run": run.id,
        "attempt": run.attempt,
        "agent": run.agent,
        "priority": run.priority,
        "waiting_s": round(max(0, waited_ms) / 1000, 1),
        "reason": reason,
    }
