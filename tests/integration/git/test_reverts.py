"""A landed change that its owner takes back is found, by the message or by the patch."""

from __future__ import annotations

import os

from pancode.git.landings import LandRequest
from pancode.git.tree.tree_landing import land
from pancode.landing.git.reverts import LandedChange, find_reverts
from tests.integration.git.coordinator import Trees, edit_c
from tests.integration.git.repos import NOW_MS


def found(coordinator: Trees, request: LandRequest, commit: str | None = None) -> dict[str, str]:
    change = LandedChange(
        "r-aaaa", request.repo_id, request.snapshot_commit, request.final_commit, commit, NOW_MS - 86_400_000
    )
    return find_reverts(coordinator.user.path, coordinator.depot, [change], dict(os.environ))


def test_a_revert_is_found_by_its_message_and_by_its_patch(coordinator: Trees) -> None:
    coordinator.user.commit("what was there")
    request = coordinator.result(edit_c)
    land(coordinator.user.path, coordinator.depot, request)
    made = coordinator.user.commit("repair it\n\nPanCode-Run: r-aaaa")
    assert found(coordinator, request) == {}
    coordinator.user.git("revert", "--no-edit", made)
    revert = coordinator.user.git("rev-parse", "HEAD")
    assert found(coordinator, request) == {"r-aaaa": revert}
    assert found(coordinator, request, made) == {"r-aaaa": revert}
    coordinator.user.git("commit", "-q", "--amend", "-m", "back to what it was")
    amended = coordinator.user.git("rev-parse", "HEAD")
    assert found(coordinator, request) == {"r-aaaa": amended}, "the patch is the inverse"
