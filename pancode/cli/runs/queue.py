"""`pancode queue`: what waits, in which order, and why; pause a queue, take a run out."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

from typer import Argument

from pancode.cli.face import who
from pancode.cli.output.render import safe, took
from pancode.cli.output.tables import table
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, Run, option
from pancode.client import path_of
from pancode.connection import home_of

app = Commands()


@app.group(
    "queue",
    "pancode queue",
    "pancode queue pause pool.any --reason 'disk full'",
    default="ls",
    later={"move": "pancode queue rm and dispatch again with another --priority or --node"},
)
def queue() -> None:
    """Pools of work that no machine has yet, and the orders of each machine."""


@queue.verb("ls", "pancode queue ls --json")
def ls(face: Json) -> None:
    """All queues with their waiting and running work."""
    answer = face.client().get("/v1/queues")
    face.show(answer, lambda: _queues(answer))


@queue.verb("show", "pancode queue show gpubox")
def show(name: str, face: Json) -> None:
    """One queue: its name, a pool's requirement, or a node."""
    answer = face.client().get("/v1/queues", name=name)
    face.show(answer, lambda: _queues(answer))


def _queues(answer: dict[str, Any]) -> str:
    head = f"the whole fleet is paused: {safe(answer['paused'])}\n" if answer["paused"] else ""
    rows = [
        (q["name"], q["node"], q["waiting"], q["running"], _age(q["oldest_s"]), q["paused"] or "no")
        for q in answer["queues"]
    ]
    text = head + table(("QUEUE", "NODE", "WAITING", "RUNNING", "OLDEST", "PAUSED"), rows)
    orders = [
        (q["name"], o["run"], o["attempt"], o["agent"], o["priority"], took(o["waiting_s"]), o["reason"])
        for q in answer["queues"]
        for o in q["orders"]
    ]
    columns = ("QUEUE", "RUN", "ATTEMPT", "AGENT", "PRIORITY", "FOR", "REASON")
    return text + ("\n" + table(columns, orders) if orders else "")


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else took(seconds)


@queue.verb("pause", "pancode queue pause --reason 'rotating keys'")
def pause(
    *,
    name: Annotated[str | None, Argument()] = None,
    reason: Annotated[str, option("The reason, shown to people whose runs wait.")] = "",
    face: Json,
) -> None:
    """Bind nothing more from a queue (without NAME: from any); what runs goes on."""
    answer = face.client().post("/v1/queues/pause", {"by": who(), "queue": name, "reason": reason})
    face.show(answer, lambda: f"{name or 'the whole fleet'} is paused: {safe(answer['paused'])}\n")


@queue.verb("resume", "pancode queue resume")
def resume(*, name: Annotated[str | None, Argument()] = None, face: Json) -> None:
    """Take up a paused queue again."""
    answer = face.client().post("/v1/queues/resume", {"by": who(), "queue": name})
    face.show(answer, lambda: f"{name or 'the whole fleet'} is no longer paused\n")


@queue.verb("rm", "pancode queue rm r-7f3k")
def rm(
    run: Run, *, reason: Annotated[str, option("The reason, for the run's story.")] = "", face: Json
) -> None:
    """Take a waiting run out; one that runs must be stopped."""
    answer = face.client().post(path_of("queues", "runs", run, "remove"), {"by": who(), "reason": reason})
    face.show(
        answer, lambda: f"{answer['run']}  {answer['outcome'] or answer['state']}  {safe(answer['reason'])}\n"
    )


@queue.verb("info", "pancode queue info --json")
def info(face: Json) -> None:
    """What Redis holds: jobs of each RQ queue and registry, and its workers; without a coordinator, too.

    It logs in as a user that may only read, and reads no job. pancode queue ls is what the ledger says.
    """
    from pancode.offline.queue_look import info

    answer = info(home_of(os.environ), os.environ)
    face.show(answer, lambda: _counts(answer))


def _counts(answer: dict[str, Any]) -> str:
    numbers = ("waiting", "started", "finished", "failed")
    queues = [(safe(q["name"]), *(q[number] for number in numbers)) for q in answer["queues"]]
    fields = ("hostname", "state", "last_heartbeat")
    workers = [(safe(w["name"]), *(safe(w[word] or "-") for word in fields)) for w in answer["workers"]]
    text = table(("QUEUE", "WAITING", "STARTED", "FINISHED", "FAILED"), queues)
    return text + "\n" + table(("WORKER", "HOST", "STATE", "LAST HEARTBEAT"), workers)


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
    from pancode.offline import queue_look

    out = io.StringIO()
    try:
        queue_look.rq(words, home_of(os.environ), os.environ, out)
    finally:
        # Nodes wrote part of it: control characters are shown, not obeyed.
        sys.stdout.write("\n".join(map(safe, out.getvalue().split("\n"))))
