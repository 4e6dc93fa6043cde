"""What must be true of the rounds of a workflow after each step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_agent.wire.failure import Outcome
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.runs.receipts.trust import final_commit
from pancode.workflows.records import Workflow, WorkflowStep, WorkflowStepState
from tests.simulation.invariants import must
from tests.simulation.trees import carries

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld


@dataclass(frozen=True)
class SeenRound:
    """Of a judge when it was looked at last."""

    number: int
    resumed: int


class RoundsTruth:
    """Keeps the round of each judge, and the verdicts that have begun another one."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self._seen: dict[str, SeenRound] = {}
        self._judged: set[str] = set()
        self._again: Counter[str] = Counter()

    def begin_anew(self) -> None:
        """A backup was put back: its ledger may judge the same run again."""
        self._seen.clear()
        self._judged.clear()

    def begun(self, one: Workflow, step: str) -> int:
        """So many rounds of that step have begun; users begin more of them when they resume."""
        wanted = self.world.flows.wanted[one.name]
        return 1 + self._again[one.id] + self.world.flows.resumed[one.name] if wanted.shape.loop else 1

    def after_step(self, one: Workflow, steps: dict[str, WorkflowStep]) -> None:
        for step in steps.values():
            must(step.round <= self._most(one), f"{one.name}.{step.name} is in round {step.round}")
            if step.until:
                self.a_verdict_is_of_its_own_run(one, step)
                self.each_round_follows_a_verdict(one, step)

    def _most(self, one: Workflow) -> int:
        loop = self.world.flows.wanted[one.name].shape.loop
        return loop.most if loop is not None else 1

    def each_round_follows_a_verdict(self, one: Workflow, judge: WorkflowStep) -> None:
        """One more at a time, for a run that has rejected the round before; no verdict counts twice."""
        before, resumed = self._seen.get(one.id), self.world.flows.resumed[one.name]
        self._seen[one.id] = SeenRound(judge.round, resumed)
        if before is None:  # new, or of a backup that was put back
            self._again[one.id] = max(self._again[one.id], judge.round - 1)
        if before is None or (judge.round == before.number and resumed == before.resumed):
            return
        if judge.round == 1 or judge.round == before.number:
            return  # resumed
        told = str(judge.outputs.get("of"))
        one_more = judge.round == (before.number if resumed == before.resumed else 1) + 1
        must(one_more or resumed > before.resumed, f"{one.name}: round {judge.round} after {before.number}")
        must(told not in self._judged, f"{one.name}: {told} has begun two rounds")
        must(self.world.trees.approved.get(told) is False, f"{one.name}: {told} had not rejected it")
        self._judged.add(told)
        self._again[one.id] += 1

    def a_verdict_is_of_its_own_run(self, one: Workflow, judge: WorkflowStep) -> None:
        """It is what that run has written, and a judge is done when its newest run has approved."""
        told = judge.outputs.get("verdict")
        if isinstance(told, dict) and told:
            word = "approved" if self.world.trees.approved[str(told["by"])] else "rejected"
            must(told["verdict"] == word, f"{one.name}: the verdict is {told}, {word} was written")
            must(told["by"] == judge.outputs["of"], f"{one.name}: the verdict of {told['by']} counts again")
        if judge.state is WorkflowStepState.DONE:
            approved = self.world.trees.approved.get(str(judge.run))
            must(approved is True, f"{one.name}: {judge.run} has not approved, and that is the end")

    def begins_where_the_round_is(self, one: Workflow, step: WorkflowStep, run: Run, tx: Transaction) -> None:
        """The first of a round continues from its own result; nothing is done again that nobody rejected."""
        loop = self.world.flows.wanted[one.name].shape.loop
        known = [tx.get(Run, name) for name in step.runs[: step.runs.index(run.id)]]
        done = [old for old in known if old is not None and old.outcome is Outcome.DONE]
        if loop is None or step.name == loop.judge or not done:
            return
        trees = self.world.trees
        if step.name == loop.first and step.round > 1:
            lost = carries(trees.files(run.workspace["snapshot"]), trees.files(final_commit(done[-1])))
            must(not lost, f"{one.name}.{step.name} began round {step.round} without its own {lost}")
        judges = [old for old in tx.find(Run, {"workflow": one.id}) if old.step == loop.judge]
        since = [old for old in judges if old.created_ms >= done[-1].created_ms]
        rejected = any(trees.approved.get(old.id) is False for old in since)
        must(rejected, f"{one.name}.{step.name} was done in {done[-1].id}, but was not rejected")
