"""Carries out the follow-on actions after a run: durably, one after the other, until done. Kinds of actions
that could delay each other have a thread each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from pancode.kernel.errors import UnavailableError
from pancode.kernel.records import Action, ActionKind, EventKind
from pancode.runs.core import Core
from pancode.runs.feed_thread import FeedThread
from pancode.runs.restored.hold import list_held

log = logging.getLogger("pancode.followon")
AGAIN_S = 15.0
"""Seconds before an action that failed or was not recorded is tried again."""
AHEAD_MS = 3_600_000
"""The longest delay of an action in milliseconds; one due later is done at once (the clock was set back)."""


class Doer(Protocol):
    """Carries out the actions of one kind."""

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        """Carry out the action, and record that it is done. UnavailableError: it is tried again later.
        `stopping`: whether the coordinator is ending; interrupted work remains to be done."""

    def give_up(self, run: str, error: Exception) -> None:
        """Record that the action is not tried again because of an unexpected error."""


class FollowOn(FeedThread):
    """A thread that carries out actions; events of the feed trigger its passes."""

    def __init__(self, core: Core, doers: Mapping[ActionKind, Doer], again_s: float = AGAIN_S) -> None:
        # A message that a session cannot get now is sent after the next event, such as the end of a turn.
        kinds = None if ActionKind.TELL in doers else frozenset[EventKind]()
        super().__init__(core, "follow-on " + ",".join(doers), again_s, kinds, doers)
        self._doers = doers
        self._next_s: float | None = None
        """Seconds until the first of the delayed actions is due; None: no action is delayed."""

    def run_pass(self) -> float | None:
        return self._next_s if self._run_pass() else self._wait_turn()

    def _run_pass(self) -> bool:
        """Carry out all actions that are due; return whether all of them are done."""
        due, later = self._split(self._list_mine())
        left = [action for action in due if not self._carry_out_next(action)]
        if due:
            later = self._split(self._list_mine())[1]
        now = self._core.wall_ms()
        self._next_s = min((max(0, action.at_ms - now) / 1000 for action in later), default=None)
        return not left

    def _split(self, actions: list[Action]) -> tuple[list[Action], list[Action]]:
        """Return the actions to be done now, and the delayed ones."""
        now = self._core.wall_ms()
        later = [action for action in actions if 0 < action.at_ms - now <= AHEAD_MS]
        return [action for action in actions if action not in later], later

    def _list_mine(self) -> list[Action]:
        with self._core.ports.ledger.transaction() as tx:
            held = list_held(tx)
            found = [one for one in tx.find(Action) if one.kind in self._doers and one.run not in held]
        return sorted(found, key=lambda action: (action.at_ms, action.id))

    def _carry_out_next(self, action: Action) -> bool:
        doer = self._doers[action.kind]
        if self._stopping.is_set():
            return True
        try:
            doer.do(action.run, self._stopping.is_set)
        except UnavailableError as error:
            log.warning("%s %s waits: %s: %s", action.kind, action.run, error, error.why)
            return False
        except Exception as error:
            log.exception("%s %s failed", action.kind, action.run)
            doer.give_up(action.run, error)
        return True
