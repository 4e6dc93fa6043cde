"""What must be true of workflows: after each step, and once all has come to its end."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

from node_agent.wire.failure import Outcome
from pancode.budget.books import workflow_scope
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Attempt, Balance, BookEntry, Run, RunState, StoredReceipt
from pancode.runs.receipts.trust import final_commit
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.workflows.rules import OPEN
from pancode.workflows.store import steps_of
from tests.simulation import flows
from tests.simulation.invariants import must
from tests.simulation.rounds_truth import RoundsTruth
from tests.simulation.trees import carries
from tests.simulation.truth import claims_in

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld

MOST_ATTEMPTS = 12


class FlowTruth:
    """Keeps what it has seen of each workflow."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self._runs: set[str] = set()
        self._winners: dict[str, str] = {}
        self.rounds = RoundsTruth(world)

    def begin_anew(self) -> None:
        """A backup was put back: what its ledger does not know binds it no longer."""
        self._winners.clear()
        with self.world.coordinator.seen() as tx:
            self._runs = {run.id for run in tx.find(Run)}
        self.rounds.begin_anew()

    def after_step(self) -> None:
        with self.world.coordinator.seen() as tx:
            for one in tx.find(Workflow):
                steps = {step.name: step for step in steps_of(tx, one.id)}
                runs = tx.find(Run, {"workflow": one.id})
                self.rounds.after_step(one, steps)
                self.no_step_before_its_needs(one, steps, runs, tx)
                self.no_step_is_done_twice(one, runs)
                self.a_race_has_one_winner(one, steps)
                self.the_sum_of_a_workflow_is_that_of_its_runs(one, runs, tx)
                self.retries_are_bounded(one, steps, tx)
                self.places_are_kept(one, steps)

    def no_step_before_its_needs(
        self, one: Workflow, steps: dict[str, WorkflowStep], runs: list[Run], tx: Transaction
    ) -> None:
        """A run begins when what its step needs is done, and is told all of their answers."""
        for run in (run for run in runs if run.id not in self._runs):
            self._runs.add(run.id)
            step, held = steps[str(run.step)], self.world.truth.held_runs
            must(one.id not in held, f"{one.name}.{step.name} began, and nobody has released it")
            for need in step.needs:
                before = tx.get(Run, str(steps[need].run))
                done = before is not None and before.outcome is Outcome.DONE
                must(done, f"{one.name}.{step.name} began before {need} was done")
            answers = [flows.answer_of(one.name, need) for need in step.needs]
            told = " ".join([f"do {step.name}", *answers])
            must(run.task == told, f"{one.name}.{step.name}: its task is {run.task!r}, not {told!r}")
            if self.world.flows.wanted[one.name].shape.git:
                self.begins_with_all_that_was_done(one, step, steps, run, tx)
                self.rounds.begins_where_the_round_is(one, step, run, tx)

    def begins_with_all_that_was_done(
        self, one: Workflow, step: WorkflowStep, steps: dict[str, WorkflowStep], run: Run, tx: Transaction
    ) -> None:
        """A checkout begins with the whole work of every step before it, merged where these are several."""
        trees = self.world.trees
        began = trees.files(run.workspace["snapshot"])
        for need in step.needs:
            before = tx.get(Run, str(steps[need].run))
            lost = carries(began, trees.files(before and final_commit(before)))
            must(not lost, f"{one.name}.{step.name} began without what {need} wrote to {lost}")

    def no_step_is_done_twice(self, one: Workflow, runs: list[Run]) -> None:
        """What is done is not done again but in another round; what was lost not beside what replaced it."""
        done = Counter(str(run.step) for run in runs if run.outcome is Outcome.DONE)
        for step, count in done.items():
            most = self.rounds.begun(one, step)
            must(count <= most, f"{one.name}.{step}: done {count} times in {most} rounds")

    def a_race_has_one_winner(self, one: Workflow, steps: dict[str, WorkflowStep]) -> None:
        """The first that is known stays, and it is done."""
        if one.winner is not None:
            first = self._winners.setdefault(one.id, one.winner)
            must(first == one.winner, f"{one.name} was won by {first}, and then by {one.winner}")
            must(steps[first].state is WorkflowStepState.DONE, f"{one.name}: {first} has won and is not done")

    def the_sum_of_a_workflow_is_that_of_its_runs(
        self, one: Workflow, runs: list[Run], tx: Transaction
    ) -> None:
        """A race pays for all who ran."""
        scope, mine = workflow_scope(one.id), {run.id for run in runs}
        entries = [entry for entry in tx.find(BookEntry) if entry.run in mine]
        sums: dict[str, tuple[Decimal, int]] = {}
        for kind, found in (
            ("workflow", [entry for entry in entries if entry.scope == scope]),
            ("day", [entry for entry in entries if entry.scope.startswith("day:")]),
        ):
            spent = [entry for entry in found if entry.kind.value not in ("hold", "release")]
            sums[kind] = sum((entry.usd for entry in spent), Decimal(0)), sum(e.tokens for e in found)
        must(sums["workflow"] == sums["day"], f"{one.name}: {sums}")
        balance = tx.get(Balance, scope) or Balance(scope)
        must(balance.tokens == sums["day"][1], f"{one.name}: {balance}, its runs have {sums['day']}")

    def retries_are_bounded(self, one: Workflow, steps: dict[str, WorkflowStep], tx: Transaction) -> None:
        """One run for a step, each round and each resume of it; and so many attempts of a run."""
        for step in steps.values():
            most = self.rounds.begun(one, step.name) + self.world.flows.resumed[one.name]
            must(len(step.runs) <= most, f"{one.name}.{step.name} has the runs {step.runs}, at most {most}")
            for run in step.runs:
                count = len(tx.find(Attempt, {"run": run}))
                must(count <= MOST_ATTEMPTS, f"{run} has {count} attempts")

    def places_are_kept(self, one: Workflow, steps: dict[str, WorkflowStep]) -> None:
        """No more steps at once than it may have."""
        active = [step.name for step in steps.values() if step.state in ("starting", "running")]
        must(len(active) <= (one.concurrency or len(steps)), f"{one.name} has {active} at once")

    def at_the_end(self) -> None:
        """Each has ended as it would have without any fault, stop and resume."""
        world = self.world
        with world.coordinator.seen() as tx:
            for one in tx.find(Workflow):
                must(one.state not in OPEN, f"{one.name} never ended: {one.state}")
                self.what_is_done_has_left_its_answer(one, tx)
                self.all_who_ran_are_paid_for(one, tx)
                self.its_steps_name_all_runs(one, tx)
        for one in flows.workflows(world):
            must(flows.ended_as_it_should(world, one), f"{one.name} has ended as {one.state}: {one.reason}")
            must(not flows.due(world), "a workflow is still to be looked at")
            self.a_conflict_keeps_both_sides(one)

    def all_who_ran_are_paid_for(self, one: Workflow, tx: Transaction) -> None:
        """Also those that lost a race: what accepted receipts swear to is spent in the workflow's books."""
        entries = tx.find(BookEntry, {"scope": workflow_scope(one.id)})
        stored = [s for s in tx.find(StoredReceipt) if not s.orphan and s.rejected is None]
        for run in tx.find(Run, {"workflow": one.id}):
            told = [claims_in(s.envelope)["usage"]["cost_usd"] for s in stored if s.run == run.id]
            spent = [e.usd for e in entries if e.run == run.id and e.kind.value in ("spend", "correct")]
            if told and None not in told:
                must(sum(spent) == sum(map(Decimal, told)), f"{one.name}: {run.id} cost {told}, not {spent}")

    def its_steps_name_all_runs(self, one: Workflow, tx: Transaction) -> None:
        mine = {run.id for run in tx.find(Run, {"workflow": one.id})}
        steps = {name for step in steps_of(tx, one.id) for name in step.runs}
        must(mine == steps, f"{one.name}: {mine} ran, its steps have {steps}")

    def a_conflict_keeps_both_sides(self, one: Workflow) -> None:
        """A definite end that names the files; no run began from half of it, and both results are there."""
        shape = self.world.flows.wanted[one.name].shape
        with self.world.coordinator.seen() as tx:
            steps = {step.name: step for step in steps_of(tx, one.id)}
            sides = [tx.get(Run, str(steps[need].run)) for need in shape.clash]
        done = all(side is not None and side.outcome is Outcome.DONE for side in sides)
        if not shape.torn or not done:
            return
        step, files = steps[shape.torn], sorted(set(shape.clash.values()))
        must(step.outputs.get("conflict") == files, f"{one.name}.{step.name} says {step.outputs}")
        must(step.runs == (), f"{one.name}.{step.name} had runs: {step.runs}")
        kept = set(self.world.arrived.commits.values())
        must(all(side and final_commit(side) in kept for side in sides), f"{one.name}: a side is gone")

    def what_is_done_has_left_its_answer(self, one: Workflow, tx: Transaction) -> None:
        """No output is lost; nobody runs for a workflow that has ended."""
        for step in steps_of(tx, one.id):
            for name in step.runs:
                run = tx.get(Run, name)
                must(run is not None and run.state is RunState.ENDED, f"{name} of {one.name} still runs")
            run = tx.get(Run, str(step.run)) if step.run is not None else None
            if step.state is not WorkflowStepState.DONE:
                must(
                    one.kind is not WorkflowKind.CHAIN or bool(step.reason),
                    f"{one.name}.{step.name}: no reason",
                )
                continue
            answer = None if run is None else run.result.get("answer")
            must(
                answer == flows.answer_of(one.name, step.name), f"{one.name}.{step.name} has left {answer!r}"
            )
