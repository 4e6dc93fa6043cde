"""What sessions add to runs: session rows, orchestrators' calls, and reports on the runs they started."""

from __future__ import annotations

from operator import attrgetter

from pancode.kernel.records import ActionKind
from pancode.kernel.threads import BackgroundThread
from pancode.runs.core import Core
from pancode.runs.extension import Hook, RunSeries
from pancode.runs.features import Features
from pancode.runs.follow_on_actions import FollowOn
from pancode.runs.user_environment import Around
from pancode.sessions.child_updates import Tidings
from pancode.sessions.fleet_calls import take_calls
from pancode.sessions.pending_updates import add_update
from pancode.sessions.service import GoingOn
from pancode.sessions.session import load_chain
from pancode.sessions.store import join_session


def make_threads(core: Core, around: Around) -> tuple[BackgroundThread, ...]:
    """Return the threads that start the next interactive runs and that report to orchestrators."""
    return (
        FollowOn(core, {ActionKind.GO_ON: GoingOn(core, around)}),
        FollowOn(core, {ActionKind.TELL: Tidings(core, around)}),
    )


FEATURE = Features(
    join=(Hook(attrgetter("run.takes_turns"), join_session),),
    changed=(Hook(attrgetter("left"), take_calls), Hook(attrgetter("run.parent"), add_update)),
    threads=(make_threads,),
    series=(Hook(lambda kind: kind == "session", lambda tx, name: RunSeries(load_chain(tx, name).id)),),
)
