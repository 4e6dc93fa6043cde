"""Users' operations on a lane, which is a workflow that stays open: add, skip and remove items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pancode.kernel.errors import ConflictError, NotFoundError, PancodeError, UsageError
from pancode.kernel.names import not_found, plain_name
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EventKind, Run
from pancode.kernel.values import replace
from pancode.runs.admission.planning import complete_request
from pancode.runs.answers import Need, NeedGroup
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest, dump_request
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import format_iso, format_optional_iso
from pancode.workflows import lane_rules as lane
from pancode.workflows import store as rows
from pancode.workflows import views as workflows
from pancode.workflows.actions import begun_again, stop_workflow
from pancode.workflows.answers import LaneItemShape, LaneShape
from pancode.workflows.model import StepPlan, WorkflowPlan
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.service import judged_step
from pancode.workflows.step_start import PASSES

MOST_OPEN = 1_000
"""The maximum number of items that may wait in a lane."""
_VALID = "pancode lane create night"


@dataclass(frozen=True, slots=True)
class AskedLane:
    """A requested lane. `defaults`: values for items that do not set their own."""

    name: str
    by: str
    cwd: str | None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    budget: Decimal | None = None
    continues: bool = False


@dataclass(frozen=True, slots=True)
class AskedItem:
    """A requested item. `caller`: the settings and the preset of the user who adds the item."""

    request: DispatchRequest
    caller: Mapping[str, Any]
    key: str | None = None
    expires_ms: int | None = None


def create_lane(core: Core, lane: AskedLane) -> None:
    """Create the lane. UsageError for an invalid name, ConflictError if it is taken."""
    plain_name("lane", lane.name, _VALID)
    with unit_of_work(core) as work:
        taken = _open(work.tx).get(lane.name)
        if taken is not None:
            fix = f'pancode lane add {lane.name} "..."'
            raise ConflictError(f"lane {lane.name} already exists", why=taken.id, fix=fix, code="name_taken")
        workflow = Workflow(
            rows.new_id(core, work.tx),
            core.wall_ms(),
            lane.by,
            WorkflowKind.LANE,
            lane.name,
            "",
            lane.cwd,
            concurrency=1,
            budget=lane.budget,
            lane={"defaults": dict(lane.defaults), "goes_on": lane.continues},
        )
        work.tx.insert(workflow)
        work.happened(rows.workflow_event(EventKind.WORKFLOW_STARTED, workflow))
        work.audit("fleet", "info", "lane created", by=lane.by, lane=lane.name, workflow=workflow.id)


def _open(tx: Transaction) -> dict[str, Workflow]:
    """Return the existing lanes by name."""
    found = tx.find(Workflow, {"state": WorkflowState.RUNNING})
    return {one.name: one for one in found if one.kind is WorkflowKind.LANE}


def find_lane(tx: Transaction, name: str) -> Workflow:
    """Return the lane with this name or id. NotFoundError; UsageError if no lane can have this name."""
    found = _open(tx)
    by_id = {one.id: one for one in found.values()}
    if name in found or name in by_id:
        return found.get(name) or by_id[name]
    plain_name("lane", name, _VALID)
    raise not_found("lane", name, found, f"pancode lane ls; a new one: pancode lane create {name}")


def get_defaults(core: Core, name: str) -> dict[str, Any]:
    """Return the lane's defaults for items that do not set their own values. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        return _read_defaults(find_lane(tx, name))


