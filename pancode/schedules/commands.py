"""`pancode schedule`: work that starts at a time, on an event or on a webhook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument

from pancode.interfaces.cli.declared import collect_values, take_values
from pancode.interfaces.cli.larger_work import complete_files, load_commands
from pancode.interfaces.cli.output import Face, find_user
from pancode.interfaces.cli.parameters import Json, Yes, completions, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_rows, short_time
from pancode.interfaces.client.client import path_of
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import zone_of
from pancode.runs.commands import options
from pancode.runs.commands.dispatch_requests import WithArgv, of_caller, task_text
from pancode.schedules import answers
from pancode.schedules.terms import TERMS

_CHAIN = "Start this workflow, with TASK as its input."
_TRIGGERS = [TERMS[name] for name in ("cron", "at", "on", "where")]
_OTHERS = [one for one in TERMS.values() if one not in _TRIGGERS]


def format_schedules(found: list[answers.ScheduleShape]) -> str:
    none = "no schedules yet; try: pancode schedule add nightly --cron '30 2 * * *' \"...\""
    below = []
    for one in found:
        # The address that fires the schedule, or the reason why there is none.
        lines = [f"POST {one['url']}"] if one["url"] else one["warnings"]
        below.append([f"  {escape_line(line)}" for line in (*lines, *_format_problems(one))])
    return format_rows(found, _COLUMNS, none, spare=("WORK",), cut="WORK", below=below)


def format_schedule(one: answers.ScheduleShape) -> str:
    """Return the schedule as text, with its next times and its last firings."""
    lines = [f"{one['schedule']}  {_format_state(one)}  {one['words']}", f"begins  {one['task']}"]
    overlap = "may overlap" if one["overlap"] else "never two at the same time"
    lines += [f"missed times  {one['missed']}; {overlap}"]
    lines += [f"paused  {one['paused']}"] if one["paused"] else []
    lines += [f"webhook  POST {one['url']}"] if one["url"] else []
    lines += [f"secret, shown once: {one['secret']}"] if one["secret"] else []
    lines += [*(f"next  {text}" for text in one["next"]), *_format_problems({**one, "firings": []})]
    return escape_lines(lines) + (format_rows(one["firings"], _FIRINGS) if one["firings"] else "")


def _format_state(one: answers.ScheduleShape) -> str:
    if one["paused"] is not None:
        return "paused"
    if one["running"] is not None:
        return "running"
    return "over" if (not one["next"] and one["trigger"]["kind"] in ("cron", "at")) else "waiting"


def _format_last(one: answers.ScheduleShape) -> str | None:
    if not one["firings"]:
        return None
    last = one["firings"][0]
    what = last["run"] or last["workflow"] or last["state"]
    return f"{short_time(last['due_at'])} {what}"


def _format_cause(firing: answers.FiringShape) -> str:
    cause = firing["cause"]
    if "by" in cause:
        return f"requested by {escape_line(str(cause['by']))}"
    what = str(cause.get("run") or cause.get("kind") or "")[:12]
    return what or ("late" if firing["late"] else "")


_COLUMNS: RowColumns[answers.ScheduleShape] = {
    **{"SCHEDULE": "schedule", "STATE": _format_state, "FIRES": "words"},
    "NEXT": lambda one: one["next"][0] if one["next"] and one["paused"] is None else None,
    **{"LAST": _format_last, "WORK": "task"},
}
_FIRINGS: RowColumns[answers.FiringShape] = {
    **{"AT": "due_at", "STATE": "state", "BEGAN": lambda one: one["run"] or one["workflow"]},
    **{"ON": _format_cause, "WHY": "reason"},
}


def _format_problems(one: answers.ScheduleShape) -> list[str]:
    """Return the schedule's problems that a user must repair."""
    found: list[str] = []
    for firing in one["firings"][:1]:
        if firing["state"] in ("refused", "failed"):
            fix = f" (fix: {escape_line(firing['fix'])})" if firing["fix"] else ""
            found.append(f"last firing {firing['state']}: {escape_line(firing['reason'])}{fix}")
    return found


_LOCALTIME, _NAMED = "/etc/localtime", "/etc/timezone"
_FOLDER = "zoneinfo/"


def local_zone(environ: Mapping[str, str]) -> str:
    """Return the local zone's name, such as Europe/Berlin; UTC if this computer has no known one."""
    given, written = environ.get("TZ", "").removeprefix(":").rpartition(_FOLDER)[2], ""
    with suppress(OSError, ValueError):
        written = Path(_NAMED).read_text(encoding="utf-8").strip()
    linked = os.path.realpath(_LOCALTIME).partition(_FOLDER)[2]
    return next((name for name in (given, linked, written) if name and _is_known(name)), "UTC")


