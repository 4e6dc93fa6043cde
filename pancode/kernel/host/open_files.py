"""Raises the limit of open files of this process at its start, and reserves some of them."""

from __future__ import annotations

import resource

ENOUGH = 1 << 16
"""A sufficient number of open files; not the system's maximum, because child processes inherit the limit, and
some loop over every number."""
_SPARE = 128
"""Open files reserved for API, ledger and git, so that a user can still diagnose problems at the limit."""


def raise_limit() -> int:
    """Raise the soft limit to the hard limit or to `ENOUGH`, and return the limit. Never lowers it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return read_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def read_limit() -> int:
    """Return the number of files that may be open at once."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def is_spare(number: int) -> bool:
    """Whether a newly opened file has a reserved number; the system assigns the lowest free number."""
    limit = read_limit()
    return number >= limit - min(_SPARE, limit // 4)
