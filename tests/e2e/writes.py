"""How far a run has come, by the coordinator's own writes, seen while the coordinator stands still."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import IntEnum
from typing import Any

from node_agent.wire.identity import AttemptId
from node_agent.wire.keys import down_stream, job_id
from node_agent.wire.signing import parse_envelope
from tests.e2e.ground import redis_open, stopped_when
from tests.e2e.owner import Owner

HELD_MS = 60_000


class Written(IntEnum):
    """The writes around the enqueue and at settlement, in their order."""

    NOTHING = 0
    ADMITTED = 1
    SIGNED = 2
    PUSHED = 3
    ACCEPTED = 4
    ARCHIVED = 5
    """The countersigned receipt is a file, of which the ledger knows nothing yet."""
    ENDED = 6
    ANSWERED = 7


def kill_desk_at(owner: Owner, wanted: Written, known: set[str], timeout_s: float = 30) -> Written:
    """-9 to the coordinator when a run that is not `known` has come so far, or further; how far it was.

    A write may still be passed between two looks.
    """
    pid = owner.coordinator_pid()  # a command would take longer than the run on a busy node
    assert pid is not None, "no coordinator"
    with redis_open(owner) as client:

        def look() -> Written | None:
            try:
                there = written(owner, client, known)
            except sqlite3.OperationalError:  # it stands still with a lock of the ledger in its hand
                return None
            return there if there >= wanted else None

        there = stopped_when(pid, look, wanted.name, timeout_s)
        os.kill(pid, signal.SIGKILL)
        return there


@contextmanager
def writes_held(owner: Owner) -> Iterator[None]:
    """Redis answers no write meanwhile; one whose sender dies before the end is never made."""
    with redis_open(owner) as client:
        client.client_pause(HELD_MS, all=False)
        try:
            yield
        finally:
            client.client_unpause()


def written(owner: Owner, client: Any, known: set[str]) -> Written:
    """Of the newest run that is not `known`, as the ledger and Redis have it."""
    ledger = f"file:{owner.fleet_home / 'ledger.db'}?mode=ro"
    with closing(sqlite3.connect(ledger, uri=True, timeout=0.1)) as db:
        runs = [run for run in db.execute("select id, outcome from runs") if run[0] not in known]
        if not runs:
            return Written.NOTHING
        (run, outcome), *_ = runs
        what = "select tag, attempt, fence, state from fences where run = ? order by fence desc"
        lease = db.execute(what, (run,)).fetchone()
    if lease is None:
        return Written.ADMITTED
    tag, attempt, number, state = lease
    if outcome is not None:
        return Written.ANSWERED if _answered(client, tag, run) else Written.ENDED
    identity = AttemptId(run=run, attempt=attempt, lease=number)
    if archived(owner, identity):
        return Written.ARCHIVED
    if state != "offered":
        return Written.ACCEPTED
    job = job_id(tag, identity)
    return Written.PUSHED if client.exists(f"rq:job:{job}") else Written.SIGNED


def archived(owner: Owner, identity: AttemptId) -> list[bytes]:
    """The attempt's receipts in the coordinator's archive, as they were countersigned; no half a line."""
    begin = f'{{"attempt":"{identity}","receipt":'.encode()
    days = [day.read_bytes() for day in owner.fleet_home.glob("receipts/*.jsonl")]
    lines = [line for day in days for line in day[: day.rfind(b"\n") + 1].splitlines()]
    return [json.dumps(json.loads(line)["receipt"]).encode() for line in lines if line.startswith(begin)]


def _answered(client: Any, tag: str, run: str) -> bool:
    """Whether the acknowledgement is on its way to the node."""
    sent = client.xrevrange(down_stream(tag), count=20)
    bodies = (parse_envelope(fields[b"e"]).body() for _, fields in sent)
    return any(run.encode() in body and b"acknowledge" in body for body in bodies)
