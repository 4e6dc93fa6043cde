"""`pancode queue`: what waits where, in which order, for what reason; pausing it, taking work out."""

from __future__ import annotations

from typing import Any

import click

from pancode.cli import known
from pancode.cli.face import Face, example, json_option, who
from pancode.cli.lazy import DefaultGroup
from pancode.cli.render import safe, table, took
from pancode.client import path_of


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
