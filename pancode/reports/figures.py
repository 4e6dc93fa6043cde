"""The fleet's metrics for monitoring: the catalog of metrics, and their current values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pancode.budget import books
from pancode.fleet.answers import NodeShape, RunningShape
from pancode.fleet.fleet import list_nodes
from pancode.kernel.errors import UnavailableError
from pancode.kernel.node import NodeState
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Balance, Run, RunState, Setting
from pancode.runs.core import Core
from pancode.runs.lists import list_queues
from pancode.runs.views import HEARD

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_IN_VALUE = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_IN_WORDS = str.maketrans({"\\": "\\\\", "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Figure:
    """The definition of one metric. A counter grows until a coordinator restarts or a ledger is restored."""

    kind: Literal["gauge", "counter"]
    what: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One current value of a metric; a metric whose value is unknown has no sample."""

    name: str
    value: float
    labels: Mapping[str, str]


def format_exposition(figures: Mapping[str, Figure], samples: Iterable[Sample]) -> str:
    """Return Prometheus' text format, version 0.0.4: the metrics with a sample, in the catalog's order."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines = []
    for name, figure in figures.items():
        if name in by_name:
            lines += [f"# HELP {name} {figure.what.translate(_IN_WORDS)}", f"# TYPE {name} {figure.kind}"]
            lines += [_format_line(sample) for sample in by_name[name]]
    return "".join(f"{line}\n" for line in lines)


def _format_line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value.translate(_IN_VALUE)}"' for name, value in sample.labels.items())
    return f"{sample.name}{f'{{{labels}}}' if labels else ''} {_format_number(sample.value)}"


def _format_number(value: float) -> str:
    """Format whole numbers without a decimal point, and others so that they parse back to the same value."""
    return str(int(value)) if value == int(value) else repr(float(value))


_USD = "USD booked as spent, all-time; decreases after a correction"
FIGURES: Mapping[str, Figure] = {
    "pancode_build_info": Figure(
        "gauge", "always 1; the labels are the version and the fleet", ("version", "fleet")
    ),
    "pancode_round_age_seconds": Figure("gauge", "seconds since the coordinator last tried to read Redis"),
    "pancode_in_trouble": Figure("gauge", "1 while passes fail because Redis or the ledger is unavailable"),
    "pancode_paused": Figure("gauge", "1 while the fleet is paused"),
    "pancode_draining": Figure("gauge", "1 while the fleet starts nothing new"),
    "pancode_epoch": Figure("gauge", "increases by one with each start of the coordinator"),
    "pancode_nodes": Figure("gauge", "nodes in each state", ("state",)),
    "pancode_node_up": Figure("gauge", "1 while the node's heartbeats arrive", ("node",)),
    "pancode_node_info": Figure(
        "gauge", "always 1; the labels describe the node", ("node", "state", "version", "isolation")
    ),
    "pancode_node_silent_seconds": Figure(
        "gauge", "seconds without a heartbeat of the node, while the coordinator was awake", ("node",)
    ),
    "pancode_node_link_up": Figure("gauge", "1 while the node's SSH link is up", ("node",)),
    "pancode_node_link_breaks_total": Figure(
        "counter", "how often the node's SSH link broke since the coordinator started", ("node",)
    ),
    "pancode_node_slots": Figure("gauge", "runs that the node may execute at once", ("node",)),
    "pancode_node_slots_used": Figure("gauge", "slots that are in use by runs", ("node",)),
    "pancode_node_problems": Figure("gauge", "problems of the node that `fleet status` shows", ("node",)),
    "pancode_node_disk_free_bytes": Figure("gauge", "free disk space where the node's runs work", ("node",)),
    "pancode_node_gpu_memory_bytes": Figure("gauge", "memory of a GPU", ("node", "gpu", "name")),
    "pancode_node_gpu_memory_free_bytes": Figure(
        "gauge", "free memory of a GPU; absent while its driver does not answer", ("node", "gpu", "name")
    ),
    "pancode_node_gpu_busy_ratio": Figure(
        "gauge", "share of the last second in which the GPU computed", ("node", "gpu", "name")
    ),
    "pancode_node_gpu_held": Figure(
        "gauge", "1 while a run has exclusive use of the GPU", ("node", "gpu", "name")
    ),
    "pancode_node_clock_skew_seconds": Figure(
        "gauge", "wall clock of the node minus that of the coordinator", ("node",)
    ),
    "pancode_node_tokens_total": Figure("counter", "tokens that its runs used, input and output", ("node",)),
    "pancode_node_busy_seconds_total": Figure("counter", "working time of agents on the node", ("node",)),
    "pancode_node_cost_usd": Figure("gauge", _USD, ("node",)),
    "pancode_agent_runs_total": Figure("counter", "runs of the agent that were admitted", ("agent",)),
    "pancode_agent_tokens_total": Figure(
        "counter", "tokens that its runs used, input and output", ("agent",)
    ),
    "pancode_agent_busy_seconds_total": Figure("counter", "working time of the agent's runs", ("agent",)),
    "pancode_agent_cost_usd": Figure("gauge", _USD, ("agent",)),
    "pancode_runs": Figure("gauge", "runs that have not ended", ("state",)),
    "pancode_runs_ended_total": Figure(
        "counter", "runs that have ended since the coordinator started", ("outcome", "runtime", "node")
    ),
    "pancode_queue_waiting": Figure("gauge", "runs that wait in the queue", ("queue", "node")),
    "pancode_queue_oldest_seconds": Figure(
        "gauge", "how long the oldest run in the queue has waited", ("queue", "node")
    ),
    "pancode_queue_paused": Figure("gauge", "1 while the queue is paused", ("queue", "node")),
    "pancode_budget_ceiling_usd": Figure("gauge", "today's budget ceiling"),
    "pancode_budget_spent_usd": Figure("gauge", "today's cost so far"),
    "pancode_budget_held_usd": Figure("gauge", "what is reserved for runs that have not ended"),
    "pancode_budget_disputed_usd": Figure(
        "gauge", "USD that nodes report today above the limits of their jobs"
    ),
    "pancode_budget_unknown_runs": Figure("gauge", "today's runs of unknown cost"),
    "pancode_refused_envelopes_total": Figure(
        "counter", "signed envelopes rejected since the coordinator started", ("node", "what", "code")
    ),
    "pancode_redis_used_bytes": Figure("gauge", "memory that Redis uses"),
    "pancode_home_free_bytes": Figure("gauge", "free space on the disk of PANCODE_HOME"),
    "process_start_time_seconds": Figure("gauge", "start time of the coordinator, in seconds since 1970"),
    "process_cpu_seconds_total": Figure("counter", "processor time used by the coordinator"),
    "process_resident_memory_bytes": Figure("gauge", "memory of the coordinator"),
    "process_open_fds": Figure("gauge", "files and connections that the coordinator has open"),
    "process_max_fds": Figure("gauge", "the most files and connections that it may open"),
}
"""The catalog: each metric's name, meaning and labels."""

