"""Circuit breakers: keeps ends of attempts in memory, rebuilds them at the start, tells what is held up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import Mark
from pancode.agents.models import provider_name
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.node import NodeView
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Attempt, Fence, Run, Setting
from pancode.runs.answers import BreakerShape
from pancode.runs.core import Core, hold_lock, open_fences
from pancode.runs.life.turns import ended_turns
from pancode.runs.placement.breakers import (
    LOGIN_OF,
    LOOP,
    MOST_KEPT,
    Breaker,
    BreakerState,
    EndedTry,
    build_breakers,
    not_closed,
)
from pancode.runs.placement.placement import Shun

RESET = "breaker-reset:"
"""The prefix of a setting that holds when a user reset the breaker of that name."""
RECENT_MS, RUNS = 3_600_000, 200
"""At the start at most RUNS of the newest runs are read, and only those that ended in the last RECENT_MS."""
FIX = "pancode admin breakers --reset {}"


def provider_of(core: Core, run: Run, node: str) -> str:
    """Return the vendor, or node and endpoint, that the run's model calls go to; empty for a user's own
    program.

    A runtime's name stands for a vendor that nobody named. A subscription is one node's login: its limits
    hold up no other node.
    """
    kind = RUNTIMES.get(run.runtime)
    if kind is None or kind.own:
        return ""
    if run.endpoint is not None:
        return f"{node}/{run.endpoint}"
    named = (run.asked_model or "").partition("/")[0] if "/" in (run.asked_model or "") else ""
    vendor = provider_name(named) or kind.provider or run.runtime
    is_its_own = run.runtime in core.live.contacts.subscriptions.get(node, ())
    return f"{vendor}{LOGIN_OF}{node}" if is_its_own else vendor


def record_ends(core: Core, run: Run, ended: Iterable[tuple[Attempt, Fence]]) -> None:
    """Remember that these attempts of the run have ended."""
    kept = core.live.ended_tries
    for attempt, fence in ended:
        kept.append(_ended(core, run, attempt, fence))
    del kept[:-MOST_KEPT]


def rebuild_breakers(core: Core, tx: Transaction) -> None:
    """Rebuild the memory from the ledger when a coordinator starts."""
    since = core.wall_ms() - RECENT_MS
    found: list[EndedTry] = []
    for run in tx.find(Run, order="created_ms", descending=True, limit=RUNS):
        if run.finished_ms is not None and run.finished_ms < since:
            continue
        fences = {fence.attempt: fence for fence in tx.find(Fence, {"run": run.id}, order="fence")}
        tries = [one for one in tx.find(Attempt, {"run": run.id}) if one.finished_ms is not None]
        found += [_ended(core, run, one, fences[one.attempt]) for one in tries if one.attempt in fences]
    core.live.ended_tries[:] = sorted(found, key=lambda one: one.at_ms)[-MOST_KEPT:]
    names = [one for one in tx.find(Setting) if one.name.startswith(RESET)]
    core.live.breaker_resets.update({one.name.removeprefix(RESET): one.changed_ms for one in names})


def read_breakers(core: Core) -> list[Breaker]:
    """Return all breakers; those that hold something up come first."""
    order = (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED)
    return sorted(
        build_breakers(core.live.ended(core.wall_ms(), core.rules.retry_pause_ms)).values(),
        key=lambda one: (order.index(one.state), one.name),
    )


@hold_lock
def list_breakers(core: Core) -> list[BreakerShape]:
    """Return all breakers in the shape that faces show."""
    return [
        {
            "name": one.name,
            "state": one.state.value,
            "failures": one.failures,
            "until_ms": one.until_ms,
            "why": one.why,
        }
        for one in read_breakers(core)
    ]


def list_resettable(core: Core) -> set[str]:
    """Return the names of all breakers that can be reset."""
    return {LOOP, *build_breakers(core.live.ended(core.wall_ms(), core.rules.retry_pause_ms))}


def blocked_nodes(
    core: Core, tx: Transaction, waiting: Sequence[Run], views: Iterable[NodeView]
) -> dict[str, dict[str, Shun]]:
    """Return, by run, the nodes it may not go to now: a breaker is open, or its probe is under way."""
    bad = _not_closed(core)
    if not bad:
        return {}
    at_work, nodes = _at_work(core, tx, bad), [view.node.name for view in views]
    shuns: dict[str, dict[str, Shun]] = {}
    for run in waiting:
        for node in nodes:
            mine = [bad[name] for name in _names(core, run, node) if name in bad]
            shut = [one for one in mine if one.state is BreakerState.OPEN or one.name in at_work]
            if shut:
                found = shut[0]
                until = found.until_ms or 0
                if found.state is BreakerState.HALF_OPEN:
                    why = f"the breaker of {found.name} lets one run through, and that run is at work"
                else:
                    clock = datetime.fromtimestamp(until / 1_000, UTC).strftime("%H:%M:%S UTC")
                    why = f"the breaker of {found.name} is open until {clock}: {found.why}"
                shuns.setdefault(run.id, {})[node] = Shun(why, FIX.format(found.name), until)
    return shuns


def any_open(core: Core) -> bool:
    """Whether a breaker is open: then two runs that ask for the same may wait for different reasons."""
    return bool(_not_closed(core))


def is_second_probe(core: Core, run: Run, node: str, probes: set[str]) -> bool:
    """Whether a half-open breaker has let another run through in this round already; `probes` grows."""
    bad = _not_closed(core)
    mine = {name for name in _names(core, run, node) if name in bad} if bad else set()
    if mine & probes:
        return True
    probes |= mine
    return False


def _not_closed(core: Core) -> dict[str, Breaker]:
    """Return the breakers that hold something up, by name; it is quick where nothing has failed of late."""
    if all(one.failure is None for one in core.live.ended_tries):
        return {}
    return {one.name: one for one in not_closed(read_breakers(core))}


def _at_work(core: Core, tx: Transaction, bad: dict[str, Breaker]) -> dict[str, str]:
    """Return, by half-open breaker, the run that is already its probe."""
    probes: dict[str, str] = {}
    for fence in open_fences(tx):
        run = tx.get(Run, fence.run)
        for name in () if run is None else _ended(core, run, None, fence).names:
            late = name in bad and fence.bound_ms >= (bad[name].until_ms or 0)
            if run is not None and late and not _has_begun_well(run, fence, name):
                probes[name] = fence.run
    return probes


def _has_begun_well(run: Run, fence: Fence, name: str) -> bool:
    """Whether the probe has shown enough: the machine starts work, or an interactive run (it may last days)
    has answered.
    """
    if fence.mark in ("", Mark.HELD, Mark.ACCEPTED, Mark.PREPARED):
        return False
    return name.startswith("node:") or (run.takes_turns and ended_turns(run) > 0)


def _names(core: Core, run: Run, node: str) -> tuple[str, ...]:
    return _ended(core, run, None, node).names


def _ended(core: Core, run: Run, attempt: Attempt | None, fence: Fence | str) -> EndedTry:
    kind = RUNTIMES.get(run.runtime)
    if isinstance(fence, Fence):
        node, began = fence.node, fence.bound_ms
        # An attempt that an older coordinator bound has no provider written.
        provider = fence.provider or provider_of(core, run, node)
    else:
        node, began, provider = fence, 0, provider_of(core, run, fence)
    return EndedTry(
        at_ms=attempt.finished_ms or 0 if attempt is not None else 0,
        began_ms=began,
        run=run.id,
        agent=run.agent,
        task=run.task,
        node=node,
        provider=provider,
        failure=None if attempt is None else attempt.failure,
        own=kind is None or kind.own,
        session=run.session if run.takes_turns else "",
        retry_ms=_asked_wait_ms(run, attempt),
    )


def _asked_wait_ms(run: Run, attempt: Attempt | None) -> int:
    """Return the milliseconds that the provider's rate limit asks to wait; 0: no limit."""
    if attempt is None or attempt.failure is not FailureKind.MODEL_BUSY or run.retry_at_ms is None:
        return 0
    return max(0, run.retry_at_ms - (attempt.finished_ms or 0))
