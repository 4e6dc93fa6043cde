"""The JSON of workflows, and of what waits for a person, that faces may rely on. Additions only."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from pancode.control.landing_shapes import LandingShape


class InboxShape(TypedDict):
    """One thing that waits for a person; `kind` as in `ItemKind`; `command` answers it.

    `yes`: the flags that its approval must carry. `plan`: of a run that has not begun: what it is to do, the
    estimate, and the `objections` of gates that a yes lifts. `call`: the number of the call that waits.
    """

    id: str
    run: str
    since: str
    kind: str
    words: str
    choices: list[str]
    command: str
    yes: list[str]
    call: int | None
    plan: dict[str, Any] | None


class CostShape(TypedDict):
    """The common cost of a workflow's runs, by the books; `unknown`: runs whose cost is not known."""

    usd: str
    held_usd: str
    unknown: int
    disputed_usd: str
    tokens: int
    agent_ms: int
    runs: int
    budget_usd: str | None


class LandedShape(TypedDict):
    """The count of the landings of a workflow that were asked for, and that have something to land.

    `waiting`: they are still landed by themselves. `not_landed`: a person goes on; the landing of the step
    has the command.
    """

    asked: int
    landed: int
    waiting: int
    not_landed: int


class WorkflowStepShape(TypedDict):
    """A step of a workflow. `run`: the newest of its `runs`. `refused`: why it was not admitted.

    `state`: `pending` while its run is queued, and `reason` says for what it waits. `task`: its beginning.
    `agent`, `node`: of its run; before there is one, as they were asked for. `answer`: the first line of its
    run's. `verdict_file`: the file in which its runs write a verdict.
    """

    name: str
    state: str
    task: str
    agent: str | None
    node: str | None
    answer: str
    landing: LandingShape | None
    needs: list[str]
    run: str | None
    runs: list[str]
    outcome: str | None
    round: int
    most: int
    reason: str
    refused: str | None
    outputs: dict[str, Any]
    verdict_file: str | None
    started_at: str | None
    finished_at: str | None


class WorkflowShape(TypedDict):
    """A workflow with its steps, in the order in which they were asked for.

    `results`: the runs that have its change, which nothing later in it has changed further. `inbox`: what
    of it waits for a person. `waits_for_person`: nothing goes on before a question is answered.
    """

    workflow: str
    kind: str
    name: str
    state: str
    reason: str
    winner: str | None
    results: list[str]
    steps: list[WorkflowStepShape]
    landed: LandedShape
    inbox: list[InboxShape]
    waits_for_person: bool
    cost: CostShape
    created_at: str
    finished_at: str | None
    created_by: str
    retry_of: str | None
    warnings: list[str]