_OPEN = tuple(state for state in RunState if state is not RunState.ENDED)


def collect_samples(core: Core, coordinator: RunningShape, process: Mapping[str, float]) -> list[Sample]:
    """Return all current samples. `coordinator`: its state; `process`: metrics of its process, by name."""
    with core.ports.ledger.transaction() as tx:
        mine = [
            *_measure_contacts(core, tx),
            *_measure_runs(tx),
            *_measure_money(core, tx),
            *_measure_settings(tx),
        ]
    own = [
        _make_sample("pancode_build_info", 1, version=str(coordinator["version"]), fleet=core.fleet),
        _make_sample("pancode_epoch", core.epoch),
        _make_sample("pancode_in_trouble", coordinator["trouble"] is not None),
        _make_sample(
            "pancode_round_age_seconds", max(0, core.now().ms - core.live.heartbeats.watch.last_ms) / 1000
        ),
        *(_make_sample(name, value) for name, value in process.items()),
    ]
    rest = [
        *_measure_nodes(list_nodes(core)),
        *_measure_queues(core),
        *_measure_ended(core),
        *_measure_redis(core),
    ]
    return [*own, *rest, *mine]


def _make_sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, float(value), labels)


def _measure_nodes(nodes: list[NodeShape]) -> Iterator[Sample]:
    for state in NodeState:
        if state is not NodeState.REMOVED:
            yield _make_sample("pancode_nodes", sum(node["state"] == state for node in nodes), state=state)
    for node in nodes:
        name, labels = node["name"], {"version": node["version"] or "", "isolation": node["isolation"] or ""}
        yield _make_sample("pancode_node_up", node["state"] in HEARD, node=name)
        yield _make_sample("pancode_node_info", 1, node=name, state=node["state"], **labels)
        yield _make_sample("pancode_node_slots", node["slots"]["total"], node=name)
        yield _make_sample("pancode_node_slots_used", node["slots"]["used"], node=name)
        yield _make_sample("pancode_node_problems", len(node["problems"]), node=name)
        if node["disk_free"] is not None:
            yield _make_sample("pancode_node_disk_free_bytes", node["disk_free"], node=name)
        for gpu in node["gpus"]:
            which = {"node": name, "gpu": str(gpu["index"]), "name": gpu["short"]}
            yield Sample("pancode_node_gpu_memory_bytes", float(gpu["memory"]), which)
            yield Sample("pancode_node_gpu_held", float(gpu["holder"] is not None), which)
            if gpu["memory_free"] is not None:
                yield Sample("pancode_node_gpu_memory_free_bytes", float(gpu["memory_free"]), which)
            if gpu["busy"] is not None:
                yield Sample("pancode_node_gpu_busy_ratio", gpu["busy"] / 100, which)
        if node["clock_skew_s"] is not None:
            yield _make_sample("pancode_node_clock_skew_seconds", node["clock_skew_s"], node=name)


