"""Nodes, agents and requests for the tests of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from node_agent.wire.endpoint import Dialect, EndpointFact, ModelFact, ModelWire, Residence
from node_agent.wire.node import Ask, Heartbeat, NodeFacts, RuntimeFact
from node_agent.wire.policy import Isolation
from pancode import __version__
from pancode.agents.agents import READ_TOOLS, TOOLS, Agent
from pancode.budget.books import Amount
from pancode.budget.track_record_rules import ExpectedWork
from pancode.kernel.node import LastHeartbeat, NodeState, NodeView
from pancode.kernel.records import Node
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.resolution import resolve
from pancode.runs.request import Catalogue, Defaults, DispatchRequest

BUILDER = Agent("builder", prompt="You build.", tools=TOOLS, read_only=False)
SCOUT = Agent("scout", prompt="You look.", tools=READ_TOOLS)
AGENTS = {agent.name: agent for agent in (BUILDER, SCOUT)}


def heard(
    runtimes: Mapping[str, str],
    isolation: Isolation = Isolation.NONE,
    slots: int = 4,
    **said: Any,
) -> LastHeartbeat:
    found = tuple(RuntimeFact(name=n, state=s, fix=f"fix {n}") for n, s in runtimes.items())  # type: ignore[arg-type]
    facts = NodeFacts(
        hostname="h",
        os="linux",
        arch="x86_64",
        python="3.11",
        cpus=4,
        memory=1,
        disk_free=1,
        load_1m=0.0,
        isolation=isolation,
        runtimes=found,
        wall_ms=1,
        **said,
    )
    heartbeat = Heartbeat(
        fleet="f-test",
        node="0123456789",
        session="s",
        boot_id="b",
        seq=1,
        boot_ms=1,
        nonce="n",
        epoch_seen=1,
        control_seen=0,
        ask=Ask(seq=1, slots=slots, open=()),
        version=__version__,
        obeys=(),
        facts=facts,
    )
    return LastHeartbeat(heartbeat, "n")


def endpoint(name: str, *models: ModelFact | str, **said: Any) -> EndpointFact:
    """One that speaks every wire; models are loaded, and have the context that they need."""
    listed = tuple(
        ModelFact(id=one, residence=Residence.LOADED, ctx_usable=65_536) if isinstance(one, str) else one
        for one in models
    )
    dialect = said.pop("dialect", Dialect.OLLAMA)
    wires = said.pop("wires", tuple(ModelWire))
    return EndpointFact(name=name, dialect=dialect, at="127.0.0.1:1", wires=wires, models=listed, **said)


def node(name: str, runtimes: Mapping[str, str] | None = None, **options: Any) -> NodeView:
    """An online node with claude and shell. Options: fields of Node, state, and those named below."""
    state = options.pop("state", NodeState.ONLINE)
    isolation = options.pop("isolation", Isolation.NONE)
    mute = options.pop("mute", False)
    said = {
        name: options.pop(name)
        for name in (
            "shut",
            "allows",
            "problems",
            "endpoints",
            "repositories",
            "set_ups",
            "variables",
            "gpus",
        )
        if name in options
    }
    given = {"claude": "ok", "shell": "ok", "scripted": "ok"} if runtimes is None else runtimes
    record = Node(
        name, 1, {}, options.pop("labels", {}), options.pop("slots", 4), tag="0123456789", **options
    )
    asks = state is NodeState.ONLINE and not mute and record.paused is None and record.draining is None
    return NodeView(record, state, 0, None if mute else heard(given, isolation, **said), asks)


def catalogue(*nodes: NodeView, **options: Any) -> Catalogue:
    """The settings name claude as the default runtime, unless `defaults` name another."""
    agents, defaults = options.pop("agents", AGENTS), options.pop("defaults", Defaults())
    defaults = replace(defaults, runtime=defaults.runtime or "claude")
    return Catalogue(agents, nodes or (node("desk"),), defaults, **options)


def request(task: str = "add a --json flag", **options: Any) -> DispatchRequest:
    return DispatchRequest(task, "ana", **{"project": "/home/ana/shop", "cwd": "/home/ana/shop", **options})


def resolved(*nodes: NodeView, settings: Mapping[str, Any] | None = None, **options: Any) -> Plan:
    """What `request(**options)` resolves to; fails when it does not."""
    found = resolve(request(**options), catalogue(*nodes, **(settings or {})))
    assert isinstance(found, Plan), found
    return found


def told_of_scouts(agent: str, runtime: str, model: str | None, task: str) -> ExpectedWork | None:
    """A record of runs of the scout alone."""
    history = {None: Decimal("0.02"), "opus": Decimal("1.5")}
    usd = history.get(model) if agent == "scout" else None
    return None if usd is None else ExpectedWork(usd, Amount(tokens=10, ms=10), "3 runs")
