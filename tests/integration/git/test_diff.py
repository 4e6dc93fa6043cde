"""A run's change, as a patch and as counted lines."""

from __future__ import annotations

from pancode.code.git.diff import FileStat, diff_patch, diff_stat
from tests.integration.git.coordinator import Desk, everything
from tests.integration.git.repos import Repo


def test_diff(coordinator: Desk) -> None:
    def act(agent: Repo) -> None:
        everything(agent)
        agent.write("bin", b"\0\1\2")
        agent.git("mv", "x.sh", "y.sh")

    request = coordinator.result(act)
    pair = (request.snapshot_commit, request.result_commit)
    stats = {stat.path: stat for stat in diff_stat(coordinator.depot, request.repo_id, *pair)}
    assert stats["a"] == FileStat("a", 1, 1)
    assert stats["bin"] == FileStat("bin", None, None)
    assert stats["y.sh"] == FileStat("y.sh", 0, 0, old_path="x.sh")
    patch = diff_patch(coordinator.depot, request.repo_id, *pair)
    check = Repo(coordinator.user.path.parent / "check")
    check.git("fetch", "-q", str(coordinator.depot.path(request.repo_id)), "refs/pancode/snap/r-aaaa")
    check.git("checkout", "-q", "--detach", "FETCH_HEAD")
    check.git("apply", "--index", "-", stdin=patch)
    assert check.git("write-tree") == coordinator.agent.git("rev-parse", "HEAD^{tree}")
