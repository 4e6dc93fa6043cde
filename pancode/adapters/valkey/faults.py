"""Turns what redis-py raises into UnavailableError: what happened, how we know, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import exceptions as raised

from pancode.adapters.valkey.access import RedisAccess
from pancode.errors import UnavailableError


@contextmanager
def translated(access: RedisAccess, operation: str) -> Iterator[None]:
    """Every error of redis-py that leaves the block becomes UnavailableError, `from` the original."""
    try:
        yield
    except (raised.RedisError, OSError) as exc:
        raise unavailable(access, operation, exc) from exc


def unavailable(access: RedisAccess, operation: str, exc: Exception) -> UnavailableError:
    """The error for one failed operation; `why` never holds a password."""
    verdict = _judge(exc)
    fix = verdict.fix.format(origin=access.origin, probe=access.probe())
    return UnavailableError(verdict.message, why=f"{operation} at {access.place}: {_said(exc)}", fix=fix)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """One kind of failure: by its class, or by the first word of what the server says."""

    kinds: tuple[type[Exception], ...]
    words: tuple[str, ...]
    message: str
    fix: str


_AGAIN = "try: {probe}"
_VERDICTS = (
    _Verdict(
        (raised.AuthenticationError,),
        ("NOAUTH", "WRONGPASS"),
        "Redis refuses our password.",
        "correct user and password in {origin}; " + _AGAIN,
    ),
    _Verdict(
        (raised.NoPermissionError,),
        ("NOPERM",),
        "Redis does not allow us what we need.",
        "give the user of {origin} the rights +@all ~* &*; " + _AGAIN,
    ),
    _Verdict(
        (raised.OutOfMemoryError,),
        ("OOM",),
        "Redis is full.",
        "remove what fills it, or raise its `maxmemory`; pancode doctor shows what",
    ),
    _Verdict(
        (raised.ReadOnlyError,),
        ("READONLY",),
        "This Redis is a replica and takes no writes.",
        "set {origin} to the primary",
    ),
    _Verdict(
        (), ("MISCONF",), "Redis cannot write to its disk.", "free space on its disk; its log says more"
    ),
    _Verdict(
        (raised.BusyLoadingError,),
        ("LOADING",),
        "Redis is still loading its data.",
        "wait; it is tried again",
    ),
    _Verdict((raised.TimeoutError,), (), "Redis does not answer.", _AGAIN),
    _Verdict(
        (raised.ConnectionError, OSError),
        (),
        "Redis cannot be reached.",
        "is it running where {origin} says? " + _AGAIN,
    ),
)
_OTHER = _Verdict((), (), "Redis refuses a command.", "is it Redis 7.0 or Valkey 7.2, or newer? " + _AGAIN)


def _judge(exc: Exception) -> _Verdict:
    """The first that fits; the order matters, since most of redis-py's stand below ConnectionError."""
    said = str(exc)
    return next((v for v in _VERDICTS if isinstance(exc, v.kinds) or said.startswith(v.words)), _OTHER)


def _said(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300] or type(exc).__name__