def _measure_contacts(core: Core, tx: Transaction) -> Iterator[Sample]:
    """Yield each node's last heartbeat and SSH link; a node that was never brought up has no link yet."""
    for view in core.views(tx):
        if view.state is NodeState.REMOVED:
            continue
        name, link = view.node.name, core.live.links.counts.get(view.node.name)
        if view.silent_ms is not None:
            yield _make_sample("pancode_node_silent_seconds", view.silent_ms / 1000, node=name)
        if link is not None:
            yield _make_sample("pancode_node_link_up", link.up, node=name)
            yield _make_sample("pancode_node_link_breaks_total", link.breaks, node=name)


def _measure_queues(core: Core) -> Iterator[Sample]:
    for queue in list_queues(core)["queues"]:
        labels = {"queue": queue["name"], "node": queue["node"] or ""}
        yield _make_sample("pancode_queue_waiting", queue["waiting"], **labels)
        yield _make_sample("pancode_queue_paused", queue["paused"] is not None, **labels)
        if queue["oldest_s"] is not None:
            yield _make_sample("pancode_queue_oldest_seconds", queue["oldest_s"], **labels)


def _measure_runs(tx: Transaction) -> Iterator[Sample]:
    for state in _OPEN:
        count = sum(run.judges is None for run in tx.find(Run, {"state": state}))
        yield _make_sample("pancode_runs", count, state=state)


def _measure_money(core: Core, tx: Transaction) -> Iterator[Sample]:
    """Yield samples of today's budget, and all-time sums of nodes and agents, which are never reset."""
    today = books.day_scope(core.wall_ms(), core.tz)
    day, ceiling = tx.get(Balance, today) or Balance(today), core.ceiling(tx, today)
    if ceiling is not None:
        yield _make_sample("pancode_budget_ceiling_usd", float(ceiling))
    yield _make_sample("pancode_budget_spent_usd", float(day.spent_usd))
    yield _make_sample("pancode_budget_held_usd", float(day.reserved_usd))
    yield _make_sample("pancode_budget_disputed_usd", float(day.disputed_usd))
    yield _make_sample("pancode_budget_unknown_runs", day.unknown_runs)
    for balance in tx.find(Balance):
        kind, _, name = balance.scope.partition(":")
        if kind in ("node", "agent"):
            yield _make_sample(f"pancode_{kind}_tokens_total", balance.tokens, **{kind: name})
            yield _make_sample(f"pancode_{kind}_busy_seconds_total", balance.agent_ms / 1000, **{kind: name})
            yield _make_sample(f"pancode_{kind}_cost_usd", float(balance.spent_usd), **{kind: name})
            if kind == "agent":
                yield _make_sample("pancode_agent_runs_total", balance.runs, agent=name)


def _measure_settings(tx: Transaction) -> list[Sample]:
    return [
        _make_sample(f"pancode_{name}", tx.get(Setting, name) is not None) for name in ("paused", "draining")
    ]


def _measure_ended(core: Core) -> Iterator[Sample]:
    for (outcome, runtime, node), count in sorted(core.live.tally.ended.items()):
        yield _make_sample("pancode_runs_ended_total", count, outcome=outcome, runtime=runtime, node=node)
    for key, count in sorted(core.live.tally.refusals.items()):
        node, what, code = key.rsplit(":", 2)
        yield _make_sample("pancode_refused_envelopes_total", count, node=node, what=what, code=code)


def _measure_redis(core: Core) -> list[Sample]:
    with suppress(UnavailableError):
        return [_make_sample("pancode_redis_used_bytes", core.ports.bus.used())]
    return []
