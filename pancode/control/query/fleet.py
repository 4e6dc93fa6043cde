"""The fleet as it is heard: each node's state, slots, runtimes and problems, each problem with its fix."""

from __future__ import annotations

import re
from collections.abc import Sequence

from node_agent.wire.heartbeat import Heartbeat
from node_agent.wire.node import NodeFacts, NodeProblem, ProblemCode, RuntimeFact
from pancode import __version__
from pancode.control import passed_over
from pancode.control.core import Core, open_fences
from pancode.control.query.models import endpoint_shape
from pancode.control.query.run import at
from pancode.control.query.shapes import FleetShape, Json, NodeShape
from pancode.domain.endpoints import asks
from pancode.domain.life.moves import holds_slot
from pancode.domain.names import not_found
from pancode.domain.nodes.fleet import NodeState, NodeView, Reaching, skew_within
from pancode.domain.nodes.isolation import holds
from pancode.domain.nodes.node_advice import apart
from pancode.domain.records import Node, Setting
from pancode.domain.runtimes import OUR_OWN, RUNTIMES
from pancode.ports import Transaction

SKEW_S = 30.0
_SILENT = (NodeState.SUSPECT, NodeState.UNREACHABLE, NodeState.LOST)


class Since:
    """Since when each node is in its state, as far as this coordinator saw it."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[NodeState, int]] = {}

    def note(self, view: NodeView, wall_ms: int) -> int:
        """The time when the node entered its state; a change of state is dated now."""
        state, since = self._seen.get(view.node.name, (None, wall_ms))
        if state is not view.state:
            since = wall_ms
            self._seen[view.node.name] = (view.state, since)
        return since


def fleet(core: Core, since: Since, coordinator: Json) -> FleetShape:
    """Coordinator and nodes. `coordinator`: what only its process knows (pid, version, home ...)."""
    with core.ports.ledger.transaction() as tx:
        views = [view for view in core.views(tx) if view.state is not NodeState.REMOVED]
        nodes = [_node(core, tx, view, since) for view in views]
        settings = {name: tx.get(Setting, name) for name in ("paused", "draining")}
    own = {name: str(setting.value) if setting is not None else None for name, setting in settings.items()}
    known: Json = {
        "fleet": core.fleet,
        "epoch": core.epoch,
        **own,
        "refused_envelopes": dict(core.live.tally.refusals),
    }
    return {"coordinator": {**coordinator, **known}, "nodes": nodes}


def node(core: Core, since: Since, name: str) -> Json:
    """One machine, how it is reached and what it said about itself (`facts`: None before it was heard)."""
    with core.ports.ledger.transaction() as tx:
        found = known_node(tx, name)
        view = core.view_of(found)
        shape = _node(core, tx, view, since)
    facts = apart(view.last.heartbeat.facts.model_dump(mode="json")) if view.last is not None else None
    return {
        **shape,
        "target": dict(found.target),
        "tag": found.tag,
        "public_key": found.public_key,
        "added_at": at(found.added_ms),
        "draining": found.draining,
        "paused": found.paused,
        "quarantined": found.quarantined,
        "facts": None if facts is None else {**found.facts, **facts},
    }


def walls(core: Core, names: Sequence[str]) -> list[Json]:
    """Lines of `fleet doctor` for each node (none named: all): what its wall holds, why there is no better.

    Of a node that was not heard nothing is known, and another line says so.
    """
    with core.ports.ledger.transaction() as tx:
        nodes = [n for n in tx.find(Node) if n.removed is None and (not names or n.name in names)]
    heartbeats = [(node.name, core.view_of(node).last) for node in nodes]
    return [
        line for name, one in heartbeats if one is not None for line in _wall_lines(name, one.heartbeat.facts)
    ]


def _wall_lines(name: str, facts: NodeFacts) -> list[Json]:
    wall = NodeProblem(what=f"isolation {facts.isolation}: holds {holds(facts.isolation)}")
    problems = [one for one in facts.problems if one.code is ProblemCode.NO_SANDBOX]
    lines = apart([one.model_dump() for one in (wall, *problems)])
    return [{"node": name, "ok": True, **one} for one in lines]


def known_node(tx: Transaction, name: str) -> Node:
    """The machine of that name; NotFoundError with the nearest one."""
    found = tx.get(Node, name)
    if found is None or found.removed == NodeState.REMOVED:
        names = [n.name for n in tx.find(Node) if n.removed is None]
        raise not_found("node", name, names, "pancode node ls")
    return found


def _node(core: Core, tx: Transaction, view: NodeView, since: Since) -> NodeShape:
    beat = view.last.heartbeat if view.last is not None else None
    facts = beat.facts if beat is not None else None
    used = sum(1 for fence in open_fences(tx, node=view.node.name) if holds_slot(fence))
    skew = _skew(core, view, beat)
    return {
        "name": view.node.name,
        "state": _shown(view.state, used).value,
        "since": _since(core, view, since),
        "slots": {"used": used, "total": view.node.slots},
        "runtimes": [_runtime(facts, r) for r in facts.runtimes] if facts is not None else [],
        "endpoints": [endpoint_shape(one) for one in facts.endpoints] if facts is not None else [],
        "labels": dict(view.node.labels),
        "version": beat.version if beat is not None else None,
        "clock_skew_s": skew,
        "disk_free": facts.disk_free if facts is not None else None,
        "isolation": facts.isolation.value if facts is not None else None,
        "problems": _problems(view, core.reaching(view.node.name), skew) + _passed_over(core, view.node.name),
    }


def _runtime(facts: NodeFacts, fact: RuntimeFact) -> Json:
    """With the machine's own model servers that it can ask, for which nobody has to log in."""
    served = {"endpoints": list(asks(facts, fact.name)), "served": _is_served(facts, fact)}
    return {**apart(fact.model_dump(mode="json")), **served}