def add_item(core: Core, around: Surroundings, name: str, new_item: AskedItem) -> tuple[str, bool]:
    """Add an item; return its name and whether it is new: the same key is not added again. The item is
    checked as if it started now, ignoring refusals that can resolve themselves, such as a busy node."""
    by = new_item.request.created_by
    with core.ports.ledger.transaction() as tx:
        workflow = find_lane(tx, name)
        there = _with_key(rows.steps_of(tx, workflow.id), new_item.key)
    if there is not None:
        return there.name, False
    try:
        request = complete_request(core, around, replace(new_item.request, cwd=workflow.cwd))
        step = StepPlan("item", request)
        plan = WorkflowPlan(WorkflowKind.LANE, name, by, "", request.cwd, (step,), caller=new_item.caller)
        judged_step(core, around, plan, step)
    except PancodeError as error:
        if error.code not in PASSES:
            raise
    with unit_of_work(core) as work:
        workflow = find_lane(work.tx, workflow.id)
        steps = rows.steps_of(work.tx, workflow.id)
        there = _with_key(steps, new_item.key)
        if there is not None:
            return there.name, False
        if sum(not one.state.is_over for one in steps) >= MOST_OPEN:
            raise UsageError(
                f"lane {workflow.name} is full: {MOST_OPEN} items are waiting",
                fix=f"pancode lane show {name}",
            )
        for old in lane.select_outlived(steps):
            work.tx.delete(WorkflowStep, old.workflow, old.number)
        item = _make_item(core, workflow, steps, new_item)
        place, later = lane.insert_item(steps, new_item.request.priority)
        for one in later:
            work.tx.put(one)
        work.tx.insert(replace(item, item={**item.item, "place": place}))
        work.happened(rows.step_event(item))
        rows.ask_to_advance(work, workflow)
    return item.name, True


def _with_key(steps: tuple[WorkflowStep, ...], key: str | None) -> WorkflowStep | None:
    return next((step for step in steps if key is not None and step.item.get("key") == key), None)


def _make_item(
    core: Core, workflow: Workflow, steps: tuple[WorkflowStep, ...], new_item: AskedItem
) -> WorkflowStep:
    number = max((step.number for step in steps), default=0) + 1
    item: dict[str, object] = {
        "by": new_item.request.created_by,
        "at_ms": core.wall_ms(),
        "caller": dict(new_item.caller),
        "priority": new_item.request.priority,
    }
    item |= {} if new_item.key is None else {"key": new_item.key}
    item |= {} if new_item.expires_ms is None else {"expires_ms": core.wall_ms() + new_item.expires_ms}
    request = dump_request(replace(new_item.request, cwd=None))
    return WorkflowStep(workflow.id, number, str(number), (), request, item=item)


def pause_lane(core: Core, name: str, by: str, reason: str) -> None:
    """Pause the lane, so that no item starts; the running item continues to its end. Idempotent."""
    with unit_of_work(core) as work:
        workflow = find_lane(work.tx, name)
        if not workflow.lane.get("paused"):
            paused = {"by": by, "at_ms": core.wall_ms(), "why": reason}
            _change(work, workflow, {"paused": paused}, "lane paused", by, workflow.budget)


def resume_lane(core: Core, name: str, by: str, budget: Decimal | None = None) -> None:
    """Resume the lane; an unsuccessful item that stops it begins again. `budget`: its new ceiling."""
    with unit_of_work(core) as work:
        workflow = find_lane(work.tx, name)
        _change(work, workflow, {"paused": None}, "lane resumed", by, budget or workflow.budget)
        steps = rows.steps_of(work.tx, workflow.id)
        bad = lane.stops_at(workflow, steps)
        if bad is not None:
            rows.put_steps(work, begun_again(work, bad, anew=True))
        for step in steps:
            if step.begins_ms is not None and lane.may_move(step):  # There may be room below the ceiling now.
                work.tx.put(replace(step, begins_ms=None))


def _change(
    work: Work, workflow: Workflow, change: Mapping[str, object], word: str, by: str, budget: Decimal | None
) -> None:
    changed = replace(workflow, lane={**workflow.lane, **change}, budget=budget)
    work.tx.put(changed)
    work.audit("fleet", "info", word, by=by, lane=workflow.name, workflow=workflow.id)
    rows.ask_to_advance(work, changed)


