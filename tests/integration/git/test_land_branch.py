"""A landing onto a branch makes one commit there and touches nothing else of the user's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node_agent.wire.git import GitCall, GitDone
from pancode.git import repository, runner
from pancode.git.landings import LandingGates, LandReport, LandRequest, LandStatus, Merged, OnBranch
from pancode.git.runner import GitRefusal, run_git
from pancode.git.tree.branch_landing import land_on_branch
from pancode.kernel.values import replace
from tests.integration.git.coordinator import Trees, edit_c, everything
from tests.integration.git.repos import NOW_MS
from tests.integration.git.traps import Traps


def _land(coordinator: Trees, request: LandRequest, name: str = "agent/x", **more: object) -> LandReport:
    target = OnBranch(name, "repair it\n\nPanCode-Run: r-aaaa", NOW_MS)
    return land_on_branch(coordinator.user.path, coordinator.depot, request, target, **more)  # type: ignore[arg-type]


def test_a_new_branch_begins_at_head_with_the_runs_own_change_alone(coordinator: Trees) -> None:
    request, before, head = coordinator.result(everything), coordinator.tree(), coordinator.user.head
    index = (coordinator.user.path / ".git/index").read_bytes()
    report = _land(coordinator, request)
    assert (report.status, report.branch) == (LandStatus.LANDED, "agent/x")
    git = coordinator.user.git
    assert git("rev-parse", "agent/x") == report.commit and git("rev-parse", "agent/x^") == head
    assert git("log", "-1", "--format=%s", "agent/x") == "repair it"
    changed = set(git("diff", "--name-only", head, "agent/x").split())
    assert changed == set(report.files) == {"a", "b", "dd/inner", "dir/sub/z", "ln", "new", "x.sh"}
    assert "user20" not in git("show", "agent/x:a"), "an edit that the user has not committed"
    assert coordinator.tree() == before and coordinator.user.head == head
    assert (coordinator.user.path / ".git/index").read_bytes() == index
    assert git("fsck", "--strict") == ""


def test_a_second_one_stands_on_the_first_and_the_same_again_is_nothing(coordinator: Trees) -> None:
    first = _land(coordinator, coordinator.result(edit_c))
    again = coordinator.result(everything)
    second = _land(coordinator, again)
    assert coordinator.user.git("rev-parse", "agent/x^") == first.commit
    assert second.status is LandStatus.LANDED
    assert _land(coordinator, again).status is LandStatus.NOTHING


def test_a_branch_that_was_checked_out_meanwhile_is_left(coordinator: Trees, tmp_path: Path) -> None:
    assert _land(coordinator, coordinator.result(edit_c)).status is LandStatus.LANDED
    git, tip = coordinator.user.git, coordinator.user.git("rev-parse", "agent/x")

    def check_out(merged: Merged) -> LandingGates:
        git("worktree", "add", "-q", str(tmp_path / "other"), "agent/x")
        return LandingGates(True)  # no gate ran

    with pytest.raises(GitRefusal, match="agent/x is checked out"):
        _land(coordinator, coordinator.result(everything), gates=check_out)
    assert git("rev-parse", "agent/x") == tip


def test_a_conflict_and_a_gate_leave_the_branch(coordinator: Trees) -> None:
    request = coordinator.result(edit_c)
    coordinator.user.git("stash", "-q")
    coordinator.user.git("checkout", "-q", "-b", "theirs")
    coordinator.user.write("c", "quite another text\n")
    tip = coordinator.user.commit("other")
    coordinator.user.git("checkout", "-q", "-")
    assert _land(coordinator, request, "theirs").status is LandStatus.CONFLICT
    failing = _land(coordinator, request, "fresh", gates=lambda merged: LandingGates(False, "no"))
    assert failing.status is LandStatus.GATE_FAILED
    off = _land(coordinator, request, "fresh", called_off=lambda: True)
    assert off.status is LandStatus.CALLED_OFF
    assert coordinator.user.git("rev-parse", "theirs") == tip
    assert "fresh" not in coordinator.user.git("branch", "--list")


@pytest.mark.parametrize("name", ["-x", "a..b", "", "a b"])
def test_what_is_no_branchs_name_is_refused(coordinator: Trees, name: str) -> None:
    with pytest.raises(GitRefusal, match=re.escape(repr(name))):
        _land(coordinator, coordinator.result(edit_c), name)


def test_a_branch_that_is_checked_out_is_refused(coordinator: Trees, tmp_path: Path) -> None:
    request, here = coordinator.result(edit_c), coordinator.user.git("symbolic-ref", "--short", "HEAD")
    coordinator.user.git("worktree", "add", "-q", "-b", "elsewhere", str(tmp_path / "other"))
    for name in (here, "elsewhere"):
        with pytest.raises(GitRefusal, match=f"{name} is checked out"):
            _land(coordinator, request, name)


def test_a_name_that_stands_for_another_branch_is_refused(coordinator: Trees) -> None:
    request, git = coordinator.result(edit_c), coordinator.user.git
    git("symbolic-ref", "refs/heads/alias", git("symbolic-ref", "HEAD"))
    with pytest.raises(GitRefusal, match="alias .*refs/heads/"):
        _land(coordinator, request, "alias")


def test_a_bare_repository_works_on_no_branch(coordinator: Trees, tmp_path: Path) -> None:
    """Its HEAD names a branch, but no files are out: the worktree beside it may land there."""
    request, git = coordinator.result(edit_c), coordinator.user.git
    git("stash", "-q")
    git("checkout", "-q", "-b", "work")
    git("worktree", "add", "-q", "-b", "desk", str(tmp_path / "desk"))
    git("config", "core.bare", "true")
    target = OnBranch("work", "repair it", NOW_MS)
    report = land_on_branch(tmp_path / "desk", coordinator.depot, request, target)
    assert report.status is LandStatus.LANDED and git("rev-parse", "work") == report.commit


def test_the_commit_has_the_name_that_git_would_give_it(coordinator: Trees, tmp_path: Path) -> None:
    """The repository's own settings first, then the user's."""
    request, home = coordinator.result(edit_c), tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ana\n\temail = ana@example.org\n")
    coordinator.user.git("config", "user.email", "work@example.org")
    report = _land(coordinator, replace(request, environ={"HOME": str(home)}))
    said = coordinator.user.git("log", "-1", "--format=%an %ae %cn %ce", report.commit)
    assert said == "Ana work@example.org Ana work@example.org"


def test_settings_that_git_cannot_read_are_named(coordinator: Trees, tmp_path: Path) -> None:
    """Else the programs that the repository names would not be known, and not be kept from running."""
    (tmp_path / ".gitconfig").write_text("[user\n")
    request = replace(coordinator.result(edit_c), environ={"HOME": str(tmp_path)})
    with pytest.raises(GitRefusal) as refused:
        _land(coordinator, request)
    assert "gitconfig" in refused.value.why and "that git reports" in refused.value.fix


def test_a_hostile_repository_runs_nothing(coordinator: Trees, tmp_path: Path) -> None:
    request, traps = coordinator.result(everything), Traps(tmp_path / "traps")
    traps.arm(coordinator.user.path / ".git", coordinator.user)
    traps.reset()
    with pytest.raises(
        GitRefusal, match="could not sign the commit"
    ):  # as it says, and by no program that it names
        _land(coordinator, request)
    coordinator.user.git("config", "commit.gpgSign", "false")
    assert _land(coordinator, request).status is LandStatus.LANDED
    assert traps.sprung() == []


def test_a_landing_starts_few_programs(coordinator: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs some 3 ms, whatever it does: fifty landings are asked for at once."""
    asked: list[tuple[str, ...]] = []

    def counted(call: GitCall) -> GitDone:
        asked.append(call.args)
        return run_git(call)

    _land(coordinator, coordinator.result(edit_c))
    request = coordinator.result(everything)
    monkeypatch.setattr(runner, "run_git", counted)
    monkeypatch.setattr(repository, "run_git", counted)
    assert _land(coordinator, request).status is LandStatus.LANDED
    assert len(asked) <= 14, asked  # 13 where the run has made one commit only
    assert not any("--max-parents=0" in words for words in asked), "nor is the history walked"
