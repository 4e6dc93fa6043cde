"""Waits for a workflow and prints each result when it arrives; Ctrl-C detaches and stops no run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pancode.interfaces.cli import landings
from pancode.interfaces.cli.follow import format_reason, format_run_time
from pancode.interfaces.cli.output import Face, say_no_more, write_stderr
from pancode.interfaces.cli.progress import ProgressRow
from pancode.interfaces.cli.terminal import clip_columns, escape_line, safe_block
from pancode.interfaces.client.client import Client, FleetDownError, StreamCutError
from pancode.interfaces.client.connection import NotRunningError
from pancode.interfaces.client.retry import AGAIN_S, TRIES
from pancode.kernel.errors import ApiError, ExitCode
from pancode.kernel.formatting import cost_of, first_few, format_status
from pancode.reports.commands.events import watch_feed
from pancode.runs.answers import RUN, LandingShape
from pancode.workflows.answers import WORKFLOW, WorkflowShape, WorkflowStepShape
from pancode.workflows.commands import tables

PACE_S = (0.1, 2.0)
"""The minimum seconds between two checks, and the maximum if no event comes."""
_SHOWN = 5
NOT_DONE = "not landed"
"""Status of a landing that did not start because its run failed; the run's outcome already shows that."""


def wait_for(face: Face, client: Client, workflow: str) -> WorkflowShape | None:
    """Return the workflow when it has ended or waits for a user's answer; None if the user detached.

    It has ended when its landings, which the coordinator carries out automatically, have ended too.
    """
    try:
        with ProgressRow(face, stays=False) as row:
            results, reasons, landing = Results(face, client, row), WaitReasons(face, row), False
            for shape in watch_workflow(face, client, workflow):
                results.tell(shape)
                reasons.tell(shape)
                ended = shape["state"] in tables.ENDED or shape.get("waits_for_person")
                if ended and not shape["landed"]["waiting"]:
                    return shape
                if ended and not landing:
                    landing = True
                    face.note(f"  {workflow}  {tables.format_counts(shape)}: landing, gates first")
                if row.draws:
                    row.show("workflow", under_way(shape))
    except KeyboardInterrupt:
        pass
    ways = f"follow: pancode workflow show -f {workflow}   stop: pancode stop {workflow}"
    write_stderr(f"\ndetached; {workflow} continues.  {ways}\n")
    return None


class WaitReasons:
    """Prints why a workflow waits, if no progress is drawn: each reason once, after two checks saw it."""

    def __init__(self, face: Face, row: ProgressRow) -> None:
        self._face, self._row = face, row
        self._before, self._said = set[str](), set[str]()

    def tell(self, shape: WorkflowShape) -> None:
        reasons = tables.group_waits(shape)
        fresh = {why: names for why, names in reasons.items() if why in self._before - self._said}
        if fresh and not self._row.draws:
            self._face.note(
                f"  {shape['workflow']}  {tables.format_counts(shape)}; {tables.why_waits(fresh)}"
            )
        self._before, self._said = set(reasons), self._said | set(fresh)


def under_way(shape: WorkflowShape) -> str:
    """Return one line about what is running now and the workflow's progress."""
    active = [step for step in shape["steps"] if step["state"] in ("running", "starting")]
    names = [f"{escape_line(step['name'])} ({step['run'] or 'starting'})" for step in active]
    now = filter(None, (first_few(names, _SHOWN), tables.why_waits(tables.group_waits(shape))))
    return ":  ".join(filter(None, (f"  {shape['workflow']}  {tables.format_counts(shape)}", "; ".join(now))))


def watch_workflow(face: Face, client: Client, workflow: str) -> Iterator[WorkflowShape]:
    """Yield the workflow now and after each of its events, even if the coordinator restarts meanwhile."""
    tries, quiet = 0, Face(as_json=True)  # If the coordinator is unavailable, the requests below report that.
    for _ in watch_feed(quiet, client, {"workflow": workflow}, PACE_S):
        try:
            yield client.get(WORKFLOW.at(workflow))
            tries = 0
        except FleetDownError as down:
            fix = f"pancode fleet up; then pancode workflow show -f {workflow}"
            why = f"{down.why}; {workflow} continues when it is up again"
            raise FleetDownError(str(down), why=why, fix=fix) from down
        except (StreamCutError, NotRunningError) as cut:
            if tries >= TRIES:
                raise
            if tries == 0:
                face.note(f"the coordinator is unavailable ({cut.why or cut}); waiting for it")
            tries += 1
            time.sleep(AGAIN_S)


def ended_runs(step: WorkflowStepShape) -> list[str]:
    """Return the step's ended runs: of earlier rounds, and the newest if the step has ended or waits."""
    waits = step["state"] == "waiting" and (step["run"] is None or step["outcome"] == "blocked")
    is_over = step["state"] in tables.OVER or waits
    runs: list[str] = step["runs"]
    return runs if is_over else runs[:-1]


