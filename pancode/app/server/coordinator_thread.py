"""The coordinator's main thread: it waits, makes a pass and repeats; only a MemoryError in a pass ends it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from pancode.interfaces.http.context import ApiContext
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError
from pancode.kernel.threads import EssentialThread
from pancode.runs.reconcile import run_pass, wait_for_messages

log = logging.getLogger("pancode.rounds")

LISTEN_MS = 1_000
LOOK_MS = 5_000
BUSY_MS, GATHER_MS = 20, 4
HELD_LOOK_S = 0.5
"""Seconds between two checks whether a user has let a held coordinator lead."""
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Passes:
    """The thread that makes the coordinator's passes. A failed pass is logged, repaired and retried."""

    def __init__(
        self,
        context: ApiContext,
        held: Callable[[], bool] = lambda: True,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        """`held`: whether the home still belongs to this process, which otherwise ends. `heartbeat`: called
        after each pass, even a failed one, since a restart would not repair the cause."""
        self._heartbeat = heartbeat
        self._context = context
        self._held = held
        self._stopping = threading.Event()
        self._thread = EssentialThread(self._run_passes, "rounds")
        heartbeat_ms = context.core.rules.heartbeat_ms
        self._wait_ms = max(20, min(LISTEN_MS, heartbeat_ms // 4))
        self._ended_ms = 0
        self._looked_ms = context.core.ports.clock.mono_ms()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for the current pass to end."""
        self._stopping.set()
        self._thread.join(30)
        if self._context.coordinator.held is None:
            with suppress(PancodeError):
                run_pass(self._context.core)  # a final pass sends out the latest requests

    def _run_passes(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            if not self._held():
                log.error("the home was removed, or another coordinator has replaced this one: this one ends")
                self._context.shutdown("")
                return
            try:
                self._run_pass()
                before, self._context.trouble.now = self._context.trouble.now, None
                if before is not None:
                    log.info("working again, after: %s", before)
                failures = 0
            except MemoryError:
                raise
            except Exception as error:
                self._handle_failure(error, failures)
                failures += 1
            self._heartbeat()

    def _run_pass(self) -> None:
        if self._context.coordinator.held is not None:
            self._stopping.wait(HELD_LOOK_S)
            return
        # A fleet without nodes never uses Redis, but Redis should run when it is needed.
        now = self._context.core.ports.clock.mono_ms()
        if now - self._looked_ms >= LOOK_MS:
            self._looked_ms = now
            self._repair(failed=False)
        core, clock = self._context.core, self._context.core.ports.clock
        began = clock.mono_ms()
        received = wait_for_messages(core, self._wait_ms)
        now = clock.mono_ms()
        pause = pause_ms(received, now - began, self._wait_ms, now - self._ended_ms)
        if pause > 0:
            self._stopping.wait(pause / 1000)
        if run_pass(core, received) or received:
            self._context.bell.ring()
        self._ended_ms = clock.mono_ms()

    def _handle_failure(self, error: Exception, failures: int) -> None:
        if isinstance(error, UnavailableError | ConfigError):
            # Logged once until the error changes or disappears; the status always shows it.
            before, self._context.trouble.now = self._context.trouble.now, error
            if before is None or str(before) != str(error):
                log.warning("%s (%s); fix: %s", error, error.why, error.fix)
            self._repair(failed=True)
        else:
            log.error("a pass failed", exc_info=error)
        self._stopping.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])

    def _repair(self, *, failed: bool) -> None:
        try:
            done = self._context.coordinator.repair(failed)
        except PancodeError:
            return
        except Exception as error:  # for example if the home is gone; the next check detects that
            log.error("the repair after a failed pass failed", exc_info=error)
            return
        if done:
            log.warning("%s", done)


def pause_ms(received: bool, listened_ms: int, wait_ms: int, ended_ms: int) -> int:
    """Return the delay before the next pass, given the last wait and the time since the last pass."""
    if received:  # messages that arrive in quick succession are handled together
        return GATHER_MS if ended_ms < BUSY_MS else 0
    return max(0, wait_ms - listened_ms)  # without nodes the wait returned early
