"""The queues of landings: one for each repository, one landing after the other, also over restarts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from pancode.code.landing import asked
from pancode.code.landing.asked import Land, repo_of
from pancode.control.core import Core
from pancode.control.feed_thread import JOIN_S, FeedThread
from pancode.core.records import Action, Run
from pancode.errors import UnavailableError
from pancode.life.land_values import LandWay

log = logging.getLogger("pancode.landing")
AGAIN_S = 15.0
"""Until what could not be done, or not be written down, is tried again."""
LOOK_S = 0.5


class LandingQueue(FeedThread):
    """A thread for each repository that has landings; one that opens them is woken by the feed.

    `cut_short`: ends the landing of a run that is under way, and returns when nothing is written any more.
    """

    def __init__(
        self, core: Core, land: Land, cut_short: Callable[[str], object], again_s: float = AGAIN_S
    ) -> None:
        super().__init__(core, "landings", again_s)
        self._land, self._cut_short = land, cut_short
        self._lock, self._over = threading.Lock(), threading.Condition()
        self._lanes: dict[str, threading.Thread] = {}
        self._now: dict[str, Action] = {}

    def stop(self) -> None:
        self._end()
        for action in list(self._now.values()):
            self._cut_short(action.run)
        self._join()
        for lane in list(self._lanes.values()):
            if lane.is_alive():
                lane.join(JOIN_S)

    def place(self, action: Action) -> int:
        """How many landings of its repository come before it; 0: it is its turn."""
        mine = [one.id for one in asked.waiting(self._core) if repo_of(one) == repo_of(action)]
        return mine.index(action.id) if action.id in mine else 0

    def under_way(self) -> list[str]:
        """The landings whose turn it is, by the ids of their actions."""
        return [action.id for action in list(self._now.values())]

    def ended(self, action: Action) -> dict[str, Any]:
        """How a landing has ended, which is waited for; `waiting` when we end before it does."""
        with self._over:  # also while it is looked up: its end may be told between the look and the wait
            while not self._stopping.is_set():
                with self._core.ports.ledger.transaction() as tx:
                    waits, run = tx.get(Action, action.id), tx.get(Run, action.run)
                if waits is None and run is not None:
                    return dict(run.landing)
                self._over.wait(LOOK_S)
        return {"status": "waiting", "why": "the coordinator ends; it is landed when it is there again"}

    def ask(self, run: Run, way: LandWay) -> Action:
        """Into the queue of its repository."""
        return asked.ask(self._core, run.id, way)

    # -- the threads -----------------------------------------------------------------------------

    def _turn(self) -> float | None:
        for repo in {repo_of(action) for action in asked.waiting(self._core)}:
            self._open(repo)
        return None

    def _open(self, repo: str) -> None:
        with self._lock:
            if repo not in self._lanes and not self._stopping.is_set():
                lane = threading.Thread(
                    target=self._lane, args=(repo,), name=f"landings of {repo}", daemon=True
                )
                self._lanes[repo] = lane
                lane.start()

    def _lane(self, repo: str) -> None:
        try:
            while not self._stopping.is_set():
                mine = [one for one in asked.waiting(self._core) if repo_of(one) == repo]
                if not mine:
                    return
                if not self._done(repo, mine[0]):
                    self._stopping.wait(self._again_s)
        except MemoryError:
            raise
        except Exception:
            log.exception("the landings of %s could not be looked up, or be given up", repo)
            self._stopping.wait(self._again_s)
        finally:
            with self._lock:
                del self._lanes[repo]
            self._woken.set()  # one may have come between the last look and now

    def _done(self, repo: str, action: Action) -> bool:
        self._now[repo] = action
        try:
            asked.carry_out(self._core, action, self._land, self._stopping.is_set)
        except UnavailableError as error:
            log.warning("the landing of %s waits: %s: %s", action.run, error, error.why)
            return False
        except MemoryError:
            raise
        except Exception as error:
            log.exception("the landing of %s failed", action.run)
            asked.give_up(self._core, action, error)
        finally:
            del self._now[repo]
            with self._over:
                self._over.notify_all()
        return True
