"""`runs ls --waiting`, `admin queue`, `admin gc`: what waits and why, and what uses Redis and disks."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

from pancode.fleet.answers import COLLECT, RoomRow
from pancode.interfaces.cli.parameters import Argument, Face, Json, find_user, option, verb
from pancode.interfaces.cli.terminal import Columns, RowColumns, escape_line, format_rows, format_seconds
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import count_noun, format_bytes
from pancode.runs.answers import QUEUES, QueueShape


def show_queues(face: Face, name: str | None) -> None:
    """Show all queues with waiting and active work; or only queue `name`, a pool's requirement or a node."""
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


@verb("admin queue", "--json", "--rq info", context_settings={"ignore_unknown_options": True})
def queue(
    words: Annotated[list[str], Argument(metavar="[ARGS]...", default_factory=list, show_default=False)],
    *,
    rq: Annotated[bool, option("Run RQ's own `info` with these ARGS, restricted to JSON.")] = False,
    face: Json,
) -> None:
    """Show the contents of Redis: jobs of each RQ queue and registry, and workers. Needs no coordinator.

    It logs in as a read-only user and reads no job. `pancode runs ls --waiting` shows what the ledger
    contains. Do not use RQ's own tools with a fleet: they unpickle data that a node may write.
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
    if face.as_json:
        raise UsageError("RQ's info has no JSON", fix="pancode admin queue --json")
    out = io.StringIO()
    try:
        administration.run_rq(words, home_of(os.environ), os.environ, out)
    finally:
        # Nodes wrote part of this text, so control characters are escaped.
        sys.stdout.write("\n".join(map(escape_line, out.getvalue().split("\n"))))


MOST_S = 3_600.0
"""The timeout of the request in seconds; git may have much to pack."""


@verb("admin gc", "--dry-run", "")
def gc(
    *,
    dry_run: Annotated[bool, option("Only show what would be deleted, and what uses the disks.")] = False,
    face: Json,
) -> int:
    """Delete commits and logs of old runs that are no longer needed. Receipts and records remain.

    The coordinator also does this once a day. `pancode config show keep` shows how old a run must be, and
    `pancode config set keep.changes 7d` changes it. A change that was neither landed nor dropped remains, as
    does everything on which a session, a workspace or a workflow is based. Nodes delete files themselves that
    have not been used for long (nodes.keep).
    """
    answer = face.client().post(COLLECT, {"dry_run": dry_run, "by": find_user()}, MOST_S)
    commits, logs = count_noun(answer["changes"], "run"), count_noun(answer["logs"], "run")
    words = "would go" if dry_run else "are gone"
    text = f"the commits of {commits} and the logs of {logs} {words}"
    text += "\n" if dry_run else f"; freed {format_bytes(answer['freed'])}\n"
    if answer["changes"] and not dry_run:
        text += "the space of the commits is freed two weeks after they were made\n"
    for row in answer["kept"]:
        text += f"  {count_noun(row['runs'], 'run')}: {escape_line(row['why'])}\n"
    if answer["young"]:
        text += f"  {count_noun(answer['young'], 'run')}: not old enough, see: pancode config show keep\n"
    text += "\n" + format_rows(answer["room"], _ROOM, "no disk usage measured yet")
    return face.end(ExitCode.DONE, answer, lambda: text)


_ROOM: RowColumns[RoomRow] = {
    **{"NODE": lambda row: row["node"] or "coordinator", "WHAT": "what"},
    "SIZE": lambda row: format_bytes(row["bytes"]),
}