def _is_known(name: str) -> bool:
    try:
        zone_of(name)
    except UsageError:
        return False
    return True


Name = Annotated[str, Argument(autocompletion=completions.schedules)]


@verb(
    "schedule add",
    "nightly --cron '30 2 * * 1-5' --agent builder 'update the dependencies'",
    "once --at '2026-12-24 08:00' --zone Europe/Berlin --chain review-loop 'the API'",
    "look-at-failures --on run.failed --where agent=builder 'why did $RUN fail?'",
    "triage --on webhook --agent scout 'look at the newest issues'",
    cls=WithArgv,
)
@options.take_options("dispatch", after="zone")
@take_values(_OTHERS, after="concurrency")
@take_values(_TRIGGERS, after="file")
def add(
    ctx: typer.Context,
    name: Annotated[str, Argument()],
    task: options.Task = None,
    *,
    file: options.File = None,
    chain: Annotated[str | None, option(_CHAIN, "NAME|FILE", complete=complete_files)] = None,
    batch: Annotated[
        str | None, option("Start the tasks of this file.", "FILE", complete=complete_files)
    ] = None,
    total: options.Total = None,
    concurrency: options.Concurrency = None,
    dry_run: Annotated[bool, option("Show the next times without creating the schedule.")] = False,
    yes: Yes = False,
    face: Json,
    **_options: Any,
) -> None:
    """Dispatch TASK or start a workflow at times of --cron, once --at a time, or on an event.

    The options of pancode dispatch apply. A workflow's files are read now; the current repository, its gates
    and the budget apply as they are at each firing. Unless --overlap is given, no run starts while the last
    one is still running. In TASK, $RUN is the event's run. With --on webhook, a signed request starts the
    work; its secret is shown only now. A hook of git or a line of CI starts it with `pancode schedule run`.
    """
    terms = {"zone": local_zone(os.environ), **collect_values(TERMS.values(), ctx.params)}
    body = {**terms, **_work(ctx, task_text(task, file), chain, batch), "name": name, "dry_run": dry_run}
    _show(face, face.post(answers.ADD_SCHEDULE, body, works=not dry_run))


def _work(
    ctx: typer.Context, task: str | None, chain: str | None, batch: str | None
) -> dict[str, dict[str, Any]]:
    """Return what the schedule starts: the body that `dispatch`, `chain` or `batch` would send."""
    given, argv = ctx.params, ctx.meta.get("argv")
    if chain is not None and batch is not None or (batch is not None and task is not None):
        fix = "choose one of TASK, --chain NAME [INPUT], --batch FILE"
        raise UsageError("a schedule must start exactly one thing", fix=fix, code="bad_value")
    if chain is not None or batch is not None:
        return {"workflow": load_commands().make_later(ctx, task)}
    body: dict[str, Any] = {"task": task or "", **options.collect_given(given), **of_caller(given)}
    return {"dispatch": {**body, "yes": given["yes"], **({} if argv is None else {"argv": argv})}}


@verb("schedule ls", "", "--json")
def ls(face: Json) -> None:
    """List all schedules: when each fires next, and the result of its last firing."""
    face.show_result(face.get(answers.SCHEDULES), lambda answer: format_schedules(answer["schedules"]))


@verb("schedule show", "nightly")
def show(name: Name, face: Json) -> None:
    """Show one schedule with its next five times and its last firings."""
    _show(face, face.get(answers.SCHEDULE.at(name)))


@verb("schedule pause", "nightly --reason 'release freeze'")
def pause(
    name: Name, *, reason: Annotated[str, option("The reason, shown with the schedule.")] = "", face: Json
) -> None:
    """Stop the schedule from firing until it is resumed; its active runs continue."""
    _show(face, face.post(answers.PAUSE_SCHEDULE.at(name), {"reason": reason}))


@verb("schedule resume", "nightly")
def resume(name: Name, face: Json) -> None:
    """Resume a paused schedule; times that passed during the pause are skipped."""
    _show(face, face.post(answers.RESUME_SCHEDULE.at(name)))


@verb("schedule run", "nightly")
def run(name: Name, face: Json) -> None:
    """Fire the schedule now, even if it is paused; its times do not change."""
    _show(face, face.post(answers.RUN_SCHEDULE.at(name), works=True))


@verb("schedule rm", "nightly")
def rm(name: Name, face: Json) -> None:
    """Remove a schedule; runs that it has started continue."""
    answer = face.client().post(path_of("schedules", name, "remove"), {"by": find_user()})
    face.show(answer, lambda: f"{answer['removed']}  removed\n")


def _show(face: Face, answer: answers.ScheduleShape) -> None:
    face.warn(answer["warnings"])
    face.show_result(answer, format_schedule)
