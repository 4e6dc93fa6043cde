"""The watch over agents and machines: shows the health of each, warns once, then asks; it stops nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from node_agent.wire.failure import FailureKind
from pancode.config.fleet_settings import pause_queue
from pancode.fleet.fleet import machines
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import took
from pancode.kernel.names import HEALTH_WATCH
from pancode.kernel.node import NodeState
from pancode.kernel.ports import Transaction
from pancode.kernel.records import (
    Action,
    Attempt,
    Decision,
    EventKind,
    Fence,
    Node,
    Run,
    RunState,
    Setting,
    WaitReason,
)
from pancode.kernel.values import replace
from pancode.runs.answers import BriefLine, HealthRow, HealthShape
from pancode.runs.core import Core
from pancode.runs.life.case import stage_of
from pancode.runs.life.changes import Happened
from pancode.runs.life.continuations import hears, is_between_turns
from pancode.runs.life.health import (
    HEALTH,
    WORDS,
    AgentHealth,
    AgentSeen,
    Gravity,
    HealthState,
    health_of,
    report_of,
)
from pancode.runs.life.inbox import item_of, open_item
from pancode.runs.life.orders import identity_of
from pancode.runs.life.signals import ToldByPerson
from pancode.runs.lists import PAUSED
from pancode.runs.placement.breakers import failed_together
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.views import HEARD, iso, newest_fence, not_ended, words_of

_SICK = (NodeState.UNREACHABLE, NodeState.LOST, NodeState.QUARANTINED)


def look(core: Core) -> None:
    """Look once at all runs at work, if that is due; tell it in the runs' stories, the feed and the inbox."""
    boot, watch, rules = core.ports.clock.boot_ms(), core.live.health, core.rules.health
    if boot < watch.due_ms:
        return
    watch.due_ms = boot + rules.look_ms
    with core.ports.ledger.transaction() as tx:
        at_work = tx.find(Run, {"state": RunState.RUNNING})
        found = [
            (run, health) for run, health in _agents(core, tx, at_work) if health.gravity is not Gravity.WELL
        ]
    for run, health in found:
        _report(core, run, health)
    _pause_when_many_fail(core)


def _report(core: Core, run: Run, health: AgentHealth) -> None:
    now, rules = core.wall_ms(), core.rules.health
    with unit_of_work(core) as work:
        attempt = work.tx.get(Attempt, run.id, run.attempt)
        begun = 0 if attempt is None else attempt.created_ms
        story = [one for one in work.tx.find(Decision, {"run": run.id}) if one.at_ms >= begun]
        words = report_of(health, story, now, rules)
        if words is None:
            return
        quiet = took((now - (health.since_ms or now)) / 1_000)
        told = words and hears(run) and not run.takes_turns and _tell(work, run, quiet)
        what, state = f"nothing was seen of it for {quiet}", health.state.value
        work.tell(run.id, HEALTH, what, state, f"{health.why}{'; its agent was told' if told else ''}")
        data: dict[str, object] = {"kind": state, "words": f"{run.agent}: {what} ({health.why})"}
        data |= {"command": _command(run, health), "state": run.state.value}
        work.happened(Happened(EventKind.RUN_HEALTH, run.id, None, data))


def _tell(work: Work, run: Run, quiet: str) -> bool:
    try:
        work.signal(run, ToldByPerson(WORDS.format(quiet=quiet), HEALTH_WATCH))
    except UsageError:  # it keeps too many words already
        return False
    return True


def _command(run: Run, health: AgentHealth) -> str:
    """Return the command that a person may use: to look at a warning, or to stop what is stuck."""
    verb = "stop" if health.state is HealthState.STUCK else "logs"
    return f"pancode runs {verb} {run.id}"


def _pause_when_many_fail(core: Core) -> None:
    """Pause the fleet where several agents or machines failed within a minute: a person decides."""
    seen, most = core.live.ended(core.wall_ms(), core.rules.retry_pause_ms), core.rules.health.failures
    failed = failed_together(seen, core.live.health.paused_ms)
    with core.ports.ledger.transaction() as tx:
        paused = tx.get(Setting, PAUSED) is not None
    if len(failed) < most or paused:
        return
    core.live.health.paused_ms = core.wall_ms()
    why = f"{len(failed)} agents or machines failed within a minute: {', '.join(failed)}"
    pause_queue(core, None, why, HEALTH_WATCH)
    data: dict[str, object] = {"kind": "pause", "words": why, "command": "pancode queue resume"}
    with unit_of_work(core) as work:
        work.happened(Happened(EventKind.FLEET_PAUSED, None, None, data))


