"""The context of every route: the coordinator, facts of its process, and a bell that rings on change."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pancode.api.coordinator_api import CoordinatorApi
from pancode.control.core import Core
from pancode.errors import ConfigError, PancodeError, UnavailableError
from pancode.runs.rounds import act
from pancode.work.workflow.known import filters

log = logging.getLogger("pancode.api")

LET_IN = "pancode.let_in"
"""In the scope of a request over TCP: called once its token is known to be valid."""


class Bell:
    """Rung from any thread when something may have changed; waited for on the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.count = 0
        """Read it before looking, hand it to `wait`: nothing is missed in between."""

    def ring(self) -> None:
        with self._lock:
            self.count += 1
            waiting = list(self._waiting)
        for loop, event in waiting:
            with suppress(RuntimeError):  # that loop has ended, and its waiter with it
                loop.call_soon_threadsafe(event.set)

    async def wait(self, seen: int, timeout_s: float) -> bool:
        """Until the bell has rung since `seen`, or the time is over; whether it has rung."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            if self.count != seen:
                return True
            self._waiting.add(mine)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(mine[1].wait(), timeout_s)
        finally:
            with self._lock:
                self._waiting.discard(mine)
        return self.count != seen


class Nudges:
    """Turns that are asked for while one has not begun yet are that one: it will see every change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = False

    def take(self) -> bool:
        """Whether the caller has to make the turn; then it calls `begun` under the core's lock."""
        with self._lock:
            first, self._waiting = not self._waiting, True
            return first

    def begun(self) -> None:
        """A change from now on needs another round."""
        with self._lock:
            self._waiting = False


@dataclass(slots=True)
class RoundTrouble:
    """The error of Redis or the ledger that stops the rounds now; written by their thread alone."""

    now: PancodeError | None = None

    def shape(self) -> dict[str, str] | None:
        """For faces; None while all is well."""
        found = self.now
        return None if found is None else {"what": str(found), "why": found.why, "fix": found.fix}


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Handed to every route. `facts`: pid, version, home, since ... of this process."""

    coordinator: CoordinatorApi
    facts: dict[str, Any]
    shutdown: Callable[[str], None]
    """Told by whom; by nobody where it ends because its home is gone."""
    loopback: Callable[[], str] | None = None
    """Opens the API on loopback for a browser, and says where; OSError where it cannot."""
    bell: Bell = field(default_factory=Bell)
    closing: threading.Event = field(default_factory=threading.Event)
    nudges: Nudges = field(default_factory=Nudges)
    trouble: RoundTrouble = field(default_factory=RoundTrouble)
    closed: list[dict[str, str]] = field(default_factory=list)
    """The ports that should be open and are not: what, why, fix."""

    def __post_init__(self) -> None:
        self.core.feed.listen(self.bell.ring)

    @property
    def core(self) -> Core:
        return self.coordinator.core

    def project_of(self, cwd: str | None) -> str | None:
        """Top of the repository in which somebody stands who asks; None outside of one."""
        return None if cwd is None else self.coordinator.around({}).project_of(cwd)

    def known(self, query: Mapping[str, str]) -> dict[str, str]:
        """The filters of a request. NotFoundError where one names what nothing is called."""
        agents = self.coordinator.around({}).agents(None) if "agent" in query else {}
        return filters(self.core, query, agents)

    def poke(self) -> None:
        """Act on a change now instead of at the next round; changes of one moment share a turn.

        Raises nothing: the change is made, and what fails here the next round does.
        """
        if not self.nudges.take():
            return
        with self.core.lock:
            self.nudges.begun()
            try:
                act(self.core)
            except (UnavailableError, ConfigError):  # the loop tells, and mends
                pass
            except Exception:
                log.exception("a change was made, and could not be acted upon at once")
        self.bell.ring()
