"""A run's change, as a patch and as counted lines."""

from __future__ import annotations

from pancode.git.diff import FileStat, diff_patch, diff_stat, shown_change
from tests.integration.git.coordinator import Trees, everything
from tests.integration.git.repos import Repo


def test_diff(coordinator: Trees) -> None:
    def act(agent: Repo) -> None:
        everything(agent)
        agent.write("bin", b"\0\1\2")
        agent.git("mv", "x.sh", "y.sh")

    request = coordinator.result(act)
    pair = (request.snapshot_commit, request.final_commit)
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


def test_a_change_for_a_reader_is_without_what_it_may_not_read_and_has_an_end(coordinator: Trees) -> None:
    def act(agent: Repo) -> None:
        everything(agent)
        agent.write("keys/k", "the-key\n")
        agent.write("odd (exclude)*.txt", "odd\n")
        agent.write("bin", b"\0\1\2")
        agent.git("mv", "x.sh", "y.sh")

    request = coordinator.result(act)
    asked = (coordinator.depot, request.repo_id, request.snapshot_commit, request.final_commit)
    whole = shown_change(*asked, 1 << 20, lambda name: False)
    assert b"+the-key" in whole and b"deleted file" in whole and b"Binary files" in whole
    less = shown_change(*asked, 1 << 20, lambda name: name in ("keys/k", "odd (exclude)*.txt", "y.sh"))
    assert b"keys" not in less and b"+odd" not in less and b"y.sh" not in less and b"x.sh" in less
    cut = shown_change(*asked, 50, lambda name: False)
    assert cut[:50] == whole[:50] and cut.endswith(b"[50 of %d bytes of this change]\n" % len(whole))
    same = (*asked[:3], request.snapshot_commit)
    assert shown_change(*same, 50, lambda name: False) == b""
