"""`runs continue`: a new run goes on from the result of an old one, in its session where that is kept."""

from __future__ import annotations

from typing import Any

from pancode.agents.runtimes import RUNTIMES
from pancode.control.core import Core
from pancode.control.run import is_taken
from pancode.control.surroundings import Surroundings
from pancode.core.ports import Transaction
from pancode.core.records import Run, Setting
from pancode.core.values import replace
from pancode.dispatch.dispatch import Dispatched, dispatch
from pancode.dispatch.workspaces import must_be_newest
from pancode.life.continuing import (
    WayBack,
    as_sitting,
    continued,
    is_turn_lost,
    leads,
    must_be_free,
    must_have_ended,
    with_news,
)
from pancode.runs.retry import reachable, request_of, unpinned


def continue_run(
    core: Core,
    around: Surroundings,
    old: Run,
    remark: str,
    by: str | Run,
    answers: str | None = None,
    program: str = "",
    session: str = "",
) -> Dispatched:
    """The next run, through the same ten gates. UsageError, and RefusedError where somebody was faster.

    `by`: a person, or the run from inside which that is asked: then it is a child of that one, no wider, not
    dearer, and without a person's yes. `session`: it is a sitting of this one, if its program takes turns.
    """
    _must_be_over(core, old)
    inside = by if isinstance(by, Run) else None
    if inside is None:
        again = request_of(old, str(by))
    else:
        again = replace(request_of(old, inside.id), confirmed=False, land=False)
    if session and RUNTIMES[old.runtime].takes_turns:
        again = as_sitting(again, session)
    back, old = way_back(core, old), _with_its_runs(core, old)
    request = continued(old, again, remark, reachable(core, old), answers, program, back)
    return dispatch(core, around, unpinned(core, request), None if inside is None else inside.id)


def _with_its_runs(core: Core, old: Run) -> Run:
    """The sitting of an orchestrator whose turn was lost: the next one hears which runs it had begun, as its
    own memory may not have them, and would begin them once more."""
    if not leads(old) or not is_turn_lost(old):
        return old
    with core.ports.ledger.transaction() as tx:
        found = tx.find(Run, {"parent": old.id}, order="created_ms", descending=True, limit=MOST_RUNS)
        begun = ", ".join(f"{one.id} ({one.agent}, {one.outcome or one.state})" for one in found)
    lost = "your program ended in the midst of a turn, which is lost"
    return with_news(old, f"{lost}; the newest runs that it had begun: {begun}") if begun else old


MOST_RUNS = 8
POINTS = "checkpoints:"
"""Before a session's id: the durable setting with its named points, and the one where it goes on."""


def points_of(tx: Transaction, session: str) -> dict[str, Any]:
    """The setting of a session, where it has one: its `points`, and the `next` one where a person went back.

    `backs`: by the sitting behind which a person went back, the one at whose end the next begins.
    """
    kept = tx.get(Setting, f"{POINTS}{session}")
    told = kept.value if kept is not None and isinstance(kept.value, dict) else {}
    return {"points": [], "next": None, "backs": {}, **told}


def way_back(core: Core, old: Run) -> WayBack | None:
    """The earlier point at which a person wants the session to go on; None: after its newest sitting."""
    session = old.terms.get("session")
    with core.ports.ledger.transaction() as tx:
        wanted = (points_of(tx, session)["next"] if session else None) or {}
        at = tx.get(Run, str(wanted["run"])) if wanted.get("behind") == old.id else None
    return None if at is None else WayBack(at, str(wanted["name"]), str(wanted["told"]))


def _must_be_over(core: Core, old: Run) -> None:
    must_have_ended(old)
    with core.ports.ledger.transaction() as tx:
        if is_taken(tx, old):
            must_be_free(old)  # before anything is paid for a snapshot; and again as it is queued
        must_be_newest(tx, old.terms.get("in_workspace", ""), old.id)


def go_on(core: Core, around: Surroundings, old: Run, by: str, past_cap: bool = False) -> Dispatched:
    """The next sitting by itself, with the words that are left. RefusedError where its session is ended.

    `past_cap`: by a person's yes to the question of its cap, for which the ceiling of its session makes room;
    UsageError where nothing asks any more.
    """
    again = replace(request_of(old, by), by_itself=not past_cap, past_cap=past_cap)
    back, old = way_back(core, old), _with_its_runs(core, old)
    request = continued(old, again, "", reachable(core, old), back=back)
    return dispatch(core, around, unpinned(core, request))