def _find_item(
    tx: Transaction, name: str, item: str | None
) -> tuple[Workflow, tuple[WorkflowStep, ...], WorkflowStep]:
    """Return the lane, its items, and the item with this number or key. NotFoundError. `item` None: the item
    at which the lane is stopped, or else the next one."""
    workflow = find_lane(tx, name)
    steps = rows.steps_of(tx, workflow.id)
    if item is None:
        found = lane.stops_at(workflow, steps) or next((one for one in steps if not one.state.is_over), None)
        if found is None:
            fix = f'pancode lane add {workflow.name} "..."'
            raise NotFoundError(
                f"no items are waiting in lane {workflow.name}", fix=fix, code="item_not_found"
            )
        return workflow, steps, found
    found = next((one for one in steps if item in (one.name, one.item.get("key"))), None)
    if found is None:
        raise not_found("item", item, [one.name for one in steps], f"pancode lane show {workflow.name}")
    return workflow, steps, found


def _must_wait(workflow: Workflow, step: WorkflowStep) -> None:
    if not lane.may_move(step):
        over = step.state.is_over
        raise UsageError(
            f"item {step.name} of lane {workflow.name} {'is ' + step.state if over else 'has started'}",
            fix=f"pancode lane {'show' if over else 'skip'} {workflow.name}{'' if over else f' {step.name}'}",
            code="item_begun",
        )


def skip_item(core: Core, name: str, item: str | None, by: str) -> str:
    """Skip the item and stop its run; the lane continues. Return the item's name."""
    with unit_of_work(core) as work:
        workflow, _, step = _find_item(work.tx, name, item)
        if step.state in (WorkflowStepState.DONE, WorkflowStepState.SKIPPED):
            _must_wait(workflow, step)
        skipped = lane.apply_skip(replace(step, item={**step.item, "skip": by}), core.wall_ms())
        rows.put_steps(work, skipped)
        rows.ask_to_advance(work, workflow)
        work.audit("fleet", "info", "lane item skipped", by=by, lane=workflow.name, item=step.name)
        return step.name


def drop_item(core: Core, name: str, item: str, by: str) -> str:
    """Remove an item that has not started; return its name. UsageError if it has started."""
    with unit_of_work(core) as work:
        workflow, _, step = _find_item(work.tx, name, item)
        _must_wait(workflow, step)
        work.tx.delete(WorkflowStep, step.workflow, step.number)
        work.happened(
            rows.step_event(replace(step, state=WorkflowStepState.SKIPPED, reason=f"removed by {by}"))
        )
        work.audit("fleet", "info", "lane item removed", by=by, lane=workflow.name, item=step.name)
        return step.name


def remove_lane(core: Core, name: str, by: str, force: bool) -> LaneShape:
    """End the lane and stop its active run. UsageError if items are left, unless `force`."""
    with core.ports.ledger.transaction() as tx:
        workflow = find_lane(tx, name)
        left = [one for one in rows.steps_of(tx, workflow.id) if not one.state.is_over]
    if left and not force:
        what = f"{len(left)} items of lane {workflow.name} have not ended"
        why, fix = f"the next one is {left[0].name}", f"pancode lane rm {workflow.name} --force"
        raise UsageError(what, why=why, fix=fix, code="lane_not_empty")
    return _shape(core, stop_workflow(core, workflow.id, f"lane removed by {by}", by))


def list_lanes(core: Core) -> list[LaneShape]:
    """Return all lanes by name."""
    with core.ports.ledger.transaction() as tx:
        found = _open(tx)
    return [_shape(core, found[name]) for name in sorted(found)]


