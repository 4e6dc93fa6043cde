"""The fleet as last reported: each node's state, slots, runtimes and problems, each problem with its fix."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import cast

from node_agent.wire.node import GpuLoad, Heartbeat, NodeFacts, NodeProblem, ProblemCode, RuntimeFact
from pancode import __version__
from pancode.agents.answers import RuntimeFacts, RuntimeTold
from pancode.agents.endpoints import list_usable
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, is_listed
from pancode.fleet.answers import (
    CheckLine,
    CoordinatorShape,
    FleetShape,
    GpuShape,
    MachineFacts,
    NodeDetail,
    NodeShape,
    ProblemShape,
    ReachShape,
    RoomRow,
    RunningShape,
    SlotsShape,
    TroubleShape,
)
from pancode.fleet.model_service import endpoint_shape
from pancode.fleet.place import Reach
from pancode.kernel.declared import from_json, to_json
from pancode.kernel.formatting import count_noun, format_bytes
from pancode.kernel.names import not_found
from pancode.kernel.node import (
    SHORT_DISK,
    SILENT,
    Linked,
    NodeState,
    NodeView,
    Reaching,
    describe_isolation,
    gpu_labels,
    gpu_name,
    separate_advice,
    skew_within,
)
from pancode.kernel.ports import Transaction
from pancode.kernel.records import GpuHold, Node, Run, Setting
from pancode.kernel.values import replace
from pancode.runs.core import Core, open_leases
from pancode.runs.life.case import holds_slot
from pancode.runs.placement import breaker_service
from pancode.runs.placement.candidates import gpus_seen
from pancode.runs.views import format_iso

SKEW_S = 30.0
"""A clock difference of fewer seconds than this is not reported."""
_SET = "timedatectl set-ntp true"


@dataclass(frozen=True, slots=True)
class ClockVerdict:
    """The problem of the coordinator's own clock, if any, and those of nodes, by name."""

    own: TroubleShape | None = None
    nodes: Mapping[str, ProblemShape] = field(default_factory=dict)


def judge_clocks(skews: Mapping[str, float], here: Collection[str], ahead_s: float) -> ClockVerdict:
    """Find wrong clocks. `skews`: each node's clock minus the coordinator's, in seconds; `here`: nodes on the
    coordinator's machine; `ahead_s`: how far in the future the newest run was queued.

    If all other nodes differ in one direction, the coordinator's clock is wrong; of two, either may be.
    """
    others = {name: skew for name, skew in skews.items() if name not in here}
    wrong = [skew for skew in others.values() if abs(skew) > SKEW_S]
    against = bool(wrong) and len(wrong) == len(others) and len({skew > 0 for skew in wrong}) == 1
    if against and (len(others) > 1 or (ahead_s > SKEW_S and wrong[0] > 0)):
        true = median_low(list(others.values()))
        off = {name: skew - true for name, skew in others.items() if abs(skew - true) > SKEW_S}
        return ClockVerdict(_make_own_trouble(true, len(others), ahead_s), _make_skew_problems(off))
    if against:
        ((name, skew),) = others.items()
        what = f"the node's clock and the coordinator's differ by {skew:+.0f} s; either may be wrong"
        fix = f"compare `date -u` on both machines with a third clock, then set the wrong one ({_SET})"
        return ClockVerdict(
            None, {**_make_skew_problems(_select_skewed(skews, here)), name: {"what": what, "fix": fix}}
        )
    return ClockVerdict(None, _make_skew_problems(_select_skewed(skews, skews)))


