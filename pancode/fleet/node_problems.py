"""The problems of a node, each with its fix: as it told them, and as we see them. Pure."""

from __future__ import annotations

import re
from typing import Any

from node_agent.wire.node import NodeFacts, NodeProblem, ProblemCode, RuntimeFact
from pancode import __version__
from pancode.agents.endpoints import asks
from pancode.agents.runtimes import OUR_OWN, RUNTIMES
from pancode.nodes.node import NodeState, NodeView, Reaching, apart, holds
from pancode.plain import size

Json = dict[str, Any]
SILENT = (NodeState.SUSPECT, NodeState.UNREACHABLE, NodeState.LOST)


def wall_lines(name: str, facts: NodeFacts) -> list[Json]:
    """What its sandbox holds, why there is no better one, and what the machine itself has reported since."""
    wall = NodeProblem(what=f"isolation {facts.isolation}: holds {holds(facts.isolation)}")
    problems = [one for one in facts.problems if one.code is ProblemCode.NO_SANDBOX]
    lines = apart([one.model_dump() for one in (wall, *problems)])
    others = [one for one in facts.problems if one.code is not ProblemCode.NO_SANDBOX]
    wrong = [{"node": name, "ok": not one.fix, **apart(one.model_dump())} for one in others]
    if facts.room:
        filled = ", ".join(f"{one.what} {size(one.bytes)}" for one in facts.room[:4])
        lines += apart([NodeProblem(what=f"disk {size(facts.disk_free)} free; {filled}").model_dump()])
    return [{"node": name, "ok": True, **one} for one in lines] + wrong


def problems_of(view: NodeView, reaching: Reaching, clock: Json | None) -> list[Json]:
    """Everything that a person should mend; `clock`: the problem of its clock."""
    beat = view.last.heartbeat if view.last is not None else None
    found = _state_problem(view, reaching)
    if beat is not None:
        found += _other_version(view.node.name, beat.version)
        found += apart([p.model_dump() for p in beat.facts.problems])
        runtimes = [
            r for r in beat.facts.runtimes if r.state in ("not_logged_in", "unknown_version", "too_old")
        ]
        runtimes = [r for r in runtimes if r.name != OUR_OWN]  # nobody put it there to be used
        runtimes = [r for r in runtimes if not is_served(beat.facts, r)]
        found += apart([{"what": f"{r.name} {r.state.replace('_', ' ')}", "fix": r.fix} for r in runtimes])
    return found if clock is None else [*found, clock]


def _other_version(name: str, version: str) -> list[Json]:
    """It may be the newer one: then our own process may be older than what is installed."""
    if version == __version__:
        return []
    what = f"its node agent is of PanCode {version}, the coordinator of {__version__}"
    newer = f"; where {version} is the one that you want, install it here, then: pancode fleet down"
    fix = f"pancode fleet up {name}{newer if _release(version) > _release(__version__) else ''}"
    return [{"what": what, "fix": fix}]


def _release(version: str) -> list[int]:
    """The version without its suffix; a release candidate counts as its release."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(number) for number in found[0].split(".")] if found else []


def is_served(facts: NodeFacts, fact: RuntimeFact) -> bool:
    """A program that is no vendor's own is logged in nowhere, and asks the model servers that there are."""
    kind = RUNTIMES.get(fact.name)
    if fact.state != "not_logged_in" or kind is None or kind.provider is not None:
        return False
    return bool(asks(facts, fact.name))


def _state_problem(view: NodeView, reaching: Reaching) -> list[Json]:
    name = view.node.name
    if view.state is NodeState.QUARANTINED:
        what = f"{name} is quarantined: {view.node.quarantined}"
        return [{"what": what, "fix": f"look at what runs there, then: pancode fleet resume {name}"}]
    if view.state in (NodeState.NEW, *SILENT) and reaching.why:
        return [{"what": f"{name} is {view.state}: {reaching.why}", "fix": reaching.fix}]
    if view.state in (NodeState.NEW, *SILENT):
        words = "was never brought up" if view.state is NodeState.NEW else f"is {view.state}"
        return [{"what": f"{name} {words}", "fix": f"pancode fleet up {name}"}]
    if view.state is NodeState.NOT_CLEANED:
        return [{"what": f"{name} is removed, not cleaned", "fix": f"pancode node rm {name}"}]
    return []
