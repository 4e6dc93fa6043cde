"""What users do: dispatch, stop, retry, drain, pause, change slots and ceilings, take nodes out."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from decimal import Decimal
from functools import partial
from typing import Any

from node_agent.attempt.accept import Ceiling
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import Mode, Safety
from pancode.budget.books import Ceilings
from pancode.config.fleet_settings import pause_queue
from pancode.fleet import inventory
from pancode.kernel.ports import SnapshotRequest
from pancode.kernel.records import Lease, LeaseState, Node, Run, RunState, Setting
from pancode.runs import stop as runs_stop
from pancode.runs.ceilings import set_ceilings
from pancode.runs.core import CEILING, WORK_CEILING
from pancode.runs.restored.release import release
from tests.fakes.node import Script
from tests.simulation.kinds import ENDLESS
from tests.simulation.machines import Machine
from tests.simulation.world import SimWorld
from tests.unit.pancode.runs.world import enqueue


def dispatch(w: SimWorld) -> None:
    core = w.coordinator.awake
    if core is None or w.number >= w.kind.most_runs:
        return
    w.number += 1
    run_id = f"r-s{w.number:04d}"
    run, script = a_run(w, run_id), a_script(w)
    for machine in w.machines:
        machine.scripts[run_id] = script
    w.say(f"dispatch {run_id} on {run.node} ro={run.read_only} lost={run.on_lost} {script.duration_ms} ms")
    w.runs.append(run_id)
    if not w.coordinator.ask(lambda core: enqueue(core, run)):
        w.say(f"{run_id} was not queued")


def a_script(w: SimWorld) -> Script:
    r = w.random
    cost = r.choice(("0.01", "0.30", "1.50"))
    answer = f'{{"answer": "did it", "in": 10, "out": 5, "usd": "{cost}"}}\n'
    return Script(
        duration_ms=r.choice(w.kind.durations),
        exit_code=r.choice((0, 0, 0, 0, 1)),
        output=r.choice((answer, answer, answer, "", '{"answer": "x"}\n')).encode(),
        kind=r.choice(("change", "change", "empty")),
        stop_ms=r.choice((0, 1_000, 30_000)),
        setup_code=r.choice((0, 0, 0, 0, 1)),
        gate_codes=(r.choice((0, 0, 0, 1, 127)),),
        gate_ms=r.choice((0, 100, 5_000)),
        commit_fails=r.random() < 0.03,
        start_fails=r.random() < 0.03,
    )


def a_run(w: SimWorld, run_id: str) -> Run:
    r = w.random
    git = r.random() < 0.6
    snapshot = w.coordinator.depot.snapshot(SnapshotRequest("p", run_id)).snapshot
    workspace: dict[str, object] = {"kind": "git", "repo": "repo-1", "base": None, "snapshot": snapshot}
    fields: dict[str, Any] = {
        "id": run_id,
        "created_ms": w.clock.wall_ms(),
        "created_by": "sim",
        "task": "work",
        "argv": None,
        "agent": r.choice(("builder", "scout")),
        "prompt": "",
        "tools": (),
        "read_only": r.random() < 0.25,
        "runtime": "scripted",
        "model": None,
        "mode": Mode.BUILD,
        "safety": Safety.AUTO_EDIT,
        "told_only": False,
        "node": r.choice((None, None, w.machine().name)),
        "require": r.choice(({}, {}, {}, {"name": w.machine().name})),
        "priority": r.choice((0, 0, 5)),
        "project": None,
        "workspace": workspace if git else {"kind": "none"},
        "setup": (("setup",),) if r.random() < 0.2 else (),
        "cache": ("node_modules",),
        "gates": ({"name": "verify", "argv": ["check"]},) if r.random() < 0.5 else (),
        "limits": {"wall_ms": 3_600_000, "idle_ms": 600_000, "output_bytes": 1 << 20, "usd": "1.00"},
        "env": (),
        "secrets": (),
        "depth": 0,
        "estimate_usd": Decimal(r.choice(("0", "0.20", "0.75"))),
        "estimate_tokens": r.choice((0, 100, 700)),
        "estimate_ms": r.choice((0, 30_000, 600_000)),
        "on_lost": r.choice(w.kind.careless),
        "max_attempts": r.choice((None, None, 1, 2)),
        "trace": "t",
    }
    return Run(**fields)


def stop(w: SimWorld) -> None:
    if w.runs:
        stop_run(w, w.random.choice(w.runs))


def stop_run(w: SimWorld, run_id: str) -> None:
    """Taken down as a wish only when it got an answer: a caller who got none asks again."""
    w.say(f"stop {run_id}")
    if w.coordinator.ask(lambda core: runs_stop.stop_run(core, run_id, "by the simulation")):
        with w.coordinator.seen() as tx:
            run = tx.get(Run, run_id)
        if run is not None and run.stop_asked is not None:
            w.truth.asked_to_stop(run_id)


def retry(w: SimWorld) -> None:
    if not w.runs or w.number >= w.kind.most_runs:
        return
    run_id = w.random.choice(w.runs)
    with w.coordinator.seen() as tx:
        lost = [r.id for r in tx.find(Run, {"state": RunState.ENDED}) if r.outcome is Outcome.LOST]
    if lost and w.random.random() < 0.8:
        run_id = w.random.choice(lost)
    w.say(f"retry {run_id}")
    fresh = a_retry(w, run_id)
    if fresh is None:
        return
    w.number += 1
    for machine in w.machines:
        machine.scripts[fresh.id] = replace(machine.scripts[run_id], duration_ms=500)
    w.coordinator.ask(lambda core: enqueue(core, fresh))
    with w.coordinator.seen() as tx:
        queued = tx.get(Run, fresh.id) is not None
    if queued:
        w.runs.append(fresh.id)
    if queued and run_id in lost:
        w.truth.given_up.add(run_id)


def a_retry(w: SimWorld, run_id: str) -> Run | None:
    """The same request once more, as the gates let it pass; None while the old one has not ended."""
    with w.coordinator.seen() as tx:
        old = tx.get(Run, run_id)
    if old is None or old.state is not RunState.ENDED:
        return None
    asked = {f.name: getattr(old, f.name) for f in fields(Run) if f.default is f.default_factory is MISSING}
    new = {"id": f"r-again{w.number:04d}", "created_ms": w.clock.wall_ms(), "created_by": "sim"}
    return Run(**{**asked, **new}, retry_of=old.id)


def drain(w: SimWorld) -> None:
    machine, reason = w.machine(), w.random.choice((None, "sim"))
    w.say(f"drain {machine.name} {reason}")
    w.coordinator.ask(lambda core: inventory.drain(core, machine.name, reason, "sim"))


def pause(w: SimWorld) -> None:
    value = w.random.choice((None, "sim"))
    w.say(f"pause {value}")
    w.coordinator.ask(lambda core: pause_queue(core, None, value, "sim"))


def resize(w: SimWorld) -> None:
    machine, slots = w.machine(), w.random.choice((1, 2, 3))
    w.say(f"{machine.name} gets {slots} slots")
    machine.most_slots = max(machine.most_slots, slots)
    set_slots = partial(inventory.change, name=machine.name, edit=lambda n: replace(n, slots=slots))
    if w.coordinator.ask(set_slots):
        machine.slots = min(machine.slots, slots)


def bounds(w: SimWorld) -> None:
    """Its owner lets a machine decide by itself how many it takes."""
    machine, slots = w.machine(), w.random.choice((2, 3))
    w.say(f"{machine.name} gets 1 to {slots} slots")
    machine.most_slots = max(machine.most_slots, slots)
    w.coordinator.ask(
        partial(inventory.change, name=machine.name, edit=lambda n: replace(n, slots=slots, least=1))
    )


def strain(w: SimWorld) -> None:
    machine, load = w.machine(), w.random.choice((0.1, 0.1, 1.2, 2.0, 2.0))
    w.say(f"{machine.name} has the load {load}")
    machine.load = machine.facts.load = load


def ceiling(w: SimWorld) -> None:
    usd = Decimal(w.random.choice(("2", "4", "6")))
    scope = w.random.choice(("day", "day", "agent:builder", "node", f"node:{w.machine().name}"))
    work = (Ceilings(tokens=2_000), Ceilings(ms=1_800_000), Ceilings(usd, 3_000))
    said = w.random.choice((Ceilings(usd), *work))
    w.say(f"ceiling of {scope} {said}")
    w.coordinator.ask(lambda core: set_ceilings(core, scope, said, "sim"))


def owner(w: SimWorld) -> None:
    """The owner of a machine writes another `ceiling.json`, or takes it away."""
    machine = w.machine()
    limits: tuple[Ceiling, ...] = (
        Ceiling(),
        Ceiling(runtimes=("shell",)),
        Ceiling(safety=Safety.SUGGEST),
        Ceiling(repositories=()),
    )
    allowed = w.random.choice(limits)
    w.say(f"{machine.name} allows {allowed!r}")
    machine.allow(allowed)


# -- nodes leave ---------------------------------------------------------------------------------


def revoke(w: SimWorld) -> None:
    """`node rm`, first half: at once, whether the node is there or not."""
    machine = w.machine()
    w.say(f"revoke {machine.name}")
    w.coordinator.ask(lambda core: inventory.revoke(core, machine.name))


def forget(w: SimWorld) -> None:
    """`node rm`, second half: it was cleaned, which was proven."""
    machine = w.machine()
    if machine.gone or w.coordinator.awake is None:
        return
    w.say(f"{machine.name} is cleaned and forgotten")
    w.coordinator.ask(lambda core: inventory.revoke(core, machine.name))
    take_away(w, machine)
    w.coordinator.ask(lambda core: inventory.forget(core, machine.name))


def vanish(w: SimWorld) -> None:
    """`node rm` of a machine that never comes back."""
    machine = w.machine()
    w.say(f"{machine.name} vanishes")
    take_away(w, machine)
    w.coordinator.ask(lambda core: inventory.revoke(core, machine.name))


def take_away(w: SimWorld, machine: Machine) -> None:
    machine.power_cut()
    machine.gone = True
    w.truth.trusted.add(machine.name)


# -- the end of faults ---------------------------------------------------------------------------


def wind_up(w: SimWorld) -> None:
    """What users do in the end: nothing is paused, there is money, what cannot end is stopped, once."""
    core = w.coordinator.core
    assert core is not None
    for machine in w.machines:
        machine.allow(Ceiling())
        if not machine.gone:
            w.coordinator.ask(partial(inventory.drain, name=machine.name, reason=None, by="sim"))
    pause_queue(core, None, None, "sim")
    _be_generous(w)
    with w.coordinator.seen() as tx:
        may_run = [r for r in tx.find(Run) if r.state is not RunState.ENDED or r.outcome is Outcome.LOST]
    for machine in w.machines:
        if machine.gone:
            w.coordinator.ask(partial(inventory.revoke, name=machine.name))
    for run in may_run:
        endless = any(m.scripts.get(run.id, Script()).duration_ms >= ENDLESS for m in w.machines)
        done_with = run.id in w.truth.stops or run.id in w.truth.given_up
        if endless and not done_with:
            stop_run(w, run.id)


def _be_generous(w: SimWorld) -> None:
    with w.coordinator.seen() as tx:
        names = [s.name for s in tx.find(Setting) if s.name.startswith((CEILING, WORK_CEILING))]
    much = Ceilings(Decimal(10_000), 10**12, 10**15)
    for scope in sorted({"day", *(name.partition(":")[2] for name in names)}):
        w.coordinator.ask(partial(set_ceilings, scope=scope, ceilings=much, by="sim"))


def stop_homeless(w: SimWorld) -> None:
    """What waits for nodes that have left the fleet waits for ever, and says so, until somebody ends it."""
    with w.coordinator.seen() as tx:
        bound = {f.run for f in tx.find(Lease) if f.state is not LeaseState.CLOSED}
        nodes = tx.find(Node)
        waiting = [r for r in tx.find(Run, {"state": RunState.PENDING}) if r.id not in bound]
    for run in waiting:
        if not _has_home(run, nodes):
            stop_run(w, run.id)


def _has_home(run: Run, nodes: list[Node]) -> bool:
    """Whether a node that is still of the fleet could take it."""
    staying = [n for n in nodes if n.removed is None]
    return any(
        run.node in (None, n.name) and all(n.labels.get(k) == v for k, v in run.require.items())
        for n in staying
    )


NODES_REPORT = 30
"""After so many steps of the end each node that is there has reported what it did before a restore."""


def release_early(w: SimWorld) -> None:
    """A user does not wait for what the nodes say."""
    w.say("all that is held is released")
    release_held(w, NODES_REPORT)


def release_held(w: SimWorld, number: int) -> None:
    """At the end a user starts all that a restored coordinator holds."""
    if number == NODES_REPORT:
        w.truth.held_runs.clear()
        w.coordinator.ask(lambda core: release(core, (), (), "owner", all_left=True))
