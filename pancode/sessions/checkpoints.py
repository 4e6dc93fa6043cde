"""Named points of a session: a sitting at rest has its files and its conversation, and words go on there."""

from __future__ import annotations

import re
from typing import Any

from pancode.control.core import Core
from pancode.control.run import at
from pancode.control.work import unit_of_work
from pancode.core.names import not_found
from pancode.core.ports import Transaction
from pancode.core.records import Run, Setting
from pancode.errors import UsageError
from pancode.life.continuing import is_sitting, must_have_ended
from pancode.sessions.session import SessionChain, load
from pancode.sessions.shapes import CheckpointsShape
from pancode.work.people.continuing import POINTS, points_of
from pancode.workflow.outputs import result_commit

MOST_POINTS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)
Json = dict[str, Any]


def make(core: Core, text: str, name: str, by: str) -> CheckpointsShape:
    """Give the newest sitting, which rests, a name. `name` empty: the next number. UsageError."""
    with unit_of_work(core) as work:
        session = load(work.tx, text)
        must_rest(session)
        kept = points_of(work.tx, session.id)
        name = name or _free(kept)
        _must_be_new(session, kept, name)
        point = {"name": name, "run": session.newest.id, "by": by, "at_ms": core.wall_ms()}
        kept = {**kept, "points": [*kept["points"], point]}
        work.tx.put(Setting(f"{POINTS}{session.id}", kept, core.wall_ms(), by))
        work.audit("people", "info", "checkpoint made", session.newest.id, by=by, name=name)
        return _shape(work.tx, session, kept)


def restore(core: Core, text: str, name: str, told: str, by: str) -> CheckpointsShape:
    """The next words go on at this point. Nothing is lost: the sittings behind it stay, with their names.

    `told`: the conversation until then, for an agent that does not remember it. UsageError, NotFoundError.
    """
    with unit_of_work(core) as work:
        session = load(work.tx, text)
        must_rest(session)
        _must_wait_for_words(session, name)
        kept = points_of(work.tx, session.id)
        names = [str(one["name"]) for one in kept["points"]]
        point = next((one for one in kept["points"] if one["name"] == name), None)
        if point is None:
            raise not_found("checkpoint", name, names, f"pancode sessions checkpoints {session.id}")
        newest = session.newest.id
        wanted = {"name": name, "run": point["run"], "behind": newest, "told": told}
        backs = {**kept["backs"], newest: point["run"]}
        kept = {**kept, "next": None if point["run"] == newest else wanted, "backs": backs}
        work.tx.put(Setting(f"{POINTS}{session.id}", kept, core.wall_ms(), by))
        work.audit("people", "info", "checkpoint restored", newest, by=by, name=name, at=point["run"])
        return _shape(work.tx, session, kept)


def _must_wait_for_words(session: SessionChain, name: str) -> None:
    """UsageError while the next sitting begins by itself: its words are for where it stands."""
    if session.goes_on:
        raise UsageError(
            f"the session {session.id} goes on by itself just now",
            why="words that wait begin its next sitting, where it stands",
            fix=f"when that has begun: pancode sessions restore {session.id} {name}",
            code="goes_on",
        )


def show(core: Core, text: str) -> CheckpointsShape:
    """The points of a session, the oldest first."""
    with core.ports.ledger.transaction() as tx:
        session = load(tx, text)
        return _shape(tx, session, points_of(tx, session.id))


def must_rest(session: SessionChain) -> None:
    """UsageError where the newest run is no sitting, or has not ended: it has no files of its own yet."""
    run = session.newest
    if not is_sitting(run):
        fix = f"pancode runs continue {run.id}"
        raise UsageError(f"{run.id} is no session: it takes no turns", fix=fix, code="no_session")
    must_have_ended(run)


def _free(kept: Json) -> str:
    names = {one["name"] for one in kept["points"]}
    return next(str(number) for number in range(1, MOST_POINTS + 2) if str(number) not in names)


def _must_be_new(session: SessionChain, kept: Json, name: str) -> None:
    if _NAME.fullmatch(name) is None:
        fix = "use up to 40 of a-z, A-Z, 0-9, dot, - and _"
        raise UsageError(f"{name[:80]!r} cannot be the name of a checkpoint", fix=fix, code="bad_value")
    look = f"pancode sessions checkpoints {session.id}"
    if any(one["name"] == name for one in kept["points"]):
        raise UsageError(f"there is a checkpoint {name} already", fix=f"another name; {look}", code="taken")
    if len(kept["points"]) >= MOST_POINTS:
        raise UsageError(f"a session has {MOST_POINTS} checkpoints at most", fix=look, code="too_many")
    if _waits(session, kept):
        why = f"your next words go on at {kept['next']['name']}, and begin a sitting there"
        raise UsageError("there is nothing new to name", why=why, fix="say them first", code="restored")


def _waits(session: SessionChain, kept: Json) -> bool:
    """Whether a person went back to an earlier point, and no words have come since."""
    return kept["next"] is not None and kept["next"]["behind"] == session.newest.id


def _shape(tx: Transaction, session: SessionChain, kept: Json) -> CheckpointsShape:
    return {
        "session": session.id,
        "next": str(kept["next"]["name"]) if _waits(session, kept) else None,
        "checkpoints": [
            {
                "name": str(one["name"]),
                "run": str(one["run"]),
                "commit": _commit(tx, str(one["run"])),
                "by": str(one["by"]),
                "at": at(one["at_ms"]),
            }
            for one in kept["points"]
        ],
    }


def _commit(tx: Transaction, run: str) -> str | None:
    found = tx.get(Run, run)
    return None if found is None else result_commit(found)
