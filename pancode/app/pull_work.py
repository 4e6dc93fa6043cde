"""Implements the ports of watched pull requests with the forges, messages, landings and the user's git."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from pancode.fleet.part import CoordinatorPart, land_change
from pancode.git.forge.forges import HttpForges
from pancode.git.forge.pulls import name_repository
from pancode.git.forge_rules import ForgeKind, ForgePlace, place_of, with_base
from pancode.git.pull_state import PullPlace, PullState
from pancode.git.remotes import push_unattended
from pancode.kernel.errors import UsageError
from pancode.kernel.records import Run
from pancode.kernel.states import How
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.life.conversation import is_between_turns
from pancode.runs.life.waits import TurnAsked
from pancode.runs.messages import send_message
from pancode.runs.request import LandWay
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Around
from pancode.runs.views import chain_of, load_run, words_of


def find_place(forges: HttpForges, pull: PullPlace) -> ForgePlace:
    """Return where the pull request is. UsageError if its remote names another repository by now."""
    repository = forges.repository(pull.project, pull.remote)
    place = place_of(repository, forges.hosts(), ForgeKind(pull.forge))
    for one in (place.repository, with_base(place, forges.base(pull.project)).target):
        if name_repository(one) == pull.repository:  # that of the branch, or the one of which it is a fork
            return replace(place, repository=one)
    raise UsageError(
        f"remote {pull.remote} of {pull.project} is no longer {pull.repository}",
        why=f"it is {name_repository(repository)}",
        fix=f"git -C {pull.project} remote -v; if renamed: {pull.again}",
        code="other_repository",
    )


class ForgeWatch:
    """Implements pancode.pull_requests.model.PullForge."""

    def __init__(self, forges: HttpForges) -> None:
        self._forges = forges

    def read(self, pull: PullPlace) -> PullState:
        return self._forges.read_pull(find_place(self._forges, pull), pull.number)

    def forget(self, pull: PullPlace) -> None:
        self._forges.forget_pull(pull.repository, pull.number)

    def merge(self, pull: PullPlace, head: str) -> None:
        self._forges.merge_pull(find_place(self._forges, pull), pull.number, head)


class ChangeWork:
    """Implements pancode.pull_requests.model.PullWork."""

    def __init__(
        self, core: Core, around: Around, parts: Callable[[], Sequence[CoordinatorPart]], forges: HttpForges,
        environ: Mapping[str, str],
    ) -> None:  # fmt: skip
        """`environ`: of the user's login, by which git finds keys and agents."""
        self._core, self._around, self._parts = core, around, parts
        self._forges, self._environ = forges, environ

    def send(self, run: Run, text: str, by: str) -> Run:
        return send_message(self._core, self._around({}), run.id, text, by).run

    def suspend(self, run: Run, by: str) -> None:
        with suppress(UsageError), unit_of_work(self._core) as work:  # it may have ended meanwhile
            if is_between_turns(run, words_of(work.tx, run)):
                newest = chain_of(work.tx, load_run(work.tx, run.id))[-1]
                work.signal(newest, TurnAsked("rest", by, None))

    def land(self, run: Run, branch: str, by: str) -> None:
        how = How(self._around({}).defaults(run.project).land_how)
        land_change(self._parts(), run, LandWay(by, branch=branch, how=how), wait=False)

    def push(self, pull: PullPlace) -> None:
        find_place(self._forges, pull)
        push_unattended(pull.project, pull.remote, pull.branch, self._environ)
