"""Named points of a session, each after an interactive run, with its files and conversation."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from pancode.conversation.answers import CheckpointShape, CheckpointsShape
from pancode.conversation.transcript import TalkRecord, build_conversation, format_markdown, way_to
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, SessionRow
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.life.conversation import must_have_ended, opener_of
from pancode.runs.log import LogPlace, read_log
from pancode.runs.receipts.trust import final_commit
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Streams
from pancode.runs.views import find_run, format_iso, words_of
from pancode.sessions.session import SessionChain, describe_session, load_chain

MOST_POINTS = 100
MOST_INTERACTIVE_RUNS, MOST_TOLD = 20, 12_000
"""How many interactive runs before a restored checkpoint the agent that continues there gets to read, and the
maximum number of characters, counted from the end."""
LONGEST_NAME = 80


def make_checkpoint(core: Core, text: str, name: str, by: str) -> CheckpointsShape:
    """Create a checkpoint after the newest interactive run; empty `name`: the next number. UsageError."""
    with unit_of_work(core) as work:
        session = load_chain(work.tx, text)
        row = require_suspended(session)
        name = name.strip() or _free(row)
        if not name[0].isalnum() or not name.isprintable() or len(name) > LONGEST_NAME:
            fix = f"use a line of up to {LONGEST_NAME} characters that begins with a letter or a digit"
            raise UsageError(f"{name[:80]!r} is not a valid checkpoint name", fix=fix, code="bad_value")
        look = f"pancode sessions checkpoint {row.id}"
        if any(one["name"] == name for one in row.points):
            raise UsageError(
                f"checkpoint {name} already exists", fix=f"choose another name; {look}", code="taken"
            )
        if len(row.points) >= MOST_POINTS:
            raise UsageError(
                f"a session can have at most {MOST_POINTS} checkpoints", fix=look, code="too_many"
            )
        if row.restored:
            why = f"your next message continues at {row.restored['name']} and starts a run there"
            raise UsageError(
                "nothing changed since the last checkpoint",
                why=why,
                fix="send the message first",
                code="restored",
            )
        point = {"name": name, "run": row.run, "by": by, "at_ms": core.wall_ms()}
        row = replace(row, points=(*row.points, point))
        work.tx.put(row)
        work.audit("people", "info", "checkpoint made", row.run, by=by, name=name)
        return _shape(work.tx, session.id, row)


def restore_checkpoint(core: Core, streams: Streams, text: str, name: str, by: str) -> CheckpointsShape:
    """Make the next message continue from this checkpoint; later interactive runs and checkpoints are kept.

    The next run's agent does not remember the conversation before the checkpoint, so it gets the end of it
    from the coordinator's records. UsageError, NotFoundError.
    """
    notice = _read_end(core, streams, text, name)
    with unit_of_work(core) as work:
        session = load_chain(work.tx, text)
        row = require_suspended(session)
        _must_wait_for_message(session, name)
        run = _run_at(row, name)
        wanted: dict[str, object] = {"name": name, "run": run, "told": notice} if run != row.run else {}
        row = replace(row, restored=wanted, backs={**row.backs, row.run: run})
        work.tx.put(row)
        work.audit("people", "info", "checkpoint restored", row.run, by=by, name=name, at=run)
        return _shape(work.tx, session.id, row)


def _run_at(row: SessionRow, name: str) -> str:
    """Return the id of the checkpoint's interactive run. NotFoundError for an unknown checkpoint."""
    for one in row.points:
        if one["name"] == name:
            return str(one["run"])
    names = [str(one["name"]) for one in row.points]
    raise not_found("checkpoint", name, names, f"pancode sessions checkpoint {row.id}")


def _read_end(core: Core, streams: Streams, text: str, name: str) -> str:
    """Return the end of the conversation before the checkpoint; its runs have ended, so the text is final."""
    with core.ports.ledger.transaction() as tx:
        session = load_chain(tx, text)
        row = require_suspended(session)
        run, shown = _run_at(row, name), describe_session(core, tx, session)
    if run == row.run:
        return ""  # The agent remembers the whole conversation.
    way = way_to(shown["interactive_runs"], run)[-MOST_INTERACTIVE_RUNS:]
    return format_markdown(build_conversation(shown, _Records(core, streams), way))[-MOST_TOLD:]


class _Records:
    """The coordinator's records of a session's runs, as a `TalkSource`."""

    def __init__(self, core: Core, streams: Streams) -> None:
        self._core, self._streams = core, streams

    def output(self, run: str) -> Iterator[tuple[str, bytes]]:
        # Logs are pruned after some time; the task and the answer remain.
        with contextlib.suppress(NotFoundError):
            piece = read_log(self._core, self._streams, run, LogPlace())
            while piece.data or piece.more:
                yield piece.place.attempt, piece.data
                piece = read_log(self._core, self._streams, run, piece.place)

    def words(self, run: str) -> Mapping[int, tuple[str, str]]:
        with self._core.ports.ledger.transaction() as tx:
            found = find_run(tx, run)
            messages = words_of(tx, found)
        return {0: (opener_of(found), found.task), **{one.number: (one.by, one.text) for one in messages}}

    def record(self, run: str) -> TalkRecord:
        with self._core.ports.ledger.transaction() as tx:
            found = find_run(tx, run)
        answer = str(found.result.get("answer") or "")
        return TalkRecord(opener_of(found), found.task, found.agent, answer)


def _must_wait_for_message(session: SessionChain, name: str) -> None:
    """Raise UsageError if the next run starts automatically, as its messages refer to the current state."""
    if session.continues:
        raise UsageError(
            f"session {session.id} is about to continue by itself",
            why="pending messages start its next run from its current state",
            fix="wait until that run has started, then: "
            f"pancode sessions restore {session.id} {shlex.quote(name)}",
            code="goes_on",
        )


def list_checkpoints(core: Core, text: str) -> CheckpointsShape:
    """Return the checkpoints of a session, oldest first."""
    with core.ports.ledger.transaction() as tx:
        session = load_chain(tx, text)
        return _shape(tx, session.id, session.row)


def require_suspended(session: SessionChain) -> SessionRow:
    """Return the session's row. UsageError if its newest run is not interactive, or has not ended and so has
    no files."""
    run = session.newest
    if session.row is None:
        fix = f"pancode runs continue {run.id}"
        raise UsageError(f"{run.id} is not a session: it does not take turns", fix=fix, code="no_session")
    must_have_ended(run)
    return session.row


def _free(row: SessionRow) -> str:
    names = {one["name"] for one in row.points}
    return next(str(number) for number in range(1, MOST_POINTS + 2) if str(number) not in names)


def _shape(tx: Transaction, session: str, row: SessionRow | None) -> CheckpointsShape:
    return {
        "session": session,
        "next": str(row.restored["name"]) if row is not None and row.restored else None,
        "checkpoints": [_describe_point(tx, one) for one in (() if row is None else row.points)],
    }


def _describe_point(tx: Transaction, one: Mapping[str, Any]) -> CheckpointShape:
    return {
        "name": str(one["name"]),
        "run": str(one["run"]),
        "commit": _commit(tx, str(one["run"])),
        "by": str(one["by"]),
        "at": format_iso(one["at_ms"]),
    }


def _commit(tx: Transaction, run: str) -> str | None:
    found = tx.get(Run, run)
    return None if found is None else final_commit(found)
