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
from typing import Any, Protocol

STATUS = 70
"""The exit status of sysexits.h for a fault of the program itself."""
_ends = threading.Event()
log = logging.getLogger("pancode.threads")


class BackgroundThread(Protocol):
    """A thread of the coordinator that acts by itself."""

    def start(self) -> None:
        """Start the thread; called once, before any request is answered."""

    def stop(self) -> None:
        """Stop the thread; on return it writes nothing any more. Idempotent."""


class EssentialThread(threading.Thread):
    """A daemon whose target is to return only when it was told to stop."""

    def __init__(self, target: Callable[..., object], name: str, *arguments: object) -> None:
        super().__init__(target=target, args=arguments, name=name, daemon=True)


SOON_S = 2.0


class PeriodicThread(ABC):
    """Looks at something every `every_s`. A look that fails is logged, and does not stop the later ones."""

    def __init__(self, name: str, every_s: float) -> None:
        self._name, self._every_s = name, every_s
        self._stopping, self._asked = threading.Event(), threading.Event()
        self._thread = EssentialThread(self._go, name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop without waiting for a look under way: the next look makes up for what it has not finished."""
        self._stopping.set()
        self._asked.set()

    def hurry(self) -> None:
        """Look within `SOON_S`; calls until then lead to that same look."""
        self._asked.set()

    @abstractmethod
    def look(self) -> object:
        """Look once."""

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
    """From now on, let this process end when an essential thread dies: it serves as a coordinator."""
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


def end_process_on_memory_error(loop: Any) -> None:
    """Let memory that runs out in a callback end the process; an event loop survives failed callbacks."""
    loop.set_exception_handler(_failed)


def _failed(loop: Any, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, MemoryError):
        ran_out()
    loop.default_exception_handler(context)


def ran_out() -> None:
    """End the process, as memory has run out: whatever continues without it hangs."""
    if _ends.is_set():
        _end(threading.current_thread().name, MemoryError)


def _end(thread: str, kind: type[BaseException]) -> None:
    """End the process at once: an orderly stop would take memory, and threads that are gone."""
    words = (
        f"the coordinator ends, and the next command starts it: its thread {thread} died of {kind.__name__}"
    )
    try:
        os.write(2, f"{words}\n".encode())
    finally:
        os._exit(STATUS)
