"""A landing onto a branch makes one commit there and touches nothing else of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.adapters.git.errors import GitRefusal
from pancode.adapters.git.land import LandingGates, LandReport, LandRequest, LandStatus
from pancode.adapters.git.land_branch import OnBranch, land_on_branch
from tests.integration.git.desk import Desk, edit_c, everything
from tests.integration.git.repos import NOW_MS
from tests.integration.git.traps import Traps


def _land(desk: Desk, request: LandRequest, name: str = "agent/x", **more: object) -> LandReport:
    target = OnBranch(name, "mend it\n\nPanCode-Run: r-aaaa", NOW_MS)
    return land_on_branch(desk.user.path, desk.depot, request, target, **more)  # type: ignore[arg-type]


def test_a_new_branch_begins_at_head_with_the_runs_own_change_alone(desk: Desk) -> None:
    request, before, head = desk.result(everything), desk.tree(), desk.user.head
    index = (desk.user.path / ".git/index").read_bytes()
    report = _land(desk, request)
    assert (report.status, report.branch) == (LandStatus.LANDED, "agent/x")
    git = desk.user.git
    assert git("rev-parse", "agent/x") == report.commit and git("rev-parse", "agent/x^") == head
    assert git("log", "-1", "--format=%s", "agent/x") == "mend it"
    changed = set(git("diff", "--name-only", head, "agent/x").split())
    assert changed == set(report.files) == {"a", "b", "dd/inner", "dir/sub/z", "ln", "new", "x.sh"}
    assert "user20" not in git("show", "agent/x:a"), "an edit that the user has not committed"
    assert desk.tree() == before and desk.user.head == head
    assert (desk.user.path / ".git/index").read_bytes() == index
    assert git("fsck", "--strict") == ""


def test_a_second_one_stands_on_the_first_and_the_same_again_is_nothing(desk: Desk) -> None:
    first = _land(desk, desk.result(edit_c))
    again = desk.result(everything)
    second = _land(desk, again)
    assert desk.user.git("rev-parse", "agent/x^") == first.commit
    assert second.status is LandStatus.LANDED
    assert _land(desk, again).status is LandStatus.NOTHING


def test_a_conflict_and_a_gate_leave_the_branch(desk: Desk) -> None:
    request = desk.result(edit_c)
    desk.user.git("stash", "-q")
    desk.user.git("checkout", "-q", "-b", "theirs")
    desk.user.write("c", "quite another text\n")
    tip = desk.user.commit("other")
    desk.user.git("checkout", "-q", "-")
    assert _land(desk, request, "theirs").status is LandStatus.CONFLICT
    failing = _land(desk, request, "fresh", gates=lambda merged: LandingGates(False, "no"))
    assert failing.status is LandStatus.GATE_FAILED
    off = _land(desk, request, "fresh", called_off=lambda: True)
    assert off.status is LandStatus.CALLED_OFF
    assert desk.user.git("rev-parse", "theirs") == tip
    assert "fresh" not in desk.user.git("branch", "--list")


@pytest.mark.parametrize("name", ["-x", "a..b", "", "a b"])
def test_what_is_no_branchs_name_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(GitRefusal, match="no name of a branch"):
        _land(desk, desk.result(edit_c), name)


def test_a_branch_that_is_checked_out_is_refused(desk: Desk, tmp_path: Path) -> None:
    request, here = desk.result(edit_c), desk.user.git("symbolic-ref", "--short", "HEAD")
    desk.user.git("worktree", "add", "-q", "-b", "elsewhere", str(tmp_path / "other"))
    for name in (here, "elsewhere"):
        with pytest.raises(GitRefusal, match="is checked out in"):
            _land(desk, request, name)


def test_a_hostile_repository_runs_nothing(desk: Desk, tmp_path: Path) -> None:
    request, traps = desk.result(everything), Traps(tmp_path / "traps")
    traps.arm(desk.user.path / ".git", desk.user)
    traps.reset()
    assert _land(desk, request).status is LandStatus.LANDED
    assert traps.sprung() == []
