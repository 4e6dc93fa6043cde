"""Workers (each agent on each runtime and node), their current work, and the results of their last runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from node_agent.wire.failure import Outcome
from pancode.budget import books
from pancode.budget.answers import WorkerNow, WorkerShape
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EndedRun, Run, RunState
from pancode.runs.core import Core
from pancode.runs.views import run_shape

LOOKED_AT = 2_000
"""How many of the newest runs the workers' statistics cover."""
_Key = tuple[str, str, str | None]


@dataclass(slots=True)
class _Tally:
    now: list[WorkerNow] = field(default_factory=list)
    runs: int = 0
    done: int = 0
    stopped: int = 0
    unknown: int = 0
    usd: Decimal = books.ZERO
    ms: int = 0


def list_workers(core: Core) -> list[WorkerShape]:
    """Return all workers: the active ones first, then by name."""
    with core.ports.ledger.transaction() as tx:
        newest = tx.find(EndedRun, order="ended_ms", descending=True, limit=LOOKED_AT)
        active = [
            run for state in RunState if state is not RunState.ENDED for run in _find_in_state(tx, state)
        ]
        found: dict[_Key, _Tally] = {}
        for run in active:
            _at_work(core, tx, found, run)
        for row in newest:
            # A run that never reached a node is not counted for a worker.
            if row.node is None or not row.started or row.judges:
                continue
            tally = found.setdefault((row.agent, row.runtime, row.node), _Tally())
            tally.runs += 1
            tally.done += row.outcome is Outcome.DONE
            tally.stopped += row.outcome is Outcome.INTERRUPTED
            tally.ms += row.ms
            tally.unknown += row.unknown
            tally.usd = books.add_amounts(tally.usd, row.usd)
    shown = [_shape(key, one) for key, one in found.items()]
    return sorted(shown, key=lambda w: (not w["now"], w["agent"], w["runtime"], w["node"] or ""))


def _find_in_state(tx: Transaction, state: RunState) -> list[Run]:
    return tx.find(Run, {"state": state}, order="created_ms")


def _at_work(core: Core, tx: Transaction, found: dict[_Key, _Tally], run: Run) -> None:
    """Add an active run to its worker; a run that waits for a node belongs to a worker without a node."""
    shape = run_shape(core, tx, run)
    found.setdefault((run.agent, run.runtime, shape["node"]), _Tally()).now.append(
        WorkerNow(run=run.id, stage=shape["stage"], since=shape["started_at"], task=shape["task"])
    )


def _shape(key: _Key, tally: _Tally) -> WorkerShape:
    agent, runtime, node = key
    return {
        "agent": agent,
        "runtime": runtime,
        "node": node,
        "now": tally.now,
        "runs": tally.runs,
        "done": tally.done,
        "stopped": tally.stopped,
        "usd": f"{tally.usd:f}",
        "unknown_runs": tally.unknown,
        "minutes": round(tally.ms / books.MINUTE_MS, 2),
    }
