"""The threads of schedules: one begins what is due, one looks at watched branches."""

from __future__ import annotations

from pancode.git.remotes import head_of
from pancode.kernel.threads import BackgroundThread
from pancode.runs.core import Core
from pancode.runs.user_environment import Around
from pancode.schedules.git_pushes import PushWatch
from pancode.schedules.scheduler import Scheduler


def make_threads(core: Core, around: Around) -> tuple[BackgroundThread, ...]:
    """Make the scheduler, and the watch that tells it of pushes."""
    scheduler = Scheduler(core, around)
    return scheduler, PushWatch(core, scheduler, head_of)
