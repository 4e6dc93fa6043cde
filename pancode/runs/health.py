"""The health watch: judges each agent's health, sends one reminder, then asks a user; it stops no agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from node_agent.wire.failure import FailureKind
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import format_seconds, format_title
from pancode.kernel.names import HEALTH_WATCH
from pancode.kernel.ports import Transaction
from pancode.kernel.records import (
    Action,
    Attempt,
    Decision,
    EventKind,
    Lease,
    Node,
    Run,
    RunState,
    Setting,
    WaitReason,
)
from pancode.kernel.values import replace
from pancode.runs.answers import Need, NeedAct, NeedGroup
from pancode.runs.core import Core
from pancode.runs.life.case import stage_of
from pancode.runs.life.changes import Happened
from pancode.runs.life.conversation import can_receive_messages, is_between_turns
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
from pancode.runs.life.jobs import identity_of
from pancode.runs.life.waits import ToldByUser
from pancode.runs.lists import PAUSED, put_setting
from pancode.runs.placement.breakers import failed_together
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.views import HEARD, newest_lease, words_of


def check_runs(core: Core) -> None:
    """Check all active runs if a check is due; report to their timelines, the feed and the inbox."""
    boot, watch, rules = core.ports.clock.boot_ms(), core.live.health, core.rules.health
    if boot < watch.due_ms:
        return
    watch.due_ms = boot + rules.look_ms
    with core.ports.ledger.transaction() as tx:
        at_work = tx.find(Run, {"state": RunState.RUNNING})
        found = [one for one in healths_of(core, tx, at_work) if one[1].gravity is not Gravity.WELL]
    for run, health in found:
        _report(core, run, health)
    _pause_when_many_fail(core)


def _report(core: Core, run: Run, health: AgentHealth) -> None:
    now, rules = core.wall_ms(), core.rules.health
    with unit_of_work(core) as work:
        attempt = work.tx.get(Attempt, run.id, run.attempt)
        begun = 0 if attempt is None else attempt.created_ms
        decisions = [one for one in work.tx.find(Decision, {"run": run.id}) if one.at_ms >= begun]
        words = report_of(health, decisions, now, rules)
        if words is None:
            return
        quiet = format_seconds((now - (health.since_ms or now)) / 1_000)
        delivered = words and can_receive_messages(run) and not run.takes_turns and _tell(work, run, quiet)
        what, state = f"no sign of life for {quiet}", health.state.value
        work.tell(run.id, HEALTH, what, state, f"{health.why}{'; its agent was told' if delivered else ''}")
        data: dict[str, object] = {"kind": state, "words": f"{run.agent}: {what} ({health.why})"}
        data |= {"command": command_for(run, health), "state": run.state.value}
        work.happened(Happened(EventKind.RUN_HEALTH, run.id, None, data))


def _tell(work: Work, run: Run, quiet: str) -> bool:
    try:
        work.signal(run, ToldByUser(WORDS.format(quiet=quiet), HEALTH_WATCH))
    except UsageError:  # The run already has too many undelivered messages.
        return False
    return True


def command_for(run: Run, health: AgentHealth) -> str:
    """Return the suggested command: show the logs after a warning, or stop a stuck run."""
    verb = "stop" if health.state is HealthState.STUCK else "logs"
    return f"pancode runs {verb} {run.id}"


def _pause_when_many_fail(core: Core) -> None:
    """Pause the fleet if several agents or nodes failed within a minute, so that a user decides."""
    seen, most = core.live.ended(core.wall_ms(), core.rules.retry_pause_ms), core.rules.health.failures
    failed = failed_together(seen, core.live.health.paused_ms)
    with core.ports.ledger.transaction() as tx:
        paused = tx.get(Setting, PAUSED) is not None
    if len(failed) < most or paused:
        return
    core.live.health.paused_ms = core.wall_ms()
    why = f"{len(failed)} agents or nodes failed within a minute: {', '.join(failed)}"
    put_setting(core, PAUSED, why, HEALTH_WATCH)
    data: dict[str, object] = {"kind": "pause", "words": why, "command": "pancode fleet resume --queue"}
    with unit_of_work(core) as work:
        work.happened(Happened(EventKind.FLEET_PAUSED, None, None, data))


def list_needs(core: Core, tx: Transaction) -> Iterator[Need]:
    """Yield what the health watch asks a user: about stuck agents, and the fleet if the watch paused it."""
    for run, health in healths_of(core, tx, tx.find(Run, {"state": RunState.RUNNING})):
        if health.state is HealthState.STUCK:
            title = format_title(run.task or " ".join(run.argv or ())) or run.id
            what = f"is {run.agent} stuck? {health.why}; stop it, or leave it running"
            name, command = f"stuck:{run.id}.{run.attempt}", command_for(run, health)
            acts = (NeedAct.done(name),)
            yield Need(name, NeedGroup.ASKS, "stuck", title, what, command, run=run.id, words=what, acts=acts)
    paused = tx.get(Setting, PAUSED)
    if paused is not None and paused.changed_by == HEALTH_WATCH:
        what, command = f"the fleet is paused: {paused.value}", "pancode fleet resume --queue"
        yield Need("paused", NeedGroup.NODES, "paused", "the fleet", what, command, words=what)


def words_about(core: Core, tx: Transaction, run: Run) -> str:
    """Return the health state of an active run with the reason, for its timeline; empty: unknown."""
    health = _find_health(core, tx, run)
    return "" if health is None or health.since_ms is None else f"{health.state.value}: {health.why}"


def healths_of(core: Core, tx: Transaction, runs: Iterable[Run]) -> Iterator[tuple[Run, AgentHealth]]:
    """Yield the runs for which a health state is known, with that state."""
    for run in runs:
        health = None if run.judges is not None else _find_health(core, tx, run)
        if health is not None:
            yield run, health


def _find_health(core: Core, tx: Transaction, run: Run) -> AgentHealth | None:
    """Return the health of the run's agent; None if the run has ended, or waits for a reason unrelated to
    health."""
    # This is the time at which a run that waits for its provider is tried again.
    before = tx.get(Attempt, run.id, run.attempt - 1) if run.retry_at_ms is not None else None
    busy = before is not None and before.failure is FailureKind.MODEL_BUSY
    limited = run.retry_at_ms if busy and run.state is RunState.PENDING else None
    waits = run.state is RunState.PENDING and run.waits is not WaitReason.USER and limited is None
    if run.state is RunState.ENDED or waits:
        return None
    item, lease = open_item(tuple(tx.find(Action, {"run": run.id}))), newest_lease(tx, run)
    question = "" if item is None else item_of(run, item).words
    seen = AgentSeen(core.wall_ms(), stage_of(run, lease), question=question, limited_until_ms=limited)
    return health_of(_with_signs(core, tx, run, lease, seen), core.rules.health)


def _with_signs(core: Core, tx: Transaction, run: Run, lease: Lease | None, seen: AgentSeen) -> AgentSeen:
    node = None if lease is None else tx.get(Node, lease.node)
    if lease is None or node is None or run.state is RunState.PENDING:
        return seen
    view = core.view_of(node)
    mine = identity_of(lease)
    signs = () if view.last is None else view.last.heartbeat.signs
    return replace(
        seen,
        node=node.name,
        heard=view.state in HEARD,
        is_suspended=run.takes_turns and is_between_turns(run, words_of(tx, run)),
        signs=next((one for one in signs if one.identity == mine), None),
        told_ms=view.silent_ms or 0,
    )