def get_lane(core: Core, name: str) -> LaneShape:
    """Return one lane. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        workflow = find_lane(tx, name)
    return _shape(core, workflow)


def list_needs(tx: Transaction) -> Iterator[Need]:
    """Yield the lanes that are stopped at an item and need a user's decision, by name. `run`: the item's run.
    Reads no items, because each inbox request calls this."""
    for name, workflow in sorted(_open(tx).items()):
        stands: Any = workflow.lane.get("stands")
        if stands:
            run, what, command = stands["run"], stands["what"], f"pancode lane show {name}"
            need, title = f"lane:{name}:{run}", f"lane {name}"
            yield Need(need, NeedGroup.FAILED, "stopped", title, what, command, run=run, words=what)


def _shape(core: Core, workflow: Workflow) -> LaneShape:
    flow = workflows.get_workflow(core, workflow.id)
    with core.ports.ledger.transaction() as tx:
        steps = rows.steps_of(tx, workflow.id)
        begun = [step.run for step in steps if step.run is not None and not step.state.is_over]
        runs = [run for name in begun if (run := tx.get(Run, name))]
    by_name = {step["name"]: step for step in flow["steps"]}
    items: list[LaneItemShape] = [
        {
            **by_name[step.name],
            "item": step.name,
            "key": _text(step.item.get("key")),
            "priority": _read_number(step, "priority") or 0,
            "added_by": str(step.item.get("by", "")),
            "added_at": format_iso(_read_number(step, "at_ms") or 0),
            "expires_at": format_optional_iso(_read_number(step, "expires_ms")),
        }
        for step in steps
        if step.name in by_name
    ]
    settling = any(lane.is_unsettled(run) for run in runs)
    state, why, fix = _describe_state(workflow, steps, bool(flow["inbox"]), settling)
    paused: Any = workflow.lane.get("paused")
    return {
        "lane": workflow.name,
        "workflow": workflow.id,
        "state": state,
        "why": why,
        "fix": fix,
        "paused_by": paused["by"] if paused else None,
        "goes_on": bool(workflow.lane.get("goes_on")),
        "defaults": _read_defaults(workflow),
        "folder": workflow.cwd,
        "items": items,
        "left": sum(not step.state.is_over for step in steps),
        "inbox": flow["inbox"],
        "cost": flow["cost"],
        "created_at": flow["created_at"],
        "created_by": workflow.created_by,
    }


def _read_defaults(workflow: Workflow) -> dict[str, Any]:
    found: Any = workflow.lane.get("defaults") or {}
    return dict(found)


def _read_number(step: WorkflowStep, key: str) -> int | None:
    found: Any = step.item.get(key)
    return None if found is None else int(found)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _describe_state(
    workflow: Workflow, steps: tuple[WorkflowStep, ...], waits: bool, settling: bool
) -> tuple[str, str, str]:
    """Return the lane's state, the reason for the state, and the command that continues the lane."""
    if workflow.state is not WorkflowState.RUNNING:
        return "removed", workflow.stop_asked or workflow.reason, ""
    bad, paused = lane.stops_at(workflow, steps), workflow.lane.get("paused")
    if bad is not None:
        return "stopped", f"item {bad.name}: {bad.reason}", _find_fix(workflow, bad)
    if isinstance(paused, Mapping):
        why = f": {paused['why']}" if paused.get("why") else ""
        return "paused", f"by {paused['by']}{why}", f"pancode lane create --resume {workflow.name}"
    left = [step for step in steps if not step.state.is_over]
    if not left:
        return "empty", "", f'pancode lane add {workflow.name} "..."'
    if waits:
        return "asks", left[0].reason, "pancode inbox"
    if settling:
        return "working", f"the result of item {left[0].name} is being landed", ""
    return ("waits", left[0].reason, "") if lane.may_move(left[0]) and left[0].reason else ("working", "", "")


def _find_fix(workflow: Workflow, bad: WorkflowStep) -> str:
    has_agent = bad.run is not None and bad.request.get("runtime") != "shell"
    says = f'; with a message: pancode runs continue {bad.run} "..."' if has_agent else ""
    again = f"pancode lane create --resume {workflow.name}{says}"
    return f"{again}; or skip the item: pancode lane skip {workflow.name}"
