"""The limit of open files of this process: raised at its start, with some kept in reserve."""

from __future__ import annotations

import resource

ENOUGH = 1 << 16
"""Not all that the system would give: what is started from here inherits it, and some programs go through
every number there is."""
_SPARE = 128
"""For the API, the ledger, git: at the limit a person can still ask what is wrong."""


def raise_limit() -> int:
    """The soft limit up to the hard one, or to what is enough; how many there may be now. Lowers nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most()
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def most() -> int:
    """The number of files that may be open at once."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def is_spare(number: int) -> bool:
    """Whether a file that was just opened takes from the rest: the system gives the lowest free number."""
    limit = most()
    return number >= limit - min(_SPARE, limit // 4)