def _shown(state: NodeState, used: int) -> NodeState:
    """A heartbeat may be from before a run that has begun since: by our own books it is not drained yet."""
    return NodeState.DRAINING if state is NodeState.DRAINED and used else state


def _since(core: Core, view: NodeView, since: Since) -> str:
    noted = since.note(view, core.wall_ms())
    if view.state is NodeState.NEW:
        return at(view.node.added_ms)
    if view.state in _SILENT and view.silent_ms is not None:
        return at(min(noted, core.wall_ms() - view.silent_ms))
    return at(noted)


def _skew(core: Core, view: NodeView, beat: Heartbeat | None) -> float | None:
    """Node's wall clock less ours, in seconds; None while it is not known.

    Known from bring-up. A heartbeat tells it only to within the age of the beat that it echoes, and corrects
    what cannot be so any more.
    """
    probed = view.node.facts.get("clock_skew_ms")
    measured = round(probed / 1000, 1) if isinstance(probed, int) else None
    if beat is None or beat.echo is None or beat.echo.epoch != core.epoch:
        return measured
    then_ms = core.wall_ms() - (core.now().ms - beat.echo.ms)
    seen = (beat.facts.wall_ms - then_ms) / 1000
    return skew_within(measured, seen - (core.now().ms - beat.echo.ms) / 1000, seen)


def _problems(view: NodeView, reaching: Reaching, skew: float | None) -> list[Json]:
    beat = view.last.heartbeat if view.last is not None else None
    found = _state_problem(view, reaching)
    if beat is not None:
        found += _other_version(view.node.name, beat.version)
        found += apart([p.model_dump() for p in beat.facts.problems])
        runtimes = [
            r for r in beat.facts.runtimes if r.state in ("not_logged_in", "unknown_version", "too_old")
        ]
        runtimes = [r for r in runtimes if r.name != OUR_OWN]  # nobody put it there to be used
        runtimes = [r for r in runtimes if not _is_served(beat.facts, r)]
        found += apart([{"what": f"{r.name} {r.state.replace('_', ' ')}", "fix": r.fix} for r in runtimes])
    if skew is not None and abs(skew) > SKEW_S:
        fix = f"set the clock of {view.node.name} (timedatectl set-ntp true)"
        found.append({"what": f"its clock is {skew:+.0f} s off", "fix": fix})
    return found


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


def _is_served(facts: NodeFacts, fact: RuntimeFact) -> bool:
    """A program that is no vendor's own is logged in nowhere, and asks the model servers that there are."""
    kind = RUNTIMES.get(fact.name)
    if fact.state != "not_logged_in" or kind is None or kind.provider is not None:
        return False
    return bool(asks(facts, fact.name))


def _passed_over(core: Core, name: str) -> list[Json]:
    """Problems from recent refusals, which the node's own report may not show yet."""
    return [{"what": shun.why, "fix": shun.fix} for shun in passed_over.of_node(core, name)]


def _state_problem(view: NodeView, reaching: Reaching) -> list[Json]:
    name = view.node.name
    if view.state is NodeState.QUARANTINED:
        what = f"{name} is quarantined: {view.node.quarantined}"
        return [{"what": what, "fix": f"look at what runs there, then: pancode fleet resume {name}"}]
    if view.state in (NodeState.NEW, *_SILENT) and reaching.why:
        return [{"what": f"{name} is {view.state}: {reaching.why}", "fix": reaching.fix}]
    if view.state in (NodeState.NEW, *_SILENT):
        words = "was never brought up" if view.state is NodeState.NEW else f"is {view.state}"
        return [{"what": f"{name} {words}", "fix": f"pancode fleet up {name}"}]
    if view.state is NodeState.NOT_CLEANED:
        return [{"what": f"{name} is removed, not cleaned", "fix": f"pancode node rm {name}"}]
    return []
