"""A thread of a feature takes turns only while the ledger has what it acts on."""

from __future__ import annotations

import threading

from pancode.issues.records import IssueWork
from pancode.kernel.states import EventKind
from pancode.runs.core import Core
from pancode.runs.feed_thread import FeedThread
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.runs.world import Desk


class Looking(FeedThread):
    """Counts its turns."""

    def __init__(self, core: Core) -> None:
        super().__init__(
            core, "looking", 60.0, frozenset[EventKind](), only_with=(IssueWork, {"ended": False})
        )
        self.turn = threading.Event()

    def run_pass(self) -> None:
        self.turn.set()


def test_it_is_idle_until_there_is_a_row_for_it() -> None:
    core = Desk().core
    thread = Looking(core)
    thread.start()
    try:
        assert thread.is_idle and not thread.turn.is_set()
        with unit_of_work(core) as work:
            work.tx.put(IssueWork("shop-1", "SHOP-1", "a", "u", "shop", "ana", 1, "a", "github", ended=True))
        assert thread.is_idle, "the work has ended"
        with unit_of_work(core) as work:
            work.tx.put(IssueWork("shop-2", "SHOP-2", "a", "u", "shop", "ana", 1, "a", "github"))
        thread.wake()
        assert not thread.is_idle and thread.turn.wait(10)
    finally:
        thread.stop()
