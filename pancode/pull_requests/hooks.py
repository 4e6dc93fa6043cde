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
from pancode.pull_requests.model import PullForge, PullItemKind, PullWork, WatchedPull, items_of
from pancode.pull_requests.rules import command_for, needs_user
from pancode.pull_requests.service import PullWatch, find_rules
from pancode.pull_requests.store import list_pulls, pause_of_token, take_word, watch_pull
from pancode.runs.answers import Need, NeedAct, NeedGroup
from pancode.runs.core import Core
from pancode.runs.features import Features, HeldThing
from pancode.runs.user_environment import Around
from pancode.runs.views import format_optional_iso


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


def list_needs(core: Core, tx: Transaction) -> Iterable[Need]:
    """Yield a need for each item of a watched pull request that waits for a user."""
    for pull in list_pulls(tx):
        run = tx.get(Run, pull.run)
        task = "" if run is None else f" {format_title(run.task)}"
        for one in items_of(pull):
            if needs_user(pull, one):
                name = f"pull:{pull.id}:{one.id}"
                yield Need(
                    id=name,
                    group=NeedGroup.PULLS,
                    state=one.kind.value.replace(" ", "_"),
                    title=f"#{pull.number}{task}",
                    headline=one.title,
                    command=command_for(pull, one.kind),
                    since=format_optional_iso(pull.head_ms or pull.opened_ms),
                    run=pull.run,
                    project=pull.project,
                    words=f"{pull.url}\n{one.text}".strip(),
                    acts=(*_follow(pull, one.kind), NeedAct.done(name)),
                )


def _follow(pull: WatchedPull, kind: PullItemKind) -> Iterable[NeedAct]:
    """Yield the act that has the agent work on the item, if its command offers that."""
    if " --follow" in command_for(pull, kind):
        asks = f"Have the agent of #{pull.number} work on it, and on later checks and remarks? No undo."
        yield NeedAct("follow", "s", "Send to the agent", asks, f"/v1/pulls/{pull.id}", {"follow": True})


def find_held(core: Core, tx: Transaction) -> Iterable[HeldThing]:
    """Yield the watched pull requests."""
    for pull in list_pulls(tx):
        drop = partial(take_word, core, pull.id, None, False, True)
        yield HeldThing(pull.id, "pull request", pull.url, pull.opened_ms, drop)


FEATURE = Features(
    needs_user=(list_needs,), revoked=(pause_of_token,), held=(find_held,), tables=(WatchedPull,)
)
