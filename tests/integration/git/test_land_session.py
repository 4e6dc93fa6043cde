"""Landings one after another share what was read; each sees the repository as it is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from node_agent.wire.git import decode_path
from pancode.git.landings import LandReport, LandRequest, LandStatus, OnBranch
from pancode.git.tree.branch_landing import IDLE_MS, MOST_LOOSE, LandingSession, land_on_branch
from tests.integration.git.coordinator import Trees, edit_c
from tests.integration.git.repos import NOW_MS, Repo, attempt


@pytest.fixture
def session(coordinator: Trees) -> LandingSession:
    return LandingSession(coordinator.depot, coordinator.result(edit_c).repo_id)


def made(name: str) -> Callable[[Repo], None]:
    def act(agent: Repo) -> None:
        (agent.path / name).write_text(f"{name}\n")

    return act


def land(
    coordinator: Trees, session: LandingSession, name: str, branch: str = "agent/x", at_ms: int = NOW_MS
) -> LandReport:
    """The change of a run that has made one new file of that name."""
    target, request = OnBranch(branch, f"add {name!r}", at_ms), coordinator.result(made(name))
    place = coordinator.user.path
    report = land_on_branch(place, coordinator.depot, request, target, session=session)
    assert report.status is LandStatus.LANDED
    return report


def delivered(coordinator: Trees, name: str) -> LandRequest:
    """A result that was checked at its delivery, as each one is."""
    request = coordinator.result(made(name))
    assert coordinator.depot.verify_result(request.repo_id, attempt(), request.final_commit)
    return request


def test_a_landing_after_another_starts_nine_programs(
    coordinator: Trees, session: LandingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    class Counted(subprocess.Popen[bytes]):
        def __init__(self, args: Any, **more: Any) -> None:
            started.append(args)
            super().__init__(args, **more)

    land(coordinator, session, "one")
    requests = [delivered(coordinator, name) for name in ("two", "three")]
    monkeypatch.setattr(subprocess, "Popen", Counted)
    for number, request in enumerate(requests):
        target = OnBranch("agent/x", f"number {number}", NOW_MS)
        land_on_branch(coordinator.user.path, coordinator.depot, request, target, session=session)
    # Two of them ask who the author and the committer are, and one which files have a merge driver.
    assert len(started) == 18, started
    assert coordinator.user.git("fsck", "--strict") == ""


def test_its_commits_are_those_that_git_writes(coordinator: Trees, session: LandingSession) -> None:
    commit = land(coordinator, session, "Zoë").commit
    git, depot = coordinator.user.git, coordinator.depot.git(session.repo_id)
    tree, parent = git("rev-parse", f"{commit}^{{tree}}"), git("rev-parse", f"{commit}^")
    names = git("log", "-1", "--format=%an%n%ae%n%cn%n%ce%n%at", commit).splitlines()
    keys = [f"GIT_{role}_{key}" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")]
    dates = {f"GIT_{role}_DATE": f"@{names[-1]} +0000" for role in ("AUTHOR", "COMMITTER")}
    signed = depot.having(**dict(zip(keys, names, strict=False)), **dates)
    again = signed.must("commit-tree", tree, "-p", parent, stdin="add 'Zoë'\n".encode())
    assert again.text() == commit


def test_each_landing_sees_what_was_done_meanwhile(coordinator: Trees, session: LandingSession) -> None:
    git = coordinator.user.git
    land(coordinator, session, "one")
    git("config", "user.email", "work@example.org")
    theirs = git("commit-tree", "agent/x^{tree}", "-p", "agent/x", "-m", "by the user")
    git("update-ref", "refs/heads/agent/x", theirs)
    second = land(coordinator, session, "two").commit
    assert git("rev-parse", f"{second}^") == theirs
    assert git("log", "-1", "--format=%ae", second) == "work@example.org"
    git("commit", "-q", "--allow-empty", "-m", "HEAD moves")
    third = land(coordinator, session, "three", branch="agent/new").commit
    assert git("rev-parse", f"{third}^") == coordinator.user.head


def test_a_branch_that_was_moved_back_meanwhile(coordinator: Trees, session: LandingSession) -> None:
    """What the last landing left is only a guess: by it there would be nothing to land."""
    land(coordinator, session, "one")
    coordinator.user.git("update-ref", "refs/heads/agent/x", coordinator.user.head)
    again = land(coordinator, session, "one").commit
    assert coordinator.user.git("rev-parse", f"{again}^") == coordinator.user.head


@pytest.mark.parametrize("count", [1, MOST_LOOSE + 1])
def test_the_objects_of_few_and_of_many_files(
    coordinator: Trees, session: LandingSession, count: int
) -> None:
    names = [f"dir/sub{number % 3}/file{number}" for number in range(count)]
    objects = coordinator.user.path / ".git/objects"
    objects.chmod(0o2775)  # as in a repository that a group shares

    def act(agent: Repo) -> None:
        for name in names:
            agent.write(name, name)

    target = OnBranch("agent/x", "add", NOW_MS)
    depot, request = coordinator.depot, coordinator.result(act)
    assert land_on_branch(coordinator.user.path, depot, request, target, session=session).commit
    git = coordinator.user.git
    assert git("fsck", "--strict") == ""
    assert set(names) <= set(git("ls-tree", "-r", "--name-only", "agent/x").splitlines())
    folder = objects / git("rev-parse", "agent/x:dir")[:2]
    assert count > 1 or folder.stat().st_mode & 0o7777 == 0o2775


def test_names_like_the_mark_of_an_end(coordinator: Trees, session: LandingSession) -> None:
    for name in ("end\n", "end\nx", "end"):
        assert decode_path(name.encode()) in land(coordinator, session, name).files
    assert coordinator.user.git("ls-tree", "-z", "--name-only", "agent/x").split("\0").count("end") == 1


def test_after_a_while_the_settings_are_read_anew(coordinator: Trees, session: LandingSession) -> None:
    """A file that another one includes is none that is looked at each time."""
    included = coordinator.user.path.parent / "included"
    coordinator.user.git("config", "include.path", str(included))
    land(coordinator, session, "one")
    included.write_text("[user]\n\temail = later@example.org\n")
    later = land(coordinator, session, "two", at_ms=NOW_MS + IDLE_MS + 1).commit
    assert coordinator.user.git("log", "-1", "--format=%ae", later) == "later@example.org"
