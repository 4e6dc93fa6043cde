"""`pancode runs ls --waiting` and `admin queue`: what waits, in what order and why; Redis' contents."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

from pancode.interfaces.cli.parameters import Argument, Face, Json, option, verb
from pancode.interfaces.cli.terminal import Columns, RowColumns, escape_line, format_rows, format_seconds
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import UsageError
from pancode.runs.answers import QUEUES, QueueShape


def show_queues(face: Face, name: str | None) -> None:
    """Show all queues with their waiting and active work; or one: its name, a pool's requirement, a node."""
    answer = face.get(QUEUES, name=name)
    text = f"the whole fleet is paused: {escape_line(answer['paused'])}\n" if answer["paused"] else ""
    jobs = [{"queue": one["name"], **job} for one in answer["queues"] for job in one["orders"]]
    text += format_rows(answer["queues"], _QUEUES) + ("\n" + format_rows(jobs, _JOBS) if jobs else "")
    face.show(answer, lambda: text)


_QUEUES: RowColumns[QueueShape] = {
    **{"QUEUE": "name", "NODE": "node", "WAITING": "waiting", "RUNNING": "running"},
    "OLDEST": lambda one: None if one["oldest_s"] is None else format_seconds(one["oldest_s"]),
    "PAUSED": lambda one: one["paused"] or "no",
}
_WORKERS = {"WORKER": "name", "HOST": "hostname", "STATE": "state", "LAST HEARTBEAT": "last_heartbeat"}
_JOBS: Columns = {
    **{"QUEUE": "queue", "RUN": "run", "ATTEMPT": "attempt", "AGENT": "agent", "PRIORITY": "priority"},
    **{"FOR": lambda job: format_seconds(job["waiting_s"]), "REASON": "reason"},
}


@verb(
    "admin queue",
    "pancode admin queue --json",
    "pancode admin queue --rq info",
    context_settings={"ignore_unknown_options": True},
)
def queue(
    words: Annotated[list[str], Argument(metavar="[ARGS]...", default_factory=list, show_default=False)],
    *,
    rq: Annotated[bool, option("Run RQ's own info with these ARGS, restricted to JSON.", "--rq")] = False,
    face: Json,
) -> None:
    """Show what Redis contains: jobs of each RQ queue and registry, and its workers; needs no coordinator.

    It logs in as a read-only user, and reads no job. `pancode runs ls --waiting` shows what the ledger
    contains. Do not point RQ's tools themselves at a fleet: they unpickle data that a node may write.
    """
    from pancode.app import administration

    if not rq:
        if words:
            raise UsageError("ARGS require --rq", fix="pancode admin queue --rq info")
        answer = administration.count_jobs(home_of(os.environ), os.environ)
        heads = {
            "QUEUE": "name",
            **{one.upper(): one for one in ("waiting", "started", "finished", "failed")},
        }
        text = format_rows(answer["queues"], heads) + "\n" + format_rows(answer["workers"], _WORKERS)
        return face.show(answer, lambda: text)
    out = io.StringIO()
    try:
        administration.run_rq(words, home_of(os.environ), os.environ, out)
    finally:
        # Nodes wrote part of it: control characters are escaped.
        sys.stdout.write("\n".join(map(escape_line, out.getvalue().split("\n"))))
