"""`pancode queue`: what waits, in which order, and why; pause a queue, take a run out."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Json, Run, option
from pancode.interfaces.cli.terminal import Columns, RowColumns, escape_line, format_rows, format_seconds
from pancode.interfaces.client.client import home_of
from pancode.runs.answers import PAUSE, QUEUES, RESUME, TAKE_OUT, OrderShape, QueueShape, QueuesShape

app = Commands()


@app.group(
    "queue",
    "pancode queue",
    "pancode queue pause pool.any --reason 'disk full'",
    default="ls",
)
def queue() -> None:
    """Pools of work that no node has yet, and the orders of each node."""


@queue.verb("ls", "pancode queue ls --json")
def ls(face: Json) -> None:
    """All queues with their waiting and running work."""
    answer = face.client().get(QUEUES)
    face.show(answer, lambda: _queues(answer))


@queue.verb("show", "pancode queue show gpubox")
def show(name: str, face: Json) -> None:
    """One queue: its name, a pool's requirement, or a node."""
    answer = face.client().get(QUEUES, name=name)
    face.show(answer, lambda: _queues(answer))


class QueuedOrder(OrderShape):
    queue: str


def _queues(answer: QueuesShape) -> str:
    head = f"the whole fleet is paused: {escape_line(answer['paused'])}\n" if answer["paused"] else ""
    orders: list[QueuedOrder] = [
        {"queue": one["name"], **order} for one in answer["queues"] for order in one["orders"]
    ]
    text = head + format_rows(answer["queues"], _QUEUES)
    return text + ("\n" + format_rows(orders, _ORDERS) if orders else "")


_QUEUES: RowColumns[QueueShape] = {
    **{"QUEUE": "name", "NODE": "node", "WAITING": "waiting", "RUNNING": "running"},
    "OLDEST": lambda one: None if one["oldest_s"] is None else format_seconds(one["oldest_s"]),
    "PAUSED": lambda one: one["paused"] or "no",
}
_ORDERS: RowColumns[QueuedOrder] = {
    **{"QUEUE": "queue", "RUN": "run", "ATTEMPT": "attempt", "AGENT": "agent", "PRIORITY": "priority"},
    **{"FOR": lambda order: format_seconds(order["waiting_s"]), "REASON": "reason"},
}


@queue.verb("pause", "pancode queue pause --reason 'rotating keys'")
def pause(
    *,
    name: Annotated[str | None, Argument()] = None,
    reason: Annotated[str, option("The reason, shown to users whose runs wait.")] = "",
    face: Json,
) -> None:
    """Bind nothing more from a queue (without NAME: from any); what runs goes on."""
    answer = face.client().post(PAUSE, {"by": find_user(), "queue": name, "reason": reason})
    face.show(
        answer, lambda: f"{name or 'the whole fleet'} is paused: {escape_line(answer['paused'] or '')}\n"
    )


@queue.verb("resume", "pancode queue resume")
def resume(*, name: Annotated[str | None, Argument()] = None, face: Json) -> None:
    """Take up a paused queue again."""
    answer = face.client().post(RESUME, {"by": find_user(), "queue": name})
    face.show(answer, lambda: f"{name or 'the whole fleet'} is no longer paused\n")


@queue.verb("rm", "pancode queue rm r-7f3k")
def rm(
    run: Run, *, reason: Annotated[str, option("The reason, for the run's timeline.")] = "", face: Json
) -> None:
    """Take a waiting run out; one that runs must be stopped."""
    answer = face.client().post(TAKE_OUT.at(run), {"by": find_user(), "reason": reason})
    face.show(
        answer,
        lambda: f"{answer['run']}  {answer['outcome'] or answer['state']}  {escape_line(answer['reason'])}\n",
    )


@queue.verb("info", "pancode queue info --json")
def info(face: Json) -> None:
    """What Redis holds: jobs of each RQ queue and registry, and its workers; without a coordinator, too.

    It logs in as a user that may only read, and reads no job. pancode queue ls is what the ledger says.
    """
    from pancode.app.administration import count_jobs

    answer = count_jobs(home_of(os.environ), os.environ)
    face.show(answer, lambda: _counts(answer))


def _counts(answer: dict[str, Any]) -> str:
    numbers = ("waiting", "started", "finished", "failed")
    queues = format_rows(answer["queues"], {"QUEUE": "name", **{word.upper(): word for word in numbers}})
    columns: Columns = {
        "WORKER": "name",
        "HOST": "hostname",
        "STATE": "state",
        "LAST HEARTBEAT": "last_heartbeat",
    }
    return queues + "\n" + format_rows(answer["workers"], columns)


@queue.verb(
    "rq",
    "pancode queue rq info",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h"]},
)
def rq(
    words: Annotated[list[str], Argument(metavar="ARGS...", default_factory=list, show_default=False)],
) -> None:
    """RQ's own info on this fleet: with JSON alone, and as a user of Redis that may only read.

    Do not point RQ's tools themselves at a fleet: they unpickle what a node may write.
    """
    from pancode.app import administration

    out = io.StringIO()
    try:
        administration.run_rq(words, home_of(os.environ), os.environ, out)
    finally:
        # Nodes wrote part of it: control characters are shown, not obeyed.
        sys.stdout.write("\n".join(map(escape_line, out.getvalue().split("\n"))))
