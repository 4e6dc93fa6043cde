"""Routes of the choices of a dispatch: runtimes, modes, safety levels."""

from __future__ import annotations

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import ALLOWED, MODE_DISPATCHES, MODE_WRITES, Mode, Safety
from pancode.agents import answers
from pancode.agents.agents import FLEET_TOOLS
from pancode.agents.runtimes import RUNTIMES, build_matrix, is_listed, no_runtime
from pancode.agents.safety_evidence import matrix_here
from pancode.fleet.fleet import list_nodes
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.node import describe_isolation


@Verb(answers.RUNTIMES, command="agents runtimes", query=("cwd", "name"))
def _runtimes(context: ApiContext, call: ApiCall) -> answers.RuntimesAnswer:
    """List runtimes and the nodes that have them.

    Each fact is as its node reported it.
    """
    heard = list_nodes(context.core)
    found: dict[str, list[answers.NodeRuntime]] = {n: [] for n in RUNTIMES if is_listed(n)}
    for node in heard:
        for fact in node["runtimes"]:
            found.setdefault(fact["name"], []).append({"node": node["name"], **fact})
    name = call.query.get("name")
    if name is not None and name not in found:
        raise no_runtime(name, known=found)
    isolations: list[answers.IsolationShape] = [
        {"node": n["name"], "isolation": n["isolation"], "holds": describe_isolation(n["isolation"])}
        for n in heard
    ]
    return {
        "runtimes": [_make_runtime_shape(n, f) for n, f in found.items() if name in (None, n)],
        "isolations": isolations,
    }


def _make_runtime_shape(name: str, nodes: list[answers.NodeRuntime]) -> answers.RuntimeShape:
    """Return the runtime's shape; a node may report a runtime that this coordinator does not know."""
    kind = RUNTIMES.get(name)
    levels = [level.value for level in Reasoning if kind is not None and level in kind.reasons]
    turns, comes = kind is not None and kind.takes_turns, kind is not None and kind.installable
    return {
        "name": name, "nodes": nodes, "reasoning": levels, "takes_turns": turns, "installable": comes,
    }  # fmt: skip


@Verb(answers.MODES, command="policy show", query=("cwd",))
def _modes(context: ApiContext, call: ApiCall) -> answers.ModesAnswer:
    """Show what each mode allows a dispatch to do."""
    default = context.coordinator.around({}).defaults(context.project_of(call.query.get("cwd"))).mode
    modes: list[answers.ModeShape] = [
        {
            "name": m.value,
            "dispatches": m in MODE_DISPATCHES,
            "writes": m in MODE_WRITES,
            "tools": list(FLEET_TOOLS[m]),
            "default": m is default,
        }
        for m in Mode
    ]
    return {"modes": modes}


@Verb(answers.SAFETY, command="policy show", query=("cwd",))
def _safety(context: ApiContext, call: ApiCall) -> answers.SafetyAnswer:
    """Show the safety levels, and what enforces them."""
    default = context.coordinator.around({}).defaults(context.project_of(call.query.get("cwd"))).safety
    levels: list[answers.LevelShape] = [
        {"name": s.value, "allows": sorted(a.value for a in ALLOWED[s]), "default": s == default}
        for s in Safety
    ]
    rows: list[answers.HeldShape] = [
        {"runtime": runtime, "rule": rule, "with_sandbox": sandboxed.value, "without": bare.value}
        for runtime, rule, sandboxed, bare in build_matrix()
        if is_listed(runtime)
    ]
    return {"safety": levels, "matrix": rows}


@Verb(answers.EVIDENCE, command="policy show", query=("name",))
def _evidence(context: ApiContext, call: ApiCall) -> answers.EvidenceAnswer:
    """Show what hostile models could do in each runtime, as measured."""
    return matrix_here(call.query.get("name"))
