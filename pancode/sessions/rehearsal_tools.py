"""Answers an orchestrator that rehearses: what it would begin is put on record, and nothing is begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from node_agent.wire.policy import MODE_WRITES
from pancode.agents.agents import choose, find_agent
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import UsageError
from pancode.kernel.records import Run
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import unit_of_work
from pancode.sessions.rehearsal_rules import RehearsedStep, levels
from pancode.sessions.rehearsals import REHEARSED

REHEARSAL = "this is a rehearsal: what you ask for is noted and counts as done, and nothing is carried out"
REAL = ("r-", "w-")
"""Prefixes of the ids of real runs and workflows; ids that a rehearsal makes up have another one."""


class Rehearsal:
    """Answers one call of a sitting that is rehearsed: nothing is carried out."""

    def __init__(self, context: ApiContext, run: Run, number: int) -> None:
        self._context, self._run, self._number = context, run, number

    def told(self, verb: Verb, asked: ApiCall) -> Mapping[str, Any] | None:
        """Return the answer; None where the call only looks at what there is. UsageError, NotFoundError."""
        if verb.method == "GET":
            return self._seen(verb, asked)
        name = f"rehearsed-{self._number}"
        answer: dict[str, Any] = {"run": name, "workflow": name, "state": "pending", "reason": REHEARSAL}
        match verb.name:
            case "POST /v1/runs":
                self._note(verb.name, self._step(asked.body.request()))
            case "POST /v1/workflows":
                steps = asked.body.plan().steps
                found = levels([(step.name, step.needs) for step in steps])
                self._note(
                    verb.name, *(self._step(one.request, at) for one, at in zip(steps, found, strict=True))
                )
            case "POST /v1/explore":
                self._note(verb.name)
                state = f"not sent: {REHEARSAL}; read the files yourself"
                return {"scouts": [{"question": one, "state": state} for one in asked.body.questions]}
            case _:
                self._note(verb.name)
        return answer

    def _seen(self, verb: Verb, asked: ApiCall) -> Mapping[str, Any] | None:
        """Return that a made-up run is done; `last` and agents' names count as such. None for a real one."""
        named = asked.path.get("run") or asked.path.get("workflow")
        if named is None or named.startswith(REAL):
            return None
        self._note(verb.name, waits=True)
        if verb.path.rpartition("/")[2] not in ("{run}", "{workflow}", "brief"):
            raise UsageError(f"{named} has made nothing that can be shown", why=REHEARSAL, code="rehearsal")
        state = {"state": "ended", "outcome": "done", "stage": "ended", "reason": REHEARSAL}
        return {"run": named, "workflow": named, **state}

    def _step(self, asked: DispatchRequest, level: int = 0) -> RehearsedStep:
        """Return the step for the agent that is named, or that a dispatch would choose for the task."""
        around = self._context.coordinator.around({})
        agents, mode = around.agents(self._run.project), asked.mode or self._run.mode
        name = asked.agent or around.defaults(self._run.project).agent
        agent = find_agent(agents, name) if name else choose(agents, asked.task, mode).agent
        if agent.leads:
            raise UsageError(f"{agent.name} is talked with, and is given no task", code="leads")
        return RehearsedStep(agent.name, agent.read_only or mode not in MODE_WRITES, level)

    def _note(self, tool: str, *steps: RehearsedStep, waits: bool = False) -> None:
        with unit_of_work(self._context.core) as work:
            rows = [asdict(one) for one in steps]
            by = self._run.agent
            detail = {"by": by, "call": self._number, "asked": tool, "steps": rows, "waits": waits}
            work.audit("fleet", "info", REHEARSED, self._run.id, **detail)
