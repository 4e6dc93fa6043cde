"""`pancode schedule`: work that begins by itself, at a time, on an event or on a push."""

from __future__ import annotations

import os
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument

from pancode.cli.face import Face, who, work_folder
from pancode.cli.parsing import completions, options
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, inherits, option
from pancode.cli.runs.dispatch import WithArgv, dispatch, of_caller, said, task_text
from pancode.cli.schedule import options as own
from pancode.cli.schedule.words import listed, shown, warned
from pancode.cli.workflows import options as workflow_options
from pancode.cli.workflows.batch import tasks_of, without_preset
from pancode.cli.workflows.begin import request_of
from pancode.cli.workflows.chain import steps_of
from pancode.client import path_of
from pancode.errors import UsageError

app = Commands()
Name = Annotated[str, Argument(autocompletion=completions.schedules)]
_OWN = {"ctx", "task", "file", "detach", "dry_run", "yes", "face"}
_DISPATCH = frozenset(signature(dispatch).parameters) - _OWN
_HTTPS = "https://"


@app.group("schedule", "pancode schedule ls", "pancode schedule show nightly", default="ls")
def schedule() -> None:
    """Work that begins by itself, each with its next times."""


@schedule.verb(
    "add",
    "pancode schedule add nightly --cron '30 2 * * 1-5' --agent builder 'update the dependencies'",
    "pancode schedule add once --at '2026-12-24 08:00' --zone Europe/Berlin --chain review-loop 'the API'",
    "pancode schedule add look-at-failures --on run.failed --where agent=builder 'why did $RUN fail?'",
    "pancode schedule add tested --on-push . main --runtime shell -- make test",
    "pancode schedule add triage --on webhook --agent scout 'look at the newest issues'",
    cls=WithArgv,
)
@inherits(dispatch, _DISPATCH, after="zone")
def add(
    ctx: typer.Context,
    name: Annotated[str, Argument()],
    task: options.Task = None,
    *,
    file: options.File = None,
    cron: own.Cron = None,
    at: own.At = None,
    on: own.On = None,
    on_push: own.OnPush = None,
    where: own.Where,
    chain: own.Chain = None,
    batch: own.Batch = None,
    total: workflow_options.Total = None,
    concurrency: workflow_options.Concurrency = None,
    missed: own.Missed = "once",
    overlap: own.Overlap = False,
    zone: own.Zone = None,
    dry_run: own.DryRun = False,
    yes: options.Yes = False,
    face: Json,
    **_options: Any,
) -> None:
    """Dispatch TASK, or begin a workflow, at each time of --cron, once --at a time, on an event or a push.

    It takes the options of pancode dispatch. Files of a workflow are read now; the repository where you
    stand, gates and budget count as they are at each firing. Never two at once, unless --overlap. In TASK,
    $RUN is the run of the event, and $COMMIT the commit of the push. With --on webhook a signed request
    begins the work; its secret is shown now and never again.
    """
    given = ctx.params
    body: dict[str, Any] = {"name": name, "by": who(), "cron": cron, "at": at, "on": on}
    body |= {"where": dict(where), "missed": missed, "overlap": overlap, "dry_run": dry_run}
    body |= {"zone": zone or _zone(), **_work(ctx, task_text(task, file), chain, batch)}
    if on_push is not None:
        body["on_push"] = [_repo(on_push[0]), on_push[1]]
    answer = face.client(works=not given["dry_run"]).post("/v1/schedules", body)
    _show(face, answer)


def _zone() -> str:
    from pancode.cli.schedule.zones import local_zone

    return local_zone(os.environ)


def _repo(word: str) -> str:
    """A folder is one of the coordinator's machine."""
    if word.startswith(_HTTPS):
        return word
    place = Path(word).expanduser()
    return str((place if place.is_absolute() else Path(work_folder()) / place).resolve())


def _work(
    ctx: typer.Context, task: str | None, chain: str | None, batch: str | None
) -> dict[str, dict[str, Any]]:
    """What begins: the body that `dispatch`, `chain` or `batch` would send."""
    given, argv = ctx.params, ctx.meta.get("argv")
    if chain is not None and batch is not None or (batch is not None and task is not None):
        raise UsageError(
            "the schedule begins several things",
            fix="one of TASK, --chain NAME [INPUT], --batch FILE",
            code="bad_value",
        )
    if chain is not None:
        return {"workflow": request_of(steps_of(chain, task, given), given)}
    if batch is not None:
        return {"workflow": request_of(tasks_of([], batch, without_preset(said(given))), given)}
    body: dict[str, Any] = {"task": task or "", **said(given), **of_caller(given), "yes": given["yes"]}
    return {"dispatch": body if argv is None else {**body, "argv": argv}}


@schedule.verb("ls", "pancode schedule ls", "pancode schedule ls --json")
def ls(face: Json) -> None:
    """All schedules: when each fires next, and what came of its last firing."""
    answer = face.client().get("/v1/schedules")
    face.show(answer, lambda: listed(answer["schedules"]))


@schedule.verb("show", "pancode schedule show nightly")
def show(name: Name, face: Json) -> None:
    """One schedule with its next five times and its last firings."""
    _show(face, face.client().get(path_of("schedules", name)))


@schedule.verb("pause", "pancode schedule pause nightly --reason 'the freeze'")
def pause(
    name: Name, *, reason: Annotated[str, option("The reason, shown with the schedule.")] = "", face: Json
) -> None:
    """Fire no more until it is resumed; what runs goes on."""
    _show(face, face.client().post(path_of("schedules", name, "pause"), {"by": who(), "reason": reason}))


@schedule.verb("resume", "pancode schedule resume nightly")
def resume(name: Name, face: Json) -> None:
    """Let a paused schedule fire again; times that passed during the pause are left out."""
    _show(face, face.client().post(path_of("schedules", name, "resume"), {"by": who()}))


@schedule.verb("run", "pancode schedule run nightly")
def run(name: Name, face: Json) -> None:
    """Fire now, also when it is paused; its times stay as they are."""
    _show(face, face.client(works=True).post(path_of("schedules", name, "run"), {"by": who()}))


@schedule.verb("rm", "pancode schedule rm nightly")
def rm(name: Name, face: Json) -> None:
    """Remove a schedule; runs that it has begun go on."""
    answer = face.client().post(path_of("schedules", name, "remove"), {"by": who()})
    face.show(answer, lambda: f"{answer['removed']}  removed\n")


def _show(face: Face, answer: dict[str, Any]) -> None:
    for line in warned(answer):
        face.note(line)
    face.show(answer, lambda: shown(answer))