class Results:
    """Prints each ended run once, on one line: step, outcome, run, cost, duration, task and answer."""

    def __init__(self, face: Face, client: Client, row: ProgressRow) -> None:
        self._face, self._client, self._row = face, client, row
        self._reported: set[str] = set()

    def tell(self, shape: WorkflowShape) -> None:
        if self._face.as_json:
            return
        wide = max(len(step["name"]) for step in shape["steps"])
        for step in shape["steps"]:
            for run in ended_runs(step):
                if run not in self._reported:
                    self._reported.add(run)
                    self._say(self._of_run(step, wide, run))
            if step["state"] in tables.OVER and not step["run"] and step["name"] not in self._reported:
                self._reported.add(step["name"])
                self._say(escape_line(f"{step['name'].ljust(wide)}  {step['state']:<13}  {step['reason']}"))

    def _of_run(self, step: WorkflowStepShape, wide: int, run: str) -> str:
        shape = self._client.get(RUN.at(run))
        words = "" if shape["outcome"] == "done" else format_reason(shape)
        if shape["outcome"] == "done" and shape["answer"]:
            words = f"-> {clip_columns(escape_line(tables.first_line(shape['answer'])), tables.TASK_COLUMNS)}"
        place = tables.format_worker(shape["agent"], shape["node"], step["task"])
        fields = (escape_line(step["name"].ljust(wide)), f"{format_status(shape):<13}", run, cost_of(shape))
        return "  ".join(filter(None, (*fields, format_run_time(shape), place, words)))

    def _say(self, line: str) -> None:
        """Print the line to standard output; on a terminal, above the progress display."""
        if self._row.draws and sys.stdout.isatty():
            self._row.above(line)
            return
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            say_no_more()


def report_end(face: Face, shape: WorkflowShape) -> int:
    """Print the end of a workflow after waiting for it; return the exit status."""
    client = face.client()
    if face.can_ask() and any(one["status"] == landings.HELD for _, one in list_landings(shape)):
        # The user at the terminal approves or declines what a landing is waiting for.
        for run, landing in list_landings(shape):
            if landing["status"] == landings.HELD and landing.get("yes"):
                with suppress(ApiError):  # The reason is in the text about the workflow below.
                    landings.land_and_wait(face, client, run, {"gates": True})
        shape = client.get(WORKFLOW.at(shape["workflow"]))
    last = _result_of(client, shape) if shape["state"] == "done" and shape["kind"] != "batch" else None
    return face.end(_find_status(shape), shape, lambda: _format_end(shape, last))


def list_landings(shape: WorkflowShape) -> list[tuple[str, LandingShape]]:
    """Return the run and its landing for each step whose change was to be landed."""
    steps = shape["steps"]
    return [(step["run"], step["landing"]) for step in steps if step["run"] and step["landing"] is not None]


def _format_end(shape: WorkflowShape, last: dict[str, Any] | None) -> str:
    answer = safe_block(last["answer"]) if last is not None else ""
    # For a batch, only changes that have not landed are listed, each with the command to run next.
    result, empty = "", dict[str, Any](files=[], tree="", branch=None, gate=None)
    for run, kept in list_landings(shape):
        landing = {**empty, "run": run, **kept}
        if landing["status"] == "landed" and shape["kind"] != "batch":
            result += landings.format_landing(landing)
        elif landing["status"] not in (*landings.FINE, NOT_DONE):
            result += landings.landing_line(landing)
    text = f"{answer}{tables.format_headline(shape)}{result}"
    if shape.get("waits_for_person"):
        follow = f"  it continues after the answer; follow: pancode workflow show -f {shape['workflow']}\n"
        return text + tables.list_questions(shape) + follow
    if last is not None and last["commit"] and not shape["landed"]["asked"]:
        return text + "".join(f"  land the change: pancode land {run}\n" for run in shape["results"])
    if shape["state"] != "done":
        return f"{text}  see: pancode workflow show {shape['workflow']}\n"
    return text


def _result_of(client: Client, shape: WorkflowShape) -> dict[str, Any] | None:
    """Return the last run with a result, and the last step's answer; `commit` is None without a result."""
    runs = {step["name"]: step["run"] for step in shape["steps"] if step["run"] and step["state"] == "done"}
    if shape["winner"] is not None:
        runs = {name: run for name, run in runs.items() if name == shape["winner"]}
    if not runs:
        return None
    last = client.get(RUN.at(list(runs.values())[-1]))
    if not shape["results"]:
        return {**last, "commit": None}
    return {**client.get(RUN.at(shape["results"][-1])), "answer": last["answer"]}


def _find_status(shape: WorkflowShape) -> int:
    """Return the workflow's exit status: done and landed, stopped, partly done or landed, or blocked."""
    if shape.get("waits_for_person"):
        return ExitCode.BLOCKED
    match shape["state"]:
        case "done":
            left = shape["landed"]["waiting"] + shape["landed"]["not_landed"]
            return ExitCode.PARTIAL if left else ExitCode.DONE
        case "stopped":
            return ExitCode.INTERRUPTED
    return ExitCode.PARTIAL
