"""The coordinator's part for pull requests: the watch, and the lines about their items in the inbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from pancode.fleet.answers import TroubleShape
from pancode.fleet.part import CoordinatorPart
from pancode.git.forge_rules import READABLE
from pancode.git.pull_state import PullOpened
from pancode.kernel.formatting import format_title
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.pull_requests.model import PullForge, PullWork, WatchedPull, items_of
from pancode.pull_requests.rules import command_for, needs_user
from pancode.pull_requests.service import PullWatch, find_rules
from pancode.pull_requests.store import list_pulls, pause_of_token, take_word, watch_pull
from pancode.runs.answers import BriefLine
from pancode.runs.core import Core
from pancode.runs.features import Features, HeldThing
from pancode.runs.user_environment import Around


class WatchedPulls(CoordinatorPart):
    """The pull requests of this coordinator, for the routes, and the thread that watches them."""

    def __init__(self, core: Core, around: Around, forge: PullForge, work: PullWork) -> None:
        self._core, self._around = core, around
        self.watch = PullWatch(core, partial(around, {}), forge, work)
        self.threads = (self.watch,)

    def hurry(self) -> None:
        """Read the pull requests soon, as a webhook requests."""
        self.watch.hurry()

    def pulls(self) -> list[WatchedPull]:
        """Return the pull requests that are watched now, oldest first."""
        with self._core.ports.ledger.transaction() as tx:
            return list_pulls(tx)

    @property
    def troubles(self) -> Sequence[TroubleShape]:
        """Return the pull requests that cannot be read or continued, for `fleet status`."""
        return [
            {"what": f"pull request {one.url}", "why": one.trouble, "fix": f"pancode inbox pulls {one.id}"}
            for one in self.pulls()
            if one.trouble
        ]

    def note_pull(self, run: Run, pull: PullOpened) -> None:
        if pull.forge not in READABLE or run.project is None:
            return
        watch_pull(self._core, run, pull, find_rules(self._around({}), run.project).follows)
        self.watch.wake()


def list_inbox_items(core: Core, tx: Transaction) -> Iterable[BriefLine]:
    """Yield a line for each item of a watched pull request that waits for a user."""
    for pull in list_pulls(tx):
        run = tx.get(Run, pull.run)
        task = "" if run is None else format_title(run.task)
        for one in items_of(pull):
            if needs_user(pull, one):
                what = f"pull request #{pull.number}: {one.title}"
                yield {"run": pull.run, "what": what, "task": task, "command": command_for(pull, one.kind)}


def find_held(core: Core, tx: Transaction) -> Iterable[HeldThing]:
    """Yield the watched pull requests."""
    for pull in list_pulls(tx):
        drop = partial(take_word, core, pull.id, None, False, True)
        yield HeldThing(pull.id, "pull request", pull.url, pull.opened_ms, drop)


FEATURE = Features(
    brief=(list_inbox_items,), revoked=(pause_of_token,), held=(find_held,), tables=(WatchedPull,)
)
