"""`pancode queue`: what waits where, in which order, for what reason; pausing it, taking work out."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from pancode.cli import known
from pancode.cli.face import Face, example, json_option, who
from pancode.cli.lazy import DefaultGroup
from pancode.cli.render import safe, table, took
from pancode.client import path_of
from pancode.connection import home_of


@click.group(
    "queue",
    cls=DefaultGroup,
    default="ls",
    later={"move": "pancode queue rm and dispatch again with another --priority or --node"},
    epilog=example("pancode queue", "pancode queue pause pool.any --reason 'disk full'"),
)
def queue() -> None:
    """Pools of work that no machine has yet, and the orders that each machine was given."""


@queue.command("ls", epilog=example("pancode queue ls --json"))
@json_option
def ls(face: Face) -> None:
    """All queues with their waiting and running work."""
    answer = face.client().get("/v1/queues")
    face.show(answer, lambda: _queues(answer))


@queue.command("show", epilog=example("pancode queue show gpubox"))
@click.argument("name")
@json_option
def show(name: str, face: Face) -> None:
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


@queue.command("pause", epilog=example("pancode queue pause --reason 'rotating keys'"))
@click.argument("name", required=False)
@click.option("--reason", default="", help="Shown to everybody who waits.")
@json_option
def pause(name: str | None, reason: str, face: Face) -> None:
    """Bind nothing more from a queue (without NAME: from any); what runs goes on."""
    answer = face.client().post("/v1/queues/pause", {"by": who(), "queue": name, "reason": reason})
    face.show(answer, lambda: f"{name or 'the whole fleet'} is paused: {safe(answer['paused'])}\n")


@queue.command("resume", epilog=example("pancode queue resume"))
@click.argument("name", required=False)
@json_option
def resume(name: str | None, face: Face) -> None:
    """Take up a paused queue again."""
    answer = face.client().post("/v1/queues/resume", {"by": who(), "queue": name})
    face.show(answer, lambda: f"{name or 'the whole fleet'} is no longer paused\n")


@queue.command("rm", epilog=example("pancode queue rm r-7f3k"))
@click.argument("run", shell_complete=known.runs)
@click.option("--reason", default="", help="Goes into the run's story.")
@json_option
def rm(run: str, reason: str, face: Face) -> None:
    """Take a waiting run out; one that runs must be stopped."""
    answer = face.client().post(path_of("queues", "runs", run, "remove"), {"by": who(), "reason": reason})
    face.show(
        answer, lambda: f"{answer['run']}  {answer['outcome'] or answer['state']}  {safe(answer['reason'])}\n"
    )


@queue.command("info", epilog=example("pancode queue info --json"))
@json_option
def info(face: Face) -> None:
    """What Redis holds: jobs of each RQ queue and registry, and its workers; without a coordinator, too.

    It logs in as a user that may only read, and reads no job. pancode queue ls is what the ledger says.
    """
    from pancode.offline.queue_look import info

    answer = info(home_of(os.environ), os.environ)
    face.show(answer, lambda: _counts(answer))


def _counts(answer: dict[str, Any]) -> str:
    numbers = ("waiting", "started", "finished", "failed")
    queues = [(safe(q["name"]), *(q[number] for number in numbers)) for q in answer["queues"]]
    said = ("hostname", "state", "last_heartbeat")
    workers = [(safe(w["name"]), *(safe(w[word] or "-") for word in said)) for w in answer["workers"]]
    text = table(("QUEUE", "WAITING", "STARTED", "FINISHED", "FAILED"), queues)
    return text + "\n" + table(("WORKER", "HOST", "STATE", "LAST HEARTBEAT"), workers)


@queue.command(
    "rq",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h"]},
    epilog=example("pancode queue rq info"),
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="ARGS...")
def rq(words: tuple[str, ...]) -> None:
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
