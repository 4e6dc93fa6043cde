"""The limit of open files of this process: raised at its start, with some kept in reserve."""

from __future__ import annotations

import resource

ENOUGH = 1 << 16
"""How many open files are enough; not all that the system would give, as child processes inherit the limit,
and some go through every number."""
_SPARE = 128
"""How many are kept for API, ledger and git, so that at the limit a user can still ask what is wrong."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one, or to what is enough, and return it. Never lowers it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return read_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def read_limit() -> int:
    """The number of files that may be open at once."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def is_spare(number: int) -> bool:
    """Whether a file just opened takes one of the spare numbers; the system gives the lowest free one."""
    limit = read_limit()
    return number >= limit - min(_SPARE, limit // 4)
