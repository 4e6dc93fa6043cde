"""Landings on a branch under kills between any two git commands: no commit is lost, no file is touched."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from pancode.git import runner
from pancode.git.landings import LandRequest, LandStatus, OnBranch
from pancode.git.tree.branch_landing import land_on_branch
from pancode.kernel.states import How
from pancode.kernel.values import replace
from tests.integration.git.coordinator import LINES, Trees
from tests.integration.git.repos import NOW_MS, Repo

RUNS, KILLS = 4, 10


class Crash(BaseException):
    """The process ends here, and nothing that it had planned for errors happens."""


class Killer:
    """Lets so many git commands through, then ends the world before or after the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.after = False
        real = runner.run_git

        def run(*args: Any, **more: Any) -> Any:
            if self.left is None:
                return real(*args, **more)
            self.left -= 1
            if self.left > 0:
                return real(*args, **more)
            if self.after:
                real(*args, **more)
            raise Crash

        monkeypatch.setattr(runner, "run_git", run)


def _edit(number: int) -> Callable[[Repo], object]:
    def act(agent: Repo) -> None:
        agent.git("checkout", "-q", "--detach", "FETCH_HEAD")
        agent.write(f"made by {number}\n'x", f"{number}\n")
        agent.write("c", LINES.replace(f"{4 * number + 1}\n", f"{4 * number + 1} by {number}\n", 1))

    return act


@pytest.mark.slow
@pytest.mark.parametrize("how", list(How))
def test_no_commit_is_lost_and_nothing_of_the_users_is_touched(
    coordinator: Trees, monkeypatch: pytest.MonkeyPatch, how: How
) -> None:
    chance, user = random.Random(how.value), coordinator.user
    requests = [
        replace(coordinator.result(_edit(number)), base=user.head, run=f"r-{number:04}")
        for number in range(RUNS)
    ]
    before, head = coordinator.tree(), user.head
    index = (user.path / ".git/index").read_bytes()
    killer, tips, kills = Killer(monkeypatch), list[str](), 0
    for request in requests:
        while _killed_or_landed(coordinator, request, how, killer, chance, kills) is None:
            kills += 1
            tips += _tips(user)
        tips += _tips(user)
        assert coordinator.tree() == before and user.head == head
        assert (user.path / ".git/index").read_bytes() == index
    for tip in tips:
        user.git("merge-base", "--is-ancestor", tip, "agent/x")  # what was there once is never lost
    for request in requests:
        own = user.git(
            "log", "--first-parent", "--format=%H", f"--grep=Pancode-Run: {request.run}", "agent/x"
        )
        assert len(own.split()) == 1, "landed once, however often it was cut off"
    merged = user.git("show", "agent/x:c").split("\n")
    assert [line for line in merged if " by " in line] == [f"{4 * n + 1} by {n}" for n in range(RUNS)]
    assert user.git("fsck", "--strict", "--no-dangling") == "" and kills == KILLS


def _killed_or_landed(
    coordinator: Trees, request: LandRequest, how: How, killer: Killer, chance: random.Random, kills: int
) -> LandStatus | None:
    """None: it was cut off."""
    killer.left = chance.randint(1, 16) if kills < KILLS else None
    killer.after = chance.random() < 0.5
    target = OnBranch("agent/x", "repair it", NOW_MS, how, (f"Pancode-Run: {request.run}",))
    try:
        return land_on_branch(coordinator.user.path, coordinator.depot, request, target).status
    except Crash:
        return None
    finally:
        killer.left = None


def _tips(user: Repo) -> list[str]:
    return user.git("rev-parse", "-q", "--verify", "agent/x", check=False).split()