def _select_skewed(skews: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    return {name: skew for name, skew in skews.items() if name in names and abs(skew) > SKEW_S}


def _make_skew_problems(off: Mapping[str, float]) -> dict[str, ProblemShape]:
    return {
        name: {"what": f"its clock is {skew:+.0f} s off", "fix": f"set the clock of {name} ({_SET})"}
        for name, skew in off.items()
    }


def _make_own_trouble(true_s: float, nodes: int, ahead_s: float) -> TroubleShape:
    why = f"the clocks of {count_noun(nodes, 'node')} differ from the coordinator's in the same direction"
    if nodes == 1:
        why = (
            f"the only node's clock differs, and the newest run was queued {ahead_s:.0f} s ahead of the "
            "coordinator's"
        )
    what = f"the clock of the coordinator's machine is {-true_s:+.0f} s off"
    return {"what": what, "why": why, "fix": f"set the clock of this machine ({_SET})"}


def sandbox_lines(name: str, facts: NodeFacts) -> list[CheckLine]:
    """Return lines on what the node's sandbox enforces, why it does not enforce more, and the node's disk."""
    lacks = [one for one in facts.problems if one.code is ProblemCode.NO_SANDBOX]
    lines = [
        _make_check_line(
            name,
            NodeProblem(what=f"isolation {facts.isolation}: holds {describe_isolation(facts.isolation)}"),
        )
    ]
    lines += [_make_check_line(name, one) for one in lacks]
    if facts.room:
        filled = ", ".join(f"{one.what} {format_bytes(one.bytes)}" for one in facts.room[:4])
        lines.append(
            _make_check_line(name, NodeProblem(what=f"disk {format_bytes(facts.disk_free)} free; {filled}"))
        )
    return lines + [_make_check_line(name, one, ok=not one.fix) for one in facts.problems if one not in lacks]


def _make_check_line(node: str, problem: NodeProblem, *, ok: bool = True) -> CheckLine:
    return {"node": node, "ok": ok, **_make_problem(problem)}


def _make_problem(problem: NodeProblem) -> ProblemShape:
    """Return a problem that a node reported: the node's advice is in `says`, and `fix` is empty."""
    return {"what": problem.what, "fix": "", "says": problem.fix, "code": problem.code.value}


def problems_of(view: NodeView, reaching: Reaching, clock: ProblemShape | None) -> list[ProblemShape]:
    """Return every problem of the node that a user should fix; `clock`: the problem of its clock."""
    heartbeat = view.last.heartbeat if view.last is not None else None
    found = _state_problem(view, reaching)
    if heartbeat is not None:
        found += _other_version(view.node.name, heartbeat.version)
        found += separate_advice([p.model_dump() for p in heartbeat.facts.problems])
        runtimes = [
            r for r in heartbeat.facts.runtimes if r.state in ("not_logged_in", "unknown_version", "too_old")
        ]
        runtimes = [r for r in runtimes if r.name != OUR_OWN]  # a user did not install it there
        runtimes = [r for r in runtimes if not is_served(heartbeat.facts, r)]
        found += separate_advice(
            [{"what": f"{r.name} {r.state.replace('_', ' ')}", "fix": r.fix} for r in runtimes]
        )
    found += false_labels(view)
    return found if clock is None else [*found, clock]


def _other_version(name: str, version: str) -> list[ProblemShape]:
    """Return the problem of a node agent of another version; if newer, this process may be outdated."""
    if version == __version__:
        return []
    what = f"its node agent has PanCode {version}, the coordinator has {__version__}"
    newer = f"; to use {version} instead, install it on this machine, then: pancode fleet down"
    fix = f"pancode fleet up {name}{newer if _release(version) > _release(__version__) else ''}"
    return [{"what": what, "fix": fix}]


def _release(version: str) -> list[int]:
    """Return the version without its suffix; a release candidate counts as its release."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(number) for number in found[0].split(".")] if found else []


def is_served(facts: NodeFacts, fact: RuntimeFact) -> bool:
    """Whether a runtime without its own vendor and login can use one of the node's model servers."""
    kind = RUNTIMES.get(fact.name)
    if fact.state != "not_logged_in" or kind is None or kind.provider is not None:
        return False
    return bool(list_usable(facts, fact.name))


def _state_problem(view: NodeView, reaching: Reaching) -> list[ProblemShape]:
    name = view.node.name
    if view.state is NodeState.QUARANTINED:
        what = f"{name} is quarantined: {view.node.quarantined}"
        return [{"what": what, "fix": f"check what runs there, then: pancode fleet resume {name}"}]
    if view.state in (NodeState.NEW, *SILENT) and reaching.why:
        return [{"what": f"{name} is {view.state}: {reaching.why}", "fix": reaching.fix}]
    if view.state in (NodeState.NEW, *SILENT):
        words = "was never brought up" if view.state is NodeState.NEW else f"is {view.state}"
        return [{"what": f"{name} {words}", "fix": f"pancode fleet up {name}"}]
    if view.state is NodeState.NOT_CLEANED:
        return [{"what": f"{name} is removed, not cleaned", "fix": f"pancode node rm {name}"}]
    return []


def list_nodes(core: Core) -> list[NodeShape]:
    """Return all nodes that were not removed."""
    with core.ports.ledger.transaction() as tx:
        views = [view for view in core.views(tx) if view.state is not NodeState.REMOVED]
        return _make_nodes(core, tx, views, _judge_node_clocks(core, tx, views))


def get_fleet(core: Core, process: RunningShape) -> FleetShape:
    """Return the coordinator and its nodes. `process`: facts that only the coordinator's process knows."""
    with core.ports.ledger.transaction() as tx:
        views = [view for view in core.views(tx) if view.state is not NodeState.REMOVED]
        clocks = _judge_node_clocks(core, tx, views)
        nodes = _make_nodes(core, tx, views, clocks)
        paused, draining = (tx.get(Setting, name) for name in ("paused", "draining"))
    coordinator: CoordinatorShape = {
        **process,
        "fleet": core.fleet,
        "epoch": core.epoch,
        "paused": None if paused is None else str(paused.value),
        "draining": None if draining is None else str(draining.value),
        "refused_envelopes": dict(core.live.tally.refusals),
        "clock": clocks.own,
    }
    return {"coordinator": coordinator, "nodes": nodes}


def _make_nodes(
    core: Core, tx: Transaction, views: Sequence[NodeView], clocks: ClockVerdict
) -> list[NodeShape]:
    newest = newest_of(views)
    return [_make_node(core, tx, view, clocks, newest) for view in views]


def get_node(core: Core, name: str) -> NodeDetail:
    """Return a node, how it is reached, and what it reported (`facts`: None before its first report).

    The names of its variables and secrets are omitted and used only by `dispatch`: names reveal much, and
    everyone with read access can call this.
    """
    with core.ports.ledger.transaction() as tx:
        found = known_node(tx, name)
        view = core.view_of(found)
        views = core.views(tx)
        shape = _make_node(core, tx, view, _judge_node_clocks(core, tx, views), newest_of(views))
    # What SSH has never reached has no target.
    never = {"alias": "", "host": "", "port": 0, "user": ""}
    never |= dict.fromkeys(("identities", "hops", "proxy", "warnings"), ())
    reach = from_json(Reach, {"target": {}, **found.target})
    facts: MachineFacts | None = None
    if view.last is not None:
        inventory = view.last.heartbeat.facts.model_dump(mode="json", exclude={"variables"})
        facts = separate_advice({**found.facts, **inventory})
    return {
        **shape,
        "target": cast("ReachShape", to_json(replace(reach, target={**never, **reach.target}))),
        "tag": found.tag,
        "public_key": found.public_key,
        "added_at": format_iso(found.added_ms),
        "draining": found.draining,
        "paused": found.paused,
        "quarantined": found.quarantined,
        "facts": facts,
        "session": None if view.last is None else view.last.heartbeat.session,
        "heartbeat": None if view.last is None else view.last.heartbeat.seq,
    }


def check_sandboxes(core: Core, names: Sequence[str]) -> list[CheckLine]:
    """Return lines of `doctor` for these nodes (default: all): what the sandbox enforces and what it
    does not. A node that has not reported is omitted, since another line shows that."""
    with core.ports.ledger.transaction() as tx:
        nodes = [n for n in tx.find(Node) if n.removed is None and (not names or n.name in names)]
    lines = list[CheckLine]()
    for view in map(core.view_of, nodes):
        if view.last is not None:
            lines += sandbox_lines(view.node.name, view.last.heartbeat.facts)
            for one in false_labels(view):
                lines.append({"node": view.node.name, "ok": False, "what": one["what"], "fix": one["fix"]})
    return lines


def list_disk_use(core: Core) -> list[RoomRow]:
    """Return what uses the disk of each node, as last reported: `node`, `what`, `bytes`."""
    with core.ports.ledger.transaction() as tx:
        nodes = [node for node in tx.find(Node) if node.removed is None]
    heartbeats = [(node.name, core.view_of(node).last) for node in nodes]
    rooms = [(name, one.heartbeat.facts.room) for name, one in heartbeats if one is not None]
    return [{"node": name, "what": one.what, "bytes": one.bytes} for name, room in rooms for one in room]


def must_exist(core: Core, names: Sequence[str]) -> None:
    """Raise NotFoundError for the first name that is not a node of the fleet."""
    with core.ports.ledger.transaction() as tx:
        for name in names:
            known_node(tx, name)


def known_node(tx: Transaction, name: str) -> Node:
    """Return the node with this name; NotFoundError with the nearest name."""
    found = tx.get(Node, name)
    if found is None or found.removed == NodeState.REMOVED:
        names = [n.name for n in tx.find(Node) if n.removed is None]
        raise not_found("node", name, names, f"pancode node ls; to add a node: pancode node add {name}")
    return found


NewestPrograms = Mapping[str, tuple[list[int], str]]


def newest_of(views: Sequence[NodeView]) -> NewestPrograms:
    """Return each agent program's newest version on a node of the fleet, as numbers, and `NODE has VERSION`.
    No package index is queried. PanCode's own runtime and versions that are not plain numbers are skipped."""
    found = dict[str, tuple[list[int], str]]()
    for view in views:
        there = view.last.heartbeat.facts.runtimes if view.last is not None and not view.node.removed else ()
        for fact in there:
            if (rank := _parse_version(fact)) > found.get(fact.name, ([], ""))[0] and fact.name != OUR_OWN:
                found[fact.name] = rank, f"{view.node.name} has {fact.version}"
    return found


def _parse_version(fact: RuntimeFact) -> list[int]:
    version = fact.version or ""
    return _release(version) if re.fullmatch(r"\d+(\.\d+)+", version) else []


def _make_node(
    core: Core, tx: Transaction, view: NodeView, clocks: ClockVerdict, newest: NewestPrograms
) -> NodeShape:
    heartbeat = view.last.heartbeat if view.last is not None else None
    facts = heartbeat.facts if heartbeat is not None else None
    used = sum(1 for lease in open_leases(tx, node=view.node.name) if holds_slot(lease))
    skew = _find_skew(core, view, heartbeat)
    parts = facts.room if facts is not None and facts.disk_free < SHORT_DISK else ()
    most = max(parts, key=lambda part: part.bytes, default=None)
    return {
        "name": view.node.name,
        "state": _settle_state(view.state, used).value,
        "since": _find_since(core, tx, view),
        "slots": _make_slots(view, used, core.live.binding.speed.why),
        "runtimes": [
            _make_runtime(view.node.name, facts, r, newest) for r in facts.runtimes if is_listed(r.name)
        ]
        if facts is not None
        else [],
        "endpoints": [endpoint_shape(one) for one in facts.endpoints] if facts is not None else [],
        "labels": dict(view.node.labels),
        "version": heartbeat.version if heartbeat is not None else None,
        "clock_skew_s": skew,
        "disk_free": facts.disk_free if facts is not None else None,
        "disk_most": None if most is None else {"what": most.what, "bytes": most.bytes},
        "linked": core.live.links.counts.get(view.node.name, Linked()).up,
        "isolation": facts.isolation.value if facts is not None else None,
        "gpus": gpu_shapes(view, tx.find(GpuHold) if facts is not None and facts.gpus else ()),
        "gpu_rule": view.node.gpus.value,
        "gpu_labels": gpu_labels(facts),
        "problems": problems_of(view, core.reaching(view.node.name), clocks.nodes.get(view.node.name))
        + _passed_over(core, view.node.name)
        + _list_flood(core, view.node),
    }


def gpu_shapes(view: NodeView, holds: Sequence[GpuHold]) -> list[GpuShape]:
    """Return the GPUs of a node, with the runs that use them exclusively."""
    if view.last is None:
        return []
    heartbeat = view.last.heartbeat
    loads = {one.uuid: one for one in heartbeat.gpus}
    holders = {one.uuid: one.holder for one in gpus_seen(view, holds, ())}
    shapes = list[GpuShape]()
    for fact in heartbeat.facts.gpus:
        load = loads.get(fact.uuid, GpuLoad(uuid=fact.uuid))
        shape: GpuShape = {
            "index": fact.index,
            "uuid": fact.uuid,
            "name": fact.name,
            "short": gpu_name(fact.name),
            "vendor": fact.vendor,
            "driver": fact.driver,
            "memory": fact.memory,
            "memory_free": load.memory_free,
            "busy": load.busy,
            "unknown_since": None if load.unknown_since_ms is None else format_iso(load.unknown_since_ms),
            "holder": holders.get(fact.uuid) or None,
        }
        shapes.append(shape)
    return shapes


def false_labels(view: NodeView) -> list[ProblemShape]:
    """Return the owner's labels that contradict the GPUs that the node has found, with fixes."""
    facts = view.last.heartbeat.facts if view.last is not None else None
    found, name = gpu_labels(facts), view.node.name
    return [
        {
            "what": f"label {key}={value} of {name} contradicts its hardware: {key}={found[key]} was found",
            "fix": f"pancode node set {name} --unlabel {key}  ({key}={found[key]} is set automatically)",
        }
        for key, value in sorted(view.node.labels.items())
        if key in found and found[key].casefold() != value.casefold()
    ]


def _make_slots(view: NodeView, used: int, hurry: str) -> SlotsShape:
    """Return the node's slots. With bounds, its heartbeat reports how many slots it uses now; with a `hurry`
    (the day's budget is spent too fast), only the minimum is opened."""
    total, ask = view.node.slots, view.last.heartbeat.ask if view.last is not None else None
    if ask is None or view.node.least is None:
        return {"used": used, "total": total, "now": total, "why": ""}
    now = min(ask.slots, total, max(view.node.least, used) if hurry else total)
    return {"used": used, "total": total, "now": now, "why": ", ".join(filter(None, (ask.why, hurry)))}


def _make_runtime(name: str, facts: NodeFacts, fact: RuntimeFact, newest: NewestPrograms) -> RuntimeFacts:
    """Return the runtime with the node's own model servers that it can use without a login; `old`: a node
    with a newer version, and the install command. A version that a user chose is never old."""
    mine, (rank, where) = _parse_version(fact), newest.get(fact.name, ([], ""))
    hint = "" if fact.brought else " (or update it as it was installed)"
    is_old = bool(mine) and mine < rank and fact.brought != "chosen"
    old = f"{where}: pancode node install {name} {fact.name}{hint}" if is_old else ""
    shape: RuntimeTold = separate_advice(fact.model_dump(mode="json"))
    return {
        **shape,
        "endpoints": list(list_usable(facts, fact.name)),
        "served": is_served(facts, fact),
        "old": old,
    }


def _settle_state(state: NodeState, used: int) -> NodeState:
    """Return the state to show: while the ledger has a run on the node, the node is not drained yet."""
    return NodeState.DRAINING if state is NodeState.DRAINED and used else state


def _find_since(core: Core, tx: Transaction, view: NodeView) -> str:
    """Return when a silent node was last heard, else since when the node has its state."""
    seen = core.live.outages.shown
    state, noted = seen.get(view.node.name, (None, 0))
    if state is not view.state:
        noted = core.wall_ms()
        seen[view.node.name] = (view.state, noted)
    if view.state is NodeState.NEW:
        return format_iso(view.node.added_ms)
    if view.state in SILENT:
        noted = core.last_heard_ms(tx, view) or noted
    return format_iso(noted)


def _judge_node_clocks(core: Core, tx: Transaction, views: Sequence[NodeView]) -> ClockVerdict:
    """Judge the clocks of nodes whose skew is known, or which have sent this coordinator a heartbeat."""
    skews = dict[str, float]()
    for view in views:
        heartbeat = view.last.heartbeat if view.last is not None else None
        skew = _find_skew(core, view, heartbeat)
        if skew is not None or (
            heartbeat is not None and heartbeat.echo is not None and heartbeat.echo.epoch == core.epoch
        ):
            skews[view.node.name] = skew or 0.0
    here = [view.node.name for view in views if view.node.target.get("local")]
    newest = tx.find(Run, order="created_ms", descending=True, limit=1)
    ahead_ms = newest[0].created_ms - core.wall_ms() if newest else 0
    return judge_clocks(skews, here, ahead_ms / 1000)


def _find_skew(core: Core, view: NodeView, heartbeat: Heartbeat | None) -> float | None:
    """Return the node's wall clock minus the coordinator's, in seconds; None while it is not known.

    The difference is measured at the bring-up. A heartbeat is only accurate to the age of the heartbeat that
    it echoes; it corrects a measurement that can no longer be true.
    """
    probed = view.node.facts.get("clock_skew_ms")
    measured = round(probed / 1000, 1) if isinstance(probed, int) else None
    if heartbeat is None or heartbeat.echo is None or heartbeat.echo.epoch != core.epoch:
        return measured
    then_ms = core.wall_ms() - (core.now().ms - heartbeat.echo.ms)
    seen = (heartbeat.facts.wall_ms - then_ms) / 1000
    return skew_within(measured, seen - (core.now().ms - heartbeat.echo.ms) / 1000, seen)


def _passed_over(core: Core, name: str) -> list[ProblemShape]:
    """Return the node's recent refusals of jobs as problems, which its own report may not show yet."""
    return [{"what": shun.why, "fix": shun.fix} for shun in breaker_service.of_node(core, name)]


def _list_flood(core: Core, node: Node) -> list[ProblemShape]:
    flood = core.live.floods.get(node.tag or "")
    return (
        []
        if flood is None
        else [
            {"what": one["what"], "fix": one["fix"]}
            for one in flood.problem(node.name, core.ports.clock.boot_ms())
        ]
    )
