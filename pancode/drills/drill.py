"""Carries out a drill: begins its own runs, injects one fault after another, and waits for the recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from node_agent.wire.clock import Clock
from pancode.drills import rules
from pancode.drills.model import MOST_TEXT, DrilledFleet, DrillReport, DrillRow, Fault, list_faults
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError
from pancode.kernel.formatting import first_few
from pancode.kernel.values import replace

STEP_S = 0.2
START_S, RECOVER_S, OUTPUT_S = 120, 300, 10
"""How long a run may take to start, the fleet to recover from one fault, and output to arrive."""


class Drill:
    """One drill of these nodes. `report`: called with the report after each row."""

    def __init__(
        self, fleet: DrilledFleet, clock: Clock, nodes: Sequence[str], report: Callable[[DrillReport], None]
    ) -> None:
        self._fleet, self._clock, self._nodes, self._report = fleet, clock, nodes, report
        self._rows, self._ends = list[DrillRow](), dict[str, str | None]()

    def run(self, begun: DrillReport) -> DrillReport:
        """Inject all faults; return the report. A row says why its fault was not injected or repaired. If an
        exception ends the drill, its runs are stopped, and the report has no end."""
        ended_ms = None
        try:
            for fault, node in list_faults(self._nodes):
                was_good = all(row.is_good for row in self._rows) and set(self._ends.values()) <= {"done"}
                self._rows.append(DrillRow(fault=fault, node=node))
                if was_good:
                    self.take(begun.drill)
                else:
                    self._change(problem="not injected after the failure above")
                self._report(begun.model_copy(update={"rows": tuple(self._rows)}))
            ended_ms = self._clock.wall_ms()
        finally:
            if ended_ms is None and not self._ends.keys() >= set(self._rows[-1].runs if self._rows else ()):
                self._drop_runs("the drill was interrupted")
            wait_s = 0 if ended_ms is None else OUTPUT_S
            effects = {run: self.count_effects(run, begun.drill, wait_s) for run in self._ends}
            rows = tuple(rules.judge_row(row, self._ends, effects) for row in self._rows)
            done = begun.model_copy(update={"rows": rows, "ended_ms": ended_ms})
            self._report(done)
        return done

    def take(self, drill: str) -> None:
        """Inject the fault of the last row, and write into the row what was measured."""
        row = self._rows[-1]
        try:
            if why := self._fleet.why_not(row.fault):
                self._change(skipped=why)
            elif row.fault is Fault.RESTORE:
                self._change(injected_ms=self._clock.wall_ms())
                began, lost = self._clock.mono_ms(), self._fleet.restore()
                self._change(recovered_ms=self._clock.mono_ms() - began, lost=lost)
            else:
                must_be_idle(self._fleet)
                nodes = [row.node] if row.node else self._nodes
                for node in (*nodes, nodes[0]):
                    run = self._fleet.begin_run(node, rules.write_task(drill))
                    self._change(runs=(*self._rows[-1].runs, run))
                wait_until_working(self._fleet, self._clock, self._rows[-1].runs[0])
                self.measure(nodes)
        except PancodeError as error:
            self._drop_runs(error.words)

    def measure(self, nodes: Sequence[str]) -> None:
        """Inject the fault while the last row's first run works, and wait until its runs have ended."""
        row, clock = self._rows[-1], self._clock
        before = self._fleet.look(nodes, row.runs[0])
        must_be_idle(self._fleet)
        at_ms, began, first, recovered_ms = clock.wall_ms(), clock.mono_ms(), True, None
        noticed_ms = self._fleet.inject(row.fault, row.node, row.runs[0])
        self._change(injected_ms=at_ms)
        while recovered_ms is None and clock.mono_ms() - began < RECOVER_S * 1_000:
            try:
                now = self._fleet.look(nodes, row.runs[0])
                if first:  # no heartbeat up to here shows a recovery
                    before, first = replace(before, heartbeats=now.heartbeats), False
            except PancodeError:  # the coordinator cannot say anything now
                now = replace(before, is_well=False)
            if noticed_ms is None and rules.is_noticed(before, now, row.fault):
                noticed_ms = clock.mono_ms() - began
            if noticed_ms is not None and rules.is_recovered(before, now, row.fault):
                recovered_ms = clock.mono_ms() - began
            else:
                self._fleet.pause(STEP_S)
        self._change(noticed_ms=noticed_ms, recovered_ms=recovered_ms)
        if recovered_ms is None:
            how = f"`pancode fleet up {' '.join(nodes)}`"
            try:
                self._fleet.bring_up(nodes)
                done = f"{how} repaired it"
            except PancodeError as error:
                done = f"{how} failed: {error.words}"
            self._change(problem=f"not recovered within {RECOVER_S} s; {done}"[:MOST_TEXT])
        ends = wait_until_ended(self._fleet, clock, row.runs)
        self._ends |= ends
        self._stop_runs(run for run, outcome in ends.items() if outcome is None)

    def count_effects(self, run: str, drill: str, wait_s: int) -> int | None:
        """Return how often the run had its effect, when its output has arrived; None: cannot be read."""
        end, found = self._clock.mono_ms() + wait_s * 1_000, None
        while True:
            with suppress(PancodeError):
                found = self._fleet.count_effects(run, drill)
            if found or self._clock.mono_ms() >= end:
                return found
            self._fleet.pause(STEP_S)

    def _change(self, **values: object) -> None:
        """Change the last row."""
        self._rows[-1] = self._rows[-1].model_copy(update=values)

    def _drop_runs(self, problem: str) -> None:
        """Stop the last row's runs, which then are not judged."""
        self._stop_runs(self._rows[-1].runs)
        self._change(runs=(), problem=problem[:MOST_TEXT])

    def _stop_runs(self, runs: Iterable[str]) -> None:
        for run in runs:
            with suppress(PancodeError):
                self._fleet.stop_run(run)


def wait_until_working(fleet: DrilledFleet, clock: Clock, run: str) -> None:
    """Return when the run works. UnavailableError if it ends first, or takes too long."""
    end = clock.mono_ms() + START_S * 1_000
    while not (seen := fleet.look_at_run(run)).is_working:
        if seen.outcome is not None or clock.mono_ms() > end:
            why = seen.reason or f"it ended as {seen.outcome}"
            raise UnavailableError(f"{run} did not start", why=why, fix=f"pancode why {run}")
        fleet.pause(STEP_S)


def wait_until_ended(fleet: DrilledFleet, clock: Clock, runs: Sequence[str]) -> dict[str, str | None]:
    """Return the outcome of each run when all have ended; None for those that have not ended in time."""
    end, ends = clock.mono_ms() + RECOVER_S * 1_000, dict[str, str | None].fromkeys(runs)
    while None in ends.values() and clock.mono_ms() < end:
        for run in [run for run, outcome in ends.items() if outcome is None]:
            with suppress(PancodeError):  # a coordinator that cannot say anything now may do so later
                ends[run] = fleet.look_at_run(run).outcome
        if None in ends.values():
            fleet.pause(STEP_S)
    return ends


def must_be_idle(fleet: DrilledFleet) -> None:
    """Raise RefusedError if there is work that a fault would disturb."""
    if others := fleet.list_work():
        first, fix = next(iter(others.items()))
        why, fix = f"in progress: {first_few(list(others), 5)}", f"wait for {first}: {fix}"
        raise RefusedError("a drill needs an idle fleet", why=why, fix=fix, code="fleet_busy")
