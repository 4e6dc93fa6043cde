"""`pancode lane`: work items that run one after another, automatically."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Argument

from pancode.interfaces.cli.parameters import Face, Json, Yes, completions, option, parse_duration, verb
from pancode.interfaces.cli.terminal import (
    Columns,
    clip_columns,
    escape_line,
    escape_lines,
    format_rows,
    short_time,
)
from pancode.interfaces.client.caller import find_folder
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import count_noun
from pancode.runs.commands import options
from pancode.runs.commands.dispatch_requests import WithArgv, of_caller, post_agreed, task_text
from pancode.workflows import answers
from pancode.workflows.commands.tables import OVER, format_spent

Lane = Annotated[str, Argument(autocompletion=completions.lanes)]
Item = Annotated[
    str | None, Argument(metavar="[ITEM]", help="The item's number or key (default: the current item).")
]
TASK_COLUMNS, SHOWN = 60, 10
"""How many characters of a task, and how many ended items, are shown."""
_PAUSE = "Pause an existing lane: start nothing more; the running item continues."


@verb(
    "lane create",
    "night --agent builder --land --total-budget 20",
    "login --workspace login --goes-on",
    "night --pause --reason 'release freeze'",
    cls=options.WorkCommand,
)
@options.take_options("dispatch", after="resume")
def create(
    ctx: typer.Context,
    name: Annotated[str, Argument()],
    *,
    total: options.Total = None,
    goes_on: Annotated[bool, option("Continue after an item that did not succeed.")] = False,
    pause: Annotated[bool, option(_PAUSE)] = False,
    reason: Annotated[str, option("With --pause: the reason, shown with the lane.")] = "",
    resume: Annotated[bool, option("Resume the lane, at a failed item from its beginning.")] = False,
    face: Json,
    **_options: Any,
) -> None:
    """Create a lane for the current repository. The options are defaults for items without their own.

    A lane automatically runs one item after another, also after a coordinator restart. Each item is an
    ordinary run. It is done when the run is done, its gates have passed, and its requested landing is over.
    Then the next item starts, and its agent gets a summary of the last result. An item that did not succeed
    stops the lane: begin it again with --resume, continue its run by a message, or skip it. With --resume,
    --total-budget sets a new ceiling.
    """
    if pause and resume:
        raise UsageError("--pause and --resume cannot be combined", fix="use only one of these options")
    ceiling = {} if total is None else {"budget": total}
    if pause:
        return _show(face, face.post(answers.PAUSE_LANE.at(name), {"reason": reason}))
    if resume:
        return _show(face, face.post(answers.RESUME_LANE.at(name), ceiling, works=True))
    settings = {key: value for key, value in options.collect_given(ctx.params).items() if key != "preset"}
    body = {"name": name, "cwd": find_folder(), "defaults": settings, "goes_on": goes_on, **ceiling}
    return _show(face, face.post(answers.CREATE_LANE, body, works=True))


@verb(
    "lane add",
    'night "add a --json flag to export" --verify "pytest -q"',
    "night -f task.md --key MIN-123 --priority 5 --expires 8h",
    "night --runtime shell -- make docs",
    cls=WithArgv,
)
@options.take_options("dispatch", after="expires")
def add(
    ctx: typer.Context,
    lane: Lane,
    task: options.Task = None,
    *,
    file: options.File = None,
    key: Annotated[
        str | None, option("A unique name for the item; an item with the same key is not added again.", "KEY")
    ] = None,
    expires: Annotated[
        int | None, option("Skip the item if it has not started after this time.", "D", parser=parse_duration)
    ] = None,
    yes: Yes = False,
    face: Json,
    **_options: Any,
) -> None:
    """Add an item to a lane after those of the same --priority. Takes the options of pancode dispatch."""
    about = {name: value for name, value in of_caller(ctx.params).items() if name in ("by", "settings")}
    text = task_text(task, file) or ""
    body: dict[str, Any] = {"task": text, **options.collect_given(ctx.params), **about, "yes": yes}
    more = {"argv": ctx.meta.get("argv"), "key": key, "expires_ms": expires}
    body |= {name: value for name, value in more.items() if value is not None}
    answer = post_agreed(face, face.client(works=True), answers.ADD_ITEM.at(lane), body)
    word = "added" if answer["added"] else "already exists"
    ahead = f"{count_noun(answer['left'], 'item')} not done" if answer["left"] else "nothing waits"
    words = f"{answer['lane']}  item {answer['item']['item']}  {word}; {ahead}, lane {answer['state']}"
    face.show(answer, lambda: f"{escape_line(words)}\n")


@verb("lane ls", "")
def ls(face: Json) -> None:
    """List all lanes: the current item of each, and what it waits for."""
    answer = face.get(answers.LANES)
    none = "no lanes yet; try: pancode lane create NAME"
    face.show(answer, lambda: format_rows(answer["lanes"], _LANES, none, spare=("COST",), cut="AT"))


def _format_place(one: dict[str, Any]) -> str:
    first = next((item for item in one["items"] if item["state"] not in OVER), None)
    task = "" if first is None else clip_columns(escape_line(first["task"]), TASK_COLUMNS)
    return one["why"] or ("" if first is None else f"{first['item']}: {task}")


_LANES: Columns = {
    **{"LANE": "lane", "STATE": "state"},
    "DONE": lambda one: sum(item["state"] == "done" for item in one["items"]),
    **{"LEFT": "left", "COST": format_spent, "AT": _format_place},
}


@verb("lane show", "night")
def show(lane: Lane, face: Json) -> None:
    """Show a lane: its state, the command that continues it, and its items in order."""
    _show(face, face.get(answers.LANE.at(lane)))


def _show(face: Face, answer: answers.LaneShape) -> None:
    face.show_result(answer, format_lane)


def format_lane(one: answers.LaneShape) -> str:
    """Return the lane as text, with a row for each item; of the ended items only the last ones."""
    left = f"{count_noun(one['left'], 'item')} left, {format_spent(one)}"
    lines = [f"{one['lane']}  {one['state']}  {left}"]
    lines += [f"  {one['why']}"] if one["why"] else []
    lines += [f"  fix: {one['fix']}"] if one["fix"] and one["state"] in ("stopped", "paused", "asks") else []
    over = [item for item in one["items"] if item["state"] in OVER]
    left_out = {item["item"] for item in over[:-SHOWN]}
    if left_out:
        lines.append(f"  {count_noun(len(left_out), 'earlier item')} not shown; to see all: --json")
    rows = [item for item in one["items"] if item["item"] not in left_out]
    none = f'no items yet; try: pancode lane add {escape_line(one["lane"])} "..."'
    return escape_lines(lines) + format_rows(rows, _ITEMS, none, spare=("KEY", "EXPIRES"), cut="TASK")


_ITEMS: Columns = {
    **{"ITEM": "item", "STATE": "state", "KEY": "key", "RUN": "run", "AGENT": "agent", "NODE": "node"},
    "EXPIRES": lambda item: short_time(item["expires_at"]) if item["expires_at"] else None,
    "TASK": lambda item: clip_columns(escape_line(item["task"]), TASK_COLUMNS),
    "WHY OR ANSWER": lambda item: item["reason"] or clip_columns(escape_line(item["answer"]), TASK_COLUMNS),
}


@verb("lane skip", "night", "night 7")
def skip(lane: Lane, item: Item = None, *, face: Json) -> None:
    """Skip an item and continue the lane; the item's run is stopped."""
    _show(face, face.post(answers.SKIP_ITEM.at(lane), {"item": item}))


@verb("lane rm", "night 7", "night --force")
def rm(
    lane: Lane,
    item: Annotated[
        str | None, Argument(metavar="[ITEM]", help="Remove only this item, which has not started.")
    ] = None,
    *,
    force: Annotated[bool, option("Remove the lane even if items are left; its run is stopped.")] = False,
    face: Json,
) -> None:
    """Remove an item, or end the lane. Runs, results and costs are kept."""
    answer = face.post(answers.REMOVE_LANE.at(lane), {"item": item, "force": force})
    face.show(answer, lambda: format_lane(answer) if item else f"{escape_line(answer['lane'])}  ended\n")
