"""The threads without which a coordinator cannot work. The process exits when one of them dies, when memory
runs out, or when the system cannot start a thread.

The service manager or the next command starts the coordinator again; its state is in the ledger and in Redis.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

STATUS = 70
"""The exit status in sysexits.h for an internal software error."""
_ends = threading.Event()
log = logging.getLogger("pancode.threads")


_TRIM_THRESHOLD, _ARENA_MAX = -1, -8
"""The numbers of parameters of `mallopt` in malloc.h of glibc; other C libraries have no such function."""


def share_heap() -> bool:
    """Let all threads allocate from one heap, and give freed memory back to the system at once; call it
    before the first thread. Return whether the C library does so. By default each thread has its own heap,
    and together they keep 20 MB that nothing uses."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(set_option(_ARENA_MAX, 1)) and bool(set_option(_TRIM_THRESHOLD, 1 << 16))


class BackgroundThread(Protocol):
    """A background thread of the coordinator."""

    def start(self) -> None:
        """Start the thread; called once, before any request is answered."""

    def stop(self) -> None:
        """Stop the thread; after this returns, the thread writes nothing. Idempotent."""


class EssentialThread(threading.Thread):
    """A daemon thread whose target may return only after a request to stop."""

    def __init__(self, target: Callable[..., object], name: str, *arguments: object) -> None:
        super().__init__(target=target, args=arguments, name=name, daemon=True)


SOON_S = 2.0


class PeriodicThread(ABC):
    """A thread that checks something every `every_s`. A failed check is logged; later checks still follow."""

    def __init__(self, name: str, every_s: float) -> None:
        self._name, self._every_s = name, every_s
        self._stopping, self._asked = threading.Event(), threading.Event()
        self._thread = EssentialThread(self._run_passes, name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop without waiting for a check in progress; after the next start, a check does what is left."""
        self._stopping.set()
        self._asked.set()

    def hurry(self) -> None:
        """Make the next check happen within `SOON_S`; calls until then share that check."""
        self._asked.set()

    @abstractmethod
    def look(self) -> object:
        """Make one check."""

    def _run_passes(self) -> None:
        while True:
            if self._asked.wait(self._every_s):
                self._stopping.wait(SOON_S)
            self._asked.clear()
            if self._stopping.is_set():
                return
            try:
                self.look()
            except MemoryError:
                raise
            except Exception:
                log.exception("%s: a check failed", self._name)


def end_with_them() -> None:
    """From now on, exit this process when an essential thread dies, because the process is a coordinator."""
    _ends.set()
    told, start = threading.excepthook, threading.Thread.start

    def ended(args: threading.ExceptHookArgs) -> None:
        fatal = isinstance(args.thread, EssentialThread) or issubclass(args.exc_type, MemoryError)
        try:
            told(args)  # the original hook reports the exception
        finally:
            if fatal:
                _end(args.thread.name if args.thread else "", args.exc_type)

    def started(self: threading.Thread) -> None:
        try:
            start(self)
        except RuntimeError as error:
            # The thread never ran, and the process is not exiting, so the system cannot start a thread.
            if self.ident is None and not sys.is_finalizing():
                _end(threading.current_thread().name, type(error))
            raise

    threading.excepthook = ended
    threading.Thread.start = started  # type: ignore[method-assign]


def end_process_on_memory_error(loop: Any) -> None:
    """Exit the process if an event loop's callback runs out of memory; the loop itself would continue."""
    loop.set_exception_handler(_handle_exception)


def _handle_exception(loop: Any, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, MemoryError):
        ran_out()
    loop.default_exception_handler(context)


def ran_out() -> None:
    """Exit the process because memory ran out; a thread that continued without memory would hang."""
    if _ends.is_set():
        _end(threading.current_thread().name, MemoryError)


def _end(thread: str, kind: type[BaseException]) -> None:
    """Exit the process at once: an orderly stop would need memory, and threads that have already ended."""
    words = (
        f"the coordinator exits, and the next command starts it: its thread {thread} died of {kind.__name__}"
    )
    try:
        os.write(2, f"{words}\n".encode())
    finally:
        os._exit(STATUS)
