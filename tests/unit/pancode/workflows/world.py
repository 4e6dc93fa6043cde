"""Workflows on a coordinator in memory: begun by the API, advanced as its thread does, run by a puppet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.fleet import inventory
from pancode.kernel.records import Action, ActionKind, Balance, BookEntry, Run
from pancode.runs.reconcile import act_now
from pancode.workflows.advancing import Advancing
from pancode.workflows.step_start import StepStarter
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import Puppet, facts, failed

ERROR: dict[str, Any] = failed(FailureKind.AGENT_FAILED, Outcome.ERROR)


class Flows:
    """One node with many slots; each run ends as a test says."""

    def __init__(self, home: Path, slots: int = 8) -> None:
        self.world = World(home)
        self.node, self.coordinator = self.world.node, self.world.context
        self.node.slots = slots
        known = ("shell", "scripted")
        self.node.facts = facts(runtimes=tuple(RuntimeFact(name=name, state="ok") for name in known))
        inventory.change(self.coordinator.core, "n1", lambda node: _with_slots(node, slots))
        self.node.breathe()
        self.jobs: dict[str, Job] = {}

    def begin(self, *steps: dict[str, Any], kind: str = "batch", **more: Any) -> dict[str, Any]:
        answer = self.world.http.post("/v1/workflows", {"kind": kind, "steps": list(steps), **more})
        assert answer.status_code == 201, answer.text
        self.advance()
        return dict(answer.json())

    def show(self, workflow: str = "last") -> dict[str, Any]:
        return dict(self.world.http.get(f"/v1/workflows/{workflow}").json())

    def states(self) -> dict[str, str]:
        return {step["name"]: step["state"] for step in self.show()["steps"]}

    def advancing(self) -> Advancing:
        """As a coordinator has it that was just started."""
        core = self.coordinator.core
        return Advancing(core, StepStarter(core, self.world.coordinator.around))

    def advance(self) -> None:
        """What its thread does in one round, and the binder after it."""
        while due := self._due():
            self.advancing().do(due[0].run, lambda: False)
        act_now(self.coordinator.core)

    def _due(self) -> list[Action]:
        now, rows = self.coordinator.clock.wall_ms(), self.coordinator.rows(Action)
        return [one for one in rows if one.kind is ActionKind.ADVANCE and one.at_ms <= now]

    def claim(self) -> list[str]:
        """The steps that the node has taken now, by name: those of one moment have no job."""
        taken = []
        while (job := self.node.claim()) is not None:
            run = self.coordinator.row(Run, job.identity.run)
            self.jobs[run.step or run.id] = job
            taken.append(run.step or run.id)
            self.node.start(job)
            self.node.open.append(job.identity)
        self.coordinator.turn()
        return sorted(taken)

    def knows(self, runtime: str) -> None:
        """The node has this program from now on."""
        found = RuntimeFact(name=runtime, state="ok")
        self.node.facts = facts(runtimes=(*self.node.facts.runtimes, found), isolation=Isolation.SANDBOX)
        self.node.breathe()

    def steps_of(self, node: Puppet) -> list[str]:
        """The steps that another node has taken now."""
        jobs = iter(node.claim, None)
        return [str(self.coordinator.row(Run, job.identity.run).step) for job in jobs]

    def end(self, step: str, **changes: Any) -> None:
        """The run of that step ends: done, unless it is said otherwise."""
        job = self.jobs.pop(step)
        self.node.open.remove(job.identity)
        self.node.deliver(job, **changes)
        self.coordinator.turn()
        self.node.heartbeat()
        self.advance()
        self.coordinator.turn()

    def wait(self, ms: int) -> None:
        """Time passes, and what is due then is done."""
        self.coordinator.clock.ms += ms
        self.node.breathe()
        self.advance()
        self.coordinator.turn(0)

    def runs(self) -> dict[str, Run]:
        """By step; the newest of each."""
        rows = sorted(self.coordinator.rows(Run), key=lambda run: run.created_ms)
        return {run.step: run for run in rows if run.step is not None}

    def check_sums(self, workflow: str) -> None:
        """What the workflow has cost is what its runs have cost."""
        self.coordinator.check_books()
        mine = {run.id for run in self.coordinator.rows(Run) if run.workflow == workflow}
        days = [e for e in self.coordinator.rows(BookEntry) if e.run in mine and e.scope.startswith("day:")]
        sums = [e for e in self.coordinator.rows(BookEntry) if e.scope == f"workflow:{workflow}"]
        assert {e.run for e in sums} == mine
        assert sum(e.usd for e in days) == sum(e.usd for e in sums)
        balance = self.coordinator.row(Balance, f"workflow:{workflow}")
        assert self.show(workflow)["cost"]["usd"] == f"{balance.spent_usd:f}"


def _with_slots(node: Any, slots: int) -> Any:
    return replace(node, slots=slots)


def step(name: str, *needs: str, task: str = "true", **more: Any) -> dict[str, Any]:
    """A step of the runtime shell, without a workspace."""
    own: dict[str, Any] = {
        key: more.pop(key) for key in ("files", "until", "max", "verdict", "back_to") if key in more
    }
    dispatch = {"task": task, "runtime": "shell", "workspace": "none", **more}
    return {"name": name, "needs": list(needs), "dispatch": dispatch, **own}
