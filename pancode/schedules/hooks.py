"""The threads of schedules: one starts due work, and one watches branches."""

from __future__ import annotations

from pancode.git.remotes import head_of
from pancode.kernel.threads import BackgroundThread
from pancode.runs.core import Core
from pancode.runs.features import Features
from pancode.runs.user_environment import Around
from pancode.schedules.git_pushes import PushWatch
from pancode.schedules.scheduler import Scheduler
from pancode.schedules.store import pause_of_token
from pancode.schedules.views import brief_lines


def make_threads(core: Core, around: Around) -> tuple[BackgroundThread, ...]:
    """Return the scheduler and the thread that reports pushes to it."""
    scheduler = Scheduler(core, around)
    return scheduler, PushWatch(core, scheduler, head_of)


FEATURE = Features(brief=(brief_lines,), revoked=(pause_of_token,), threads=(make_threads,))
