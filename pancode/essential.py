"""The threads without which a coordinator does not work: the process ends when one dies, when memory is out,
or when no thread can be started any more.

Whoever started it as a service, or the next command, starts it anew; its state is in the ledger and in Redis.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

STATUS = 70
"""Of sysexits.h: a fault of the program itself."""
_ends = threading.Event()
log = logging.getLogger("pancode.threads")


class EssentialThread(threading.Thread):
    """A daemon whose target is to return only when it was told to stop."""

    def __init__(self, target: Callable[..., object], name: str, *arguments: object) -> None:
        super().__init__(target=target, args=arguments, name=name, daemon=True)


SOON_S = 2.0


class PeriodicThread(ABC):
    """Looks at something every `every_s`. A look that fails is logged, and the next one comes."""

    def __init__(self, name: str, every_s: float) -> None:
        self._name, self._every_s = name, every_s
        self._stopping, self._asked = threading.Event(), threading.Event()
        self._thread = EssentialThread(self._go, name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: what a look has not finished, the next one does."""
        self._stopping.set()
        self._asked.set()

    def hurry(self) -> None:
        """Look in `SOON_S`; what else asks for it until then is the same look."""
        self._asked.set()

    @abstractmethod
    def look(self) -> object:
        """Once."""

    def _go(self) -> None:
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
                log.exception("%s: a look has failed", self._name)


def end_with_them() -> None:
    """From now on in this process, which serves as a coordinator."""
    _ends.set()
    told, start = threading.excepthook, threading.Thread.start

    def ended(args: threading.ExceptHookArgs) -> None:
        fatal = isinstance(args.thread, EssentialThread) or issubclass(args.exc_type, MemoryError)
        try:
            told(args)  # where it was
        finally:
            if fatal:
                _end(args.thread.name if args.thread else "", args.exc_type)

    def started(self: threading.Thread) -> None:
        try:
            start(self)
        except RuntimeError as error:
            # It did not run before, and the process is not at its end: the system gives no thread.
            if self.ident is None and not sys.is_finalizing():
                _end(threading.current_thread().name, type(error))
            raise

    threading.excepthook = ended
    threading.Thread.start = started  # type: ignore[method-assign]


def watch(loop: Any) -> None:
    """A callback that failed ends no event loop: the loop itself tells of memory that has run out."""
    loop.set_exception_handler(_failed)


def _failed(loop: Any, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, MemoryError):
        ran_out()
    loop.default_exception_handler(context)


def ran_out() -> None:
    """Memory has: what goes on without it hangs."""
    if _ends.is_set():
        _end(threading.current_thread().name, MemoryError)


def _end(thread: str, kind: type[BaseException]) -> None:
    """At once: to stop in order takes memory and the threads that there are no more."""
    words = (
        f"the coordinator ends, and the next command starts it: its thread {thread} died of {kind.__name__}"
    )
    try:
        os.write(2, f"{words}\n".encode())
    finally:
        os._exit(STATUS)
