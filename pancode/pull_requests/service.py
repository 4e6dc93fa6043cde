"""Watches pull requests: reads their forges, records the answers, and continues its rounds of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from pancode.git.pull_state import PullState
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError, with_fix
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EventKind, Run, RunState
from pancode.kernel.values import replace
from pancode.pull_requests import rules
from pancode.pull_requests.model import PullForge, PullRules, PullWork, WatchedPull
from pancode.pull_requests.store import change_pull, list_pulls
from pancode.runs.begun_later import must_still_speak
from pancode.runs.core import Core
from pancode.runs.feed_thread import FeedThread
from pancode.runs.project_rules import project_among
from pancode.runs.restored.hold import list_held
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import chain_of, words_of

LOOK_S, HURRIED_S = 120.0, 60.0
"""Seconds between two looks at a pull request; at least, also when a webhook asks for one."""
MOST_WAIT_S = 3_600.0
"""The longest wait after failures; it doubles with each."""
REFUSED_S = 900.0
"""Seconds until work that admission refused is requested again."""
MOST_WATCHED = 200
"""How many pull requests a pass handles: those that were read longest ago."""
NEWS = frozenset({EventKind.RUN_ENDED, EventKind.RUN_LANDING, EventKind.RUN_TURN, EventKind.INBOX_ANSWERED})
"""The kinds of events after which a round may have its next step."""


def find_rules(around: Surroundings, folder: str) -> PullRules:
    """Return the rules of the project of this repository; nobody is named if it belongs to none."""
    one = project_among(around.projects().values(), folder, around.address_of)
    if one is None:
        return PullRules()
    people = frozenset(login.strip().removeprefix("@").lower() for login in one.pull_people) - {""}
    return PullRules(people, one.pull_follow, one.pull_merge)


class PullWatch(FeedThread):
    """The thread that reads watched pull requests. Each act is recorded before it is done, and is found again
    or repeated without effect after a coordinator is killed."""

    def __init__(
        self, core: Core, around: Callable[[], Surroundings], forge: PullForge, work: PullWork
    ) -> None:
        super().__init__(core, "pull-requests", LOOK_S, NEWS, only_with=(WatchedPull, {"ended": False}))
        self._around, self._forge, self._work = around, forge, work
        self._due: dict[str, int] = {}
        """When each pull request is read next, by id; when its refused work or merge is tried again, by `ID
        work` and `ID merge`; when a host accepts requests again, by host. Monotonic milliseconds."""
        self._failed: dict[str, int] = {}
        """How many times in a row a pull request could not be read."""
        self._hurried = False

    def hurry(self) -> None:
        """Read the pull requests soon, as a webhook requests."""
        self._hurried = True
        self.wake()

    def look(self, pull: WatchedPull) -> None:
        """Read this pull request now, or forget its answers, for a user who gave a word about it."""
        if pull.ended:
            self._forget(pull)
        else:
            self._due[pull.id] = self._due[f"{pull.id} work"] = 0
        self.wake()

    def _forget(self, pull: WatchedPull) -> None:
        for times in (self._due, self._failed):
            for key in (pull.id, f"{pull.id} work", f"{pull.id} merge"):
                times.pop(key, None)
        self._forge.forget(pull.place)

    def run_pass(self) -> float | None:
        """Read what is due, and continue each round. Return the seconds until the next one is due."""
        now = self._core.ports.clock.mono_ms()
        hurried, self._hurried = self._hurried, False
        with self._core.ports.ledger.transaction() as tx:
            held = list_held(tx)
            pulls = [one for one in list_pulls(tx) if one.id not in held]
        pulls = sorted(pulls, key=lambda one: one.looked_ms)[:MOST_WATCHED]
        for pull in pulls:
            passed_ms = max(0, self._core.wall_ms() - pull.looked_ms)
            at = now + int((HURRIED_S if hurried else LOOK_S) * 1000) - passed_ms
            due = self._due.setdefault(pull.id, at)
            self._due[pull.id] = min(due, at) if hurried and pull.id not in self._failed else due
        around = self._around()
        for pull in pulls:
            if self._stopping.is_set():
                return None
            if now >= self._next_look(pull):
                self._read(pull, find_rules(around, pull.project))
            self._continue_round(pull.id)
        waits = [self._next_look(one) - now for one in pulls]
        return max(1.0, min(waits, default=int(LOOK_S * 1000)) / 1000)

    def _next_look(self, pull: WatchedPull) -> int:
        return max(self._due.get(pull.id, 0), self._due.get(pull.repository.partition("/")[0], 0))

    def _read(self, pull: WatchedPull, allowed: PullRules) -> None:
        """Read the pull request and decide; a failure becomes its trouble."""
        core = self._core
        try:
            state = self._forge.read(pull.place)
        except PancodeError as error:
            self._delay_look(pull, error)
            why = _describe(error)
            self._change(pull, lambda row: rules.note_reading(row, why))
            return
        self._failed.pop(pull.id, None)
        self._due[pull.id] = core.ports.clock.mono_ms() + int(LOOK_S * 1000)
        now = core.wall_ms()
        new = self._change(
            pull, lambda row: rules.begin_round(rules.note_state(row, state, allowed, now), state, now)
        )
        if new is None or new.ended:
            self._forget(pull)
            return
        is_due = core.ports.clock.mono_ms() >= self._due.get(f"{pull.id} merge", 0)
        if is_due and rules.may_merge(new, state, allowed, now):
            self._merge(new, state)

    def _delay_look(self, pull: WatchedPull, error: PancodeError) -> None:
        """Wait longer after each failure; a rate limit holds back all pull requests of the host."""
        now, count = self._core.ports.clock.mono_ms(), self._failed.get(pull.id, 0) + 1
        self._failed[pull.id] = count
        self._due[pull.id] = now + int(min(LOOK_S * 2 ** min(count - 1, 10), MOST_WAIT_S) * 1000)
        if limited_s := float(error.details.get("wait_s", 0)):
            self._due[pull.repository.partition("/")[0]] = now + int(limited_s * 1000)

    def _merge(self, pull: WatchedPull, state: PullState) -> None:
        self._change(pull, lambda row: replace(row, merging=state.head, trouble=""))
        try:
            self._forge.merge(pull.place, state.head)
        except UnavailableError as error:
            # It is perhaps merged: the next look shows that, or merges this commit again.
            self._delay_look(pull, error)
            self._note_trouble(pull, error)
        except PancodeError as error:
            why = _describe(error)
            self._due[f"{pull.id} merge"] = self._core.ports.clock.mono_ms() + int(REFUSED_S * 1000)
            self._change(pull, lambda row: rules.note_refusal(row, state.head, why))
        else:
            self._due[pull.id] = 0

    def _continue_round(self, name: str) -> None:
        """Do the next step of the round under way."""
        key = f"{name} work"
        with self._core.ports.ledger.transaction() as tx:
            pull = tx.get(WatchedPull, name)
            waits = self._core.ports.clock.mono_ms() < self._due.get(key, 0)
            if waits or pull is None or pull.ended or not pull.mark:
                return
            run = tx.get(Run, pull.worker or pull.run)
            chain = [] if run is None else chain_of(tx, run)
            told = next((one for one in chain if _has_message(tx, one, pull.mark)), None)
            news = words_of(tx, chain[-1]) if chain else []
            is_unread = any(pull.mark in one.text and not one.laid for one in news)
        try:
            what, fix = f"the work on pull request #{pull.number}", f"pancode inbox pulls {name} --follow"
            with self._core.ports.ledger.transaction() as tx:
                must_still_speak(tx, pull.by, self._core.wall_ms(), what, fix, self._core.wall_ms())
            if not chain:
                self._change_round(pull, lambda row: rules.end_round(row, f"run {row.run} no longer exists"))
            elif pull.worker:
                if not is_unread or chain[-1].state is not RunState.ENDED:
                    self._take_step(pull, chain[-1])
            elif told is not None or rules.may_send(chain[-1]):
                # it was sent already if the coordinator was killed after that
                worker = (told or self._work.send(chain[-1], pull.message, pull.by)).id
                self._change_round(pull, lambda row: replace(row, worker=worker, trouble=""))
        except (UnavailableError, RefusedError) as error:
            self._due[key] = self._core.ports.clock.mono_ms() + int(REFUSED_S * 1000)
            self._note_trouble(pull, error)
        except PancodeError as error:
            why = _describe(error)
            self._change_round(pull, lambda row: rules.end_round(row, why))

    def _take_step(self, pull: WatchedPull, newest: Run) -> None:
        step, why = rules.next_step(pull, newest)
        match step:
            case rules.NextStep.WAIT:
                return
            case rules.NextStep.SUSPEND:
                self._work.suspend(newest, pull.by)
            case rules.NextStep.LAND:
                self._work.land(newest, pull.branch, pull.by)
            case rules.NextStep.PUSH:
                self._work.push(pull.place)
                self._change_round(pull, rules.end_round)
                self._due[pull.id] = 0
            case rules.NextStep.FAILED:
                self._change_round(pull, lambda row: rules.end_round(row, why))
            case _:
                assert_never(step)

    def _change_round(self, pull: WatchedPull, decide: Callable[[WatchedPull], WatchedPull]) -> None:
        """Apply a decision about the round under way, unless a user's word has ended it meanwhile."""
        self._change(pull, lambda row: decide(row) if row.mark == pull.mark else row)

    def _change(self, pull: WatchedPull, decide: Callable[[WatchedPull], WatchedPull]) -> WatchedPull | None:
        return change_pull(self._core, pull.id, decide)

    def _note_trouble(self, pull: WatchedPull, error: PancodeError) -> None:
        trouble = _describe(error)
        self._change(pull, lambda row: replace(row, trouble=trouble))


def _describe(error: PancodeError) -> str:
    return with_fix(f"{error.words}: {error.why}"[:500], error.fix[:300])


def _has_message(tx: Transaction, run: Run, mark: str) -> bool:
    """Whether the run got the message with this mark, with its task or while it worked."""
    return mark in run.task or any(mark in one.text for one in words_of(tx, run))