def asked(core: Core, tx: Transaction) -> Iterator[BriefLine]:
    """Yield the watch's questions for the inbox: what is stuck, and the fleet that it has paused."""
    for run, health in _agents(core, tx, tx.find(Run, {"state": RunState.RUNNING})):
        if health.state is HealthState.STUCK:
            task = " ".join((run.task or " ".join(run.argv or ())).split())[:70]
            what = f"is {run.agent} stuck? {health.why}; end it, or leave it alone"
            yield {"run": run.id, "what": what, "task": task, "command": _command(run, health)}
    paused = tx.get(Setting, PAUSED)
    if paused is not None and paused.changed_by == HEALTH_WATCH:
        what = f"the fleet is paused: {paused.value}"
        yield {"run": None, "what": what, "task": "", "command": "pancode queue resume"}


def words_about(core: Core, tx: Transaction, run: Run) -> str:
    """Return the signs of life of a run at work, for its story; empty: there are none."""
    health = _health(core, tx, run)
    return "" if health is None or health.since_ms is None else f"{health.state.value}: {health.why}"


def shown(core: Core) -> HealthShape:
    """Return the health of all agents that have work, and of all machines."""
    with core.ports.ledger.transaction() as tx:
        agents = [_agent_shape(tx, run, health) for run, health in _agents(core, tx, not_ended(tx))]
        removed = {node.name for node in tx.find(Node) if node.removed is not None}
    rows = list(_machines(core, removed))
    grave = {row["gravity"] for row in (*agents, *rows)}
    return {"well": Gravity.PERSON not in grave, "agents": agents, "machines": rows}


def _agent_shape(tx: Transaction, run: Run, health: AgentHealth) -> HealthRow:
    command = ""
    if health.gravity is not Gravity.WELL:
        item = open_item(tuple(tx.find(Action, {"run": run.id})))
        command = item_of(run, item).command if item is not None else _command(run, health)
    fence = newest_fence(tx, run)
    return {
        "who": run.agent,
        "run": run.id,
        "node": None if fence is None else fence.node,
        "state": health.state.value,
        "gravity": health.gravity.value,
        "since": iso(health.since_ms),
        "until": iso(health.until_ms),
        "why": health.why,
        "command": command,
    }


def _machines(core: Core, removed: set[str]) -> Iterator[HealthRow]:
    for row in machines(core):
        if row["name"] in removed:
            continue
        gravity = Gravity.WARNING if row["state"] == NodeState.SUSPECT else Gravity.WELL
        gravity = Gravity.PERSON if row["state"] in _SICK else gravity
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


def _agents(core: Core, tx: Transaction, runs: Iterable[Run]) -> Iterator[tuple[Run, AgentHealth]]:
    for run in runs:
        health = None if run.judges is not None else _health(core, tx, run)
        if health is not None:
            yield run, health


def _health(core: Core, tx: Transaction, run: Run) -> AgentHealth | None:
    """Return the health of the run's agent; None: the run has ended, or waits for what does not concern
    health.
    """
    # when a run that waits for its provider is tried again
    before = tx.get(Attempt, run.id, run.attempt - 1) if run.retry_at_ms is not None else None
    busy = before is not None and before.failure is FailureKind.MODEL_BUSY
    limited = run.retry_at_ms if busy and run.state is RunState.PENDING else None
    waits = run.state is RunState.PENDING and run.waits is not WaitReason.PERSON and limited is None
    if run.state is RunState.ENDED or waits:
        return None
    item, fence = open_item(tuple(tx.find(Action, {"run": run.id}))), newest_fence(tx, run)
    question = "" if item is None else item_of(run, item).words
    seen = AgentSeen(core.wall_ms(), stage_of(run, fence), question=question, limited_until_ms=limited)
    return health_of(_with_signs(core, tx, run, fence, seen), core.rules.health)


def _with_signs(core: Core, tx: Transaction, run: Run, fence: Fence | None, seen: AgentSeen) -> AgentSeen:
    node = None if fence is None else tx.get(Node, fence.node)
    if fence is None or node is None or run.state is RunState.PENDING:
        return seen
    view = core.view_of(node)
    mine = identity_of(fence)
    signs = () if view.last is None else view.last.heartbeat.signs
    return replace(
        seen,
        node=node.name,
        heard=view.state in HEARD,
        rests=run.takes_turns and is_between_turns(run, words_of(tx, run)),
        signs=next((one for one in signs if one.identity == mine), None),
        told_ms=view.silent_ms or 0,
    )
