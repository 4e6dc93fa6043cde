"""The shapes of workflows and lanes in the API."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import DryRunReport, InboxShape, LandingShape


class CostShape(TypedDict):
    """The booked cost of all runs of a workflow. `unknown`: the number of runs of unknown cost."""

    usd: str
    held_usd: str
    unknown: int
    disputed_usd: str
    tokens: int
    agent_ms: int
    runs: int
    budget_usd: str | None


class LandedShape(TypedDict):
    """Counts of a workflow's requested landings that have a change to land. `waiting`: those that will still
    land automatically. `not_landed`: those where a user must act; the step's landing names the command."""

    asked: int
    landed: int
    waiting: int
    not_landed: int


class WorkflowStepShape(TypedDict):
    """A step of a workflow. `run`: the newest of its `runs`. `refused`: why its run was not admitted.

    `state`: `pending` while the run is queued; `reason`: what the run waits for. `task`: the task's
    beginning. `agent`, `node`: the run's, or the requested ones before there is a run. `answer`: the first
    line of the run's answer. `verdict_file`: the file to which the step's runs write a verdict.
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
    """A workflow with its steps, in the requested order.

    `results`: the runs with the workflow's final changes, which no later run changed further. `inbox`: what
    waits for a user. `waits_for_person`: whether no step continues until a question is answered.
    """

    workflow: str
    kind: str
    name: str
    status: str
    """The state that every interface shows: the workflow's, `waiting_for_you`, or `stopped` for a lane."""
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


class LaneItemShape(WorkflowStepShape):
    """An item of a lane, a step of its workflow. `key`: unique; an item with a known key is not added."""

    item: str
    key: str | None
    priority: int
    added_by: str
    added_at: str
    expires_at: str | None


class LaneShape(TypedDict):
    """A lane, which runs one work item after another. `left`: the number of items that have not ended.

    `state`: working, `waits` for room, `asks` a user, `stopped` at an item that did not succeed, paused,
    empty or removed. `fix`: the command that continues the lane. `goes_on`: whether it continues after a
    failed item. `defaults`: values for items that do not set their own.
    """

    lane: str
    workflow: str
    state: str
    why: str
    fix: str
    paused_by: str | None
    goes_on: bool
    defaults: dict[str, Any]
    folder: str | None
    items: list[LaneItemShape]
    left: int
    inbox: list[InboxShape]
    cost: CostShape
    created_at: str
    created_by: str


class StepReport(DryRunReport):
    """A dry run's report on a step. `later`: facts that become known only when the step starts."""

    name: str
    needs: list[str]
    task: str
    node: str | None
    later: NotRequired[str]


class WorkflowDryRun(TypedDict):
    """A dry run's reports on all steps, and the reason if the workflow would be refused."""

    dry_run: bool
    admitted: bool
    steps: list[StepReport]
    reason: str
    fix: str
    estimate_usd: str


class WorkflowsAnswer(TypedDict):
    workflows: list[WorkflowShape]
    next: str | None
    """The cursor of the next page; None on the last page."""


_Origin = TypedDict("_Origin", {"from": str})


class WorkflowFile(_Origin):
    """A workflow file that can be named. `wrong`: how many problems it has, in words; empty: none.
    `replaces`: the shipped workflow whose name it has; null: none."""

    name: str
    file: str
    kind: str
    steps: int
    description: str
    wrong: str
    replaces: str | None


class WorkflowFilesAnswer(TypedDict):
    files: list[WorkflowFile]


class LanesAnswer(TypedDict):
    lanes: list[LaneShape]


class LaneAddedAnswer(TypedDict):
    """`added`: false if the lane already has an item with this key, so that nothing was added."""

    lane: str
    added: bool
    item: LaneItemShape
    left: int
    state: str


WORKFLOWS = Route[WorkflowsAnswer]("GET /v1/workflows")
BEGIN = Route[WorkflowShape | WorkflowDryRun]("POST /v1/workflows")
BEGIN_WORKFLOW, TRY_WORKFLOW = Route[WorkflowShape](BEGIN), Route[WorkflowDryRun](BEGIN)
WORKFLOW = Route[WorkflowShape]("GET /v1/workflows/{workflow}")
STOP_WORKFLOW = Route[WorkflowShape]("POST /v1/workflows/{workflow}/stop")
RESUME_WORKFLOW = Route[WorkflowShape]("POST /v1/workflows/{workflow}/resume")
RETRY_WORKFLOW = Route[WorkflowShape]("POST /v1/workflows/{workflow}/retry")
LANES = Route[LanesAnswer]("GET /v1/lanes")
WORKFLOW_FILES = Route[WorkflowFilesAnswer]("GET /v1/workflow-files")
CREATE_LANE = Route[LaneShape]("POST /v1/lanes")
LANE = Route[LaneShape]("GET /v1/lanes/{lane}")
ADD_ITEM = Route[LaneAddedAnswer]("POST /v1/lanes/{lane}/add")
PAUSE_LANE = Route[LaneShape]("POST /v1/lanes/{lane}/pause")
RESUME_LANE = Route[LaneShape]("POST /v1/lanes/{lane}/resume")
SKIP_ITEM = Route[LaneShape]("POST /v1/lanes/{lane}/skip")
REMOVE_LANE = Route[LaneShape]("POST /v1/lanes/{lane}/remove")
