"""`runs continue`: a new run goes on from the result of an old one, in its session where that is kept."""

from __future__ import annotations

from pancode.agents.runtimes import RUNTIMES
from pancode.control.core import Core
from pancode.control.run import is_taken
from pancode.control.surroundings import Surroundings
from pancode.core.records import Run
from pancode.core.values import replace
from pancode.dispatch.dispatch import Dispatched, dispatch
from pancode.life.continuing import as_sitting, continued, must_be_free, must_have_ended
from pancode.runs.retry import reachable, request_of, unpinned


def continue_run(
    core: Core,
    around: Surroundings,
    old: Run,
    remark: str,
    by: str,
    answers: str | None = None,
    program: str = "",
    session: str = "",
) -> Dispatched:
    """The next run, through the same ten gates. UsageError, and RefusedError where somebody was faster.

    `session`: the next run is a sitting of this session, if its program takes turns.
    """
    must_have_ended(old)
    with core.ports.ledger.transaction() as tx:
        if is_taken(tx, old):
            must_be_free(old)  # before anything is paid for a snapshot; and again as it is queued
    again = request_of(old, by)
    if session and RUNTIMES[old.runtime].takes_turns:
        again = as_sitting(again, session)
    request = continued(old, again, remark, reachable(core, old), answers, program)
    return dispatch(core, around, unpinned(core, request))


def go_on(core: Core, around: Surroundings, old: Run, by: str, past_cap: bool = False) -> Dispatched:
    """The next sitting by itself, with the words that are left. RefusedError where its session is ended.

    `past_cap`: by a person's yes to the question of its cap, for which the ceiling of its session makes room;
    UsageError where nothing asks any more.
    """
    again = replace(request_of(old, by), by_itself=not past_cap, past_cap=past_cap)
    return dispatch(core, around, unpinned(core, continued(old, again, "", reachable(core, old))))
