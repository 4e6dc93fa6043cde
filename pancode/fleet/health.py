"""Shows the health of agents and nodes: the state of each, and the reason."""

from __future__ import annotations

from collections.abc import Iterator

from pancode.fleet.fleet import list_nodes
from pancode.kernel.node import NodeState
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, Node, Run
from pancode.runs.answers import HealthRow, HealthShape
from pancode.runs.core import Core
from pancode.runs.health import command_for, healths_of
from pancode.runs.life.health import AgentHealth, Gravity, HealthState
from pancode.runs.life.inbox import item_of, open_item
from pancode.runs.views import format_optional_iso, newest_lease, not_ended

_SICK = (NodeState.UNREACHABLE, NodeState.LOST, NodeState.QUARANTINED)


def get_health(core: Core) -> HealthShape:
    """Return the health of all agents that are working, and of all nodes."""
    with core.ports.ledger.transaction() as tx:
        agents = [_agent_shape(tx, run, health) for run, health in healths_of(core, tx, not_ended(tx))]
        removed = {node.name for node in tx.find(Node) if node.removed is not None}
    rows = list(_list_node_rows(core, removed))
    grave = {row["gravity"] for row in (*agents, *rows)}
    return {"well": Gravity.USER not in grave, "agents": agents, "machines": rows}


def _agent_shape(tx: Transaction, run: Run, health: AgentHealth) -> HealthRow:
    command = ""
    if health.gravity is not Gravity.WELL:
        item = open_item(tuple(tx.find(Action, {"run": run.id})))
        command = item_of(run, item).command if item is not None else command_for(run, health)
    lease = newest_lease(tx, run)
    return {
        "who": run.agent,
        "run": run.id,
        "node": None if lease is None else lease.node,
        "state": health.state.value,
        "gravity": health.gravity.value,
        "since": format_optional_iso(health.since_ms),
        "until": format_optional_iso(health.until_ms),
        "why": health.why,
        "command": command,
    }


def _list_node_rows(core: Core, removed: set[str]) -> Iterator[HealthRow]:
    for row in list_nodes(core):
        if row["name"] in removed:
            continue
        gravity = Gravity.WARNING if row["state"] == NodeState.SUSPECT else Gravity.WELL
        gravity = Gravity.USER if row["state"] in _SICK else gravity
        used, total = row["slots"]["used"], row["slots"]["total"]
        works = row["state"] == NodeState.ONLINE and used
        what, fix = f"{used} of {total} slots are taken", ""
        if row["problems"]:
            problem = row["problems"][0]
            what, fix = problem["what"] or what, problem["fix"]
        yield {
            "who": row["name"],
            "run": None,
            "node": row["name"],
            "state": HealthState.WORKING.value if works else row["state"],
            "gravity": gravity.value,
            "since": row["since"],
            "until": None,
            "why": what,
            "command": fix if gravity is not Gravity.WELL else "",
        }
