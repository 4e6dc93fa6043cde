"""The state of both sides of a conflict: in the depot only, with marked places; settled, it lands cleanly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pancode.git.base_tree import conflict_state, find_unsettled
from pancode.git.landings import ConflictState, LandStatus, OnBranch
from pancode.git.tree.branch_landing import land_on_branch
from tests.integration.git.coordinator import LINES, Trees, edit_c
from tests.integration.git.repos import NOW_MS


@pytest.mark.parametrize("branch", ["", "theirs"])
def test_it_begins_with_both_and_its_result_lands(coordinator: Trees, branch: str) -> None:
    request, user = coordinator.result(edit_c), coordinator.user
    if branch:
        user.git("stash", "-q")
        user.git("checkout", "-q", "-b", branch)
    user.write("c", LINES + "mine\n")
    if branch:
        user.git("commit", "-qm", "mine", "c")
        user.git("checkout", "-q", "main")
        user.git("stash", "pop", "-q", "--index")
    before = coordinator.tree()
    state = conflict_state(user.path, coordinator.depot, request, branch)
    assert coordinator.tree() == before and state.files == ("c",)
    git = coordinator.depot.git(request.repo_id)
    marked = git.must("cat-file", "blob", f"{state.commit}:c").text()
    assert "<<<<<<<" in marked and "mine" in marked and "\nk\n" in marked
    left = find_unsettled(coordinator.depot, request.repo_id, state.commit, state.commit, state.files)
    assert [(one.path, one.why) for one in left] == [("c", "is unchanged since the conflict began")]
    half = _settled(coordinator, state, marked.replace("<<<<<<<", "<<<"))
    left = find_unsettled(coordinator.depot, request.repo_id, state.commit, half, state.files)
    assert [(one.path, one.why) for one in left] == [("c", "still contains conflict markers")]
    settled = replace(request, snapshot_commit=state.ours, final_commit=_settled(coordinator, state))
    assert not find_unsettled(
        coordinator.depot, request.repo_id, state.commit, settled.final_commit, state.files
    )
    if branch:
        report = land_on_branch(
            user.path, coordinator.depot, settled, OnBranch(branch, "settled", NOW_MS, trailers=("A: b",))
        )
        assert user.git("show", f"{branch}:c").endswith("mine\nk") and coordinator.tree() == before
    else:
        report = coordinator.land(settled)
        assert (user.path / "c").read_text() == LINES + "mine\nk\n"
    assert report.status is LandStatus.LANDED and report.files == ("c",)


def _settled(coordinator: Trees, state: ConflictState, text: str = LINES + "mine\nk\n") -> str:
    """As an agent would."""
    agent, depot = coordinator.agent, str(coordinator.depot.path(coordinator.taken.repo_id))
    git = coordinator.depot.git(coordinator.taken.repo_id)
    git.must("update-ref", "refs/pancode/snap/r-bbbb", state.commit)
    agent.git("fetch", "-q", depot, "refs/pancode/snap/r-bbbb")
    agent.git("checkout", "-q", "--detach", "FETCH_HEAD")
    agent.write("c", text)
    agent.git("commit", "-qam", "settled")
    agent.git("push", "-q", "-f", depot, "HEAD:refs/pancode/r-bbbb/1.1")
    return agent.head


def test_what_merges_cleanly_has_no_files(coordinator: Trees) -> None:
    request = coordinator.result(edit_c)
    assert conflict_state(coordinator.user.path, coordinator.depot, request, "").files == ()
