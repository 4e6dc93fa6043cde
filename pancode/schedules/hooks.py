"""The thread of schedules, which starts due work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pancode.kernel.ports import Transaction
from pancode.kernel.threads import BackgroundThread
from pancode.runs.core import Core
from pancode.runs.features import Features, HeldThing
from pancode.runs.restored.hold import DROPPED
from pancode.runs.user_environment import Around
from pancode.schedules.model import trigger_of, words_of
from pancode.schedules.records import Firing, Schedule
from pancode.schedules.rules import held_name
from pancode.schedules.scheduler import Scheduler
from pancode.schedules.service import pause_schedule, skip_until_now
from pancode.schedules.store import pause_of_token
from pancode.schedules.views import list_needs


def make_threads(core: Core, around: Around) -> tuple[BackgroundThread, ...]:
    """Return the scheduler."""
    return (Scheduler(core, around),)


def find_held(core: Core, tx: Transaction) -> Iterator[HeldThing]:
    """Yield the schedules that would fire."""
    for one in tx.find(Schedule):
        if one.paused is None:
            yield HeldThing(
                held_name(one.name),
                "schedule",
                words_of(trigger_of(one.trigger)),
                one.created_ms,
                partial(pause_schedule, core, one.name, DROPPED),
                release=partial(skip_until_now, core, one.name),
            )


FEATURE = Features(
    needs_user=(list_needs,),
    revoked=(pause_of_token,),
    held=(find_held,),
    threads=(make_threads,),
    tables=(Schedule, Firing),
)
