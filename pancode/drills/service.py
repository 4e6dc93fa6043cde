"""Carries out a drill: begins its own runs, injects one fault after another, and waits for the recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from node_agent.wire.clock import Clock
from pancode.drills import rules
from pancode.drills.model import (
    DrilledFleet,
    DrillReport,
    DrillRow,
    Fault,
    RunSeen,
    list_faults,
)
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError
from pancode.kernel.formatting import first_few
from pancode.kernel.values import replace

STEP_S = 0.2
START_S, RECOVER_S = 120, 300
"""How long a run may take to start, and the fleet to recover from one fault."""


class Drill:
    """One drill. `marks`: the file of marks on each node. `report`: called with the report after each row."""

    def __init__(
        self,
        fleet: DrilledFleet,
        clock: Clock,
        marks: Mapping[str, str],
        report: Callable[[DrillReport], None],
    ) -> None:
        self._fleet, self._clock, self._marks, self._report = fleet, clock, marks, report
        self._tokens = dict[str, str]()

    def run(self, begun: DrillReport) -> DrillReport:
        """Inject all faults; return the report. A fault that was not injected or repaired is a row that says
        why."""
        done = begun
        for fault, node in list_faults(list(self._marks)):
            was_good = all(row.is_good for row in done.rows)
            row = DrillRow(fault=fault, node=node, injected_ms=self._clock.wall_ms())
            row = (
                self.take(done.drill, row)
                if was_good
                else rules.add_problem(row, "not injected after the failure above")
            )
            done = done.model_copy(update={"rows": (*done.rows, row)})
            self._report(done)
        ends = {run: wait_until_ended(self._fleet, self._clock, run).outcome for run in self._tokens}
        marks, problem = self.read_marks(done.drill)
        rows = [rules.judge_row(row, self._tokens, ends, marks) for row in done.rows]
        rows = [rules.add_problem(row, problem) if row.runs else row for row in rows]
        done = done.model_copy(update={"rows": tuple(rows), "ended_ms": self._clock.wall_ms()})
        self._report(done)
        return done

    def take(self, drill: str, row: DrillRow) -> DrillRow:
        """Inject the fault of this row and wait for the recovery; return the row with what was measured."""
        try:
            if why := self._fleet.why_not(row.fault):
                return row.model_copy(update={"skipped": why})
            began = self._clock.mono_ms()
            if row.fault is Fault.RESTORE:
                lost = self._fleet.restore()
                return row.model_copy(update={"recovered_ms": self._clock.mono_ms() - began, "lost": lost})
            if others := self._fleet.list_work():
                return rules.add_problem(row, f"not injected: {first_few(others, 3)} began")
            nodes, runs = [row.node] if row.node else list(self._marks), list[str]()
            for node in (*nodes, nodes[0]):
                token = f"{row.fault.name.lower()}-{len(self._tokens)}"
                runs.append(self._fleet.begin_run(node, rules.write_task(drill, token, self._marks[node])))
                self._tokens[runs[-1]] = token
                row = row.model_copy(update={"runs": tuple(runs)})
            wait_until_working(self._fleet, self._clock, runs[0])
            return self.measure(row, nodes)
        except PancodeError as error:
            for run in row.runs:
                with suppress(PancodeError):
                    self._fleet.stop_run(run)
            return rules.add_problem(row, error.words)

    def measure(self, row: DrillRow, nodes: Sequence[str]) -> DrillRow:
        """Inject the fault while the row's first run works; return the row with the times."""
        first, clock = row.runs[0], self._clock
        before = self._fleet.look(nodes, first)
        row, began = row.model_copy(update={"injected_ms": clock.wall_ms()}), clock.mono_ms()
        noticed_ms, recovered_ms = self._fleet.inject(row.fault, row.node, first), None
        while recovered_ms is None and clock.mono_ms() - began < RECOVER_S * 1_000:
            try:
                now = self._fleet.look(nodes, first)
            except PancodeError:  # the coordinator cannot say anything now
                now = replace(before, is_well=False)
            if noticed_ms is None and rules.is_noticed(before, now, row.fault):
                noticed_ms = clock.mono_ms() - began
            if noticed_ms is not None and rules.is_recovered(before, now, row.fault):
                recovered_ms = clock.mono_ms() - began
            else:
                self._fleet.pause(STEP_S)
        row = row.model_copy(update={"noticed_ms": noticed_ms, "recovered_ms": recovered_ms})
        if recovered_ms is None:
            return rules.add_problem(row, f"not recovered within {RECOVER_S} s")
        for run in row.runs:
            wait_until_ended(self._fleet, clock, run)
        return row

    def read_marks(self, drill: str) -> tuple[list[str], str]:
        """Return the marks of all nodes, and why some are not known; remove the files with them."""
        found, problem = list[str](), ""
        for node, file in self._marks.items():
            try:
                run = self._fleet.begin_run(node, rules.write_reading(drill, file))
                seen = wait_until_ended(self._fleet, self._clock, run)
            except PancodeError as error:
                problem = f"the results on {node} were not read: {error.words}"
                continue
            if seen.outcome != "done":
                problem = f"the results on {node} were not read: {run} ended as {seen.outcome}"
            found += seen.answer.split()
        return found, problem


def wait_until_working(fleet: DrilledFleet, clock: Clock, run: str) -> None:
    """Return when the run works. UnavailableError if it ends first, or takes too long."""
    end = clock.mono_ms() + START_S * 1_000
    while not (seen := fleet.look_at_run(run)).is_working:
        if seen.outcome is not None or clock.mono_ms() > end:
            why = seen.reason or f"it ended as {seen.outcome}"
            raise UnavailableError(f"{run} did not start", why=why, fix=f"pancode why {run}")
        fleet.pause(STEP_S)


def wait_until_ended(fleet: DrilledFleet, clock: Clock, run: str) -> RunSeen:
    """Return the run when it has ended; without an outcome if it has not ended in time."""
    end, seen = clock.mono_ms() + RECOVER_S * 1_000, RunSeen(False, None, 0)
    while seen.outcome is None and clock.mono_ms() < end:
        with suppress(PancodeError):  # a coordinator that cannot say anything now may do so later
            seen = fleet.look_at_run(run)
        if seen.outcome is None:
            fleet.pause(STEP_S)
    return seen


def must_be_idle(fleet: DrilledFleet) -> None:
    """Raise RefusedError if there is work that a fault would disturb."""
    if others := fleet.list_work():
        raise RefusedError(
            "a drill needs an idle fleet",
            why=f"these runs have not ended: {first_few(others, 5)}",
            fix=f"wait for it: pancode logs -f {others[0]}; or stop it: pancode stop {others[0]}",
            code="fleet_busy",
        )
