"""The git depot as the control plane sees it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from node_agent.workspace.mirror import make_bare
from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.log_store import LogStreams
from pancode.git.port import GitDepot
from pancode.kernel import ports
from pancode.kernel.errors import UnavailableError, WorkspaceError
from tests.integration.git.repos import NOW_MS, PathTransport, Repo, attempt


class StoppedClock:
    """Always NOW_MS."""

    def wall_ms(self) -> int:
        return NOW_MS

    def boot_ms(self) -> int:
        return NOW_MS

    def mono_ms(self) -> int:
        return NOW_MS


def test_snapshot_and_arrivals(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    streams = LogStreams(tmp_path / "home")
    port: ports.DepotPort = GitDepot(depot, streams, StoppedClock(), environ={})
    repo.write("new", "n")
    taken = port.snapshot(ports.SnapshotRequest(str(repo.path), "r-aaaa"))
    assert (taken.base, taken.untracked, taken.object_format) == (repo.head, ("new",), "sha1")
    assert not port.commit_arrived(taken.repo, attempt(), taken.snapshot, None)
    assert not port.commit_arrived("p-unknown", attempt(), taken.snapshot, None)
    assert not port.commit_arrived(taken.repo, attempt(), "nonsense", None)
    bare = tmp_path / "bare"
    make_bare(bare, "sha1")
    transport = PathTransport(depot, taken.repo)
    transport.fetch(attempt(), bare, "refs/pancode/snap/r-aaaa")
    transport.push(attempt(), bare, taken.snapshot)
    assert port.commit_arrived(taken.repo, attempt(), taken.snapshot, None)
    streams.append(attempt(), "out", 0, 3, io.BytesIO(b"abc").read)
    digest = hashlib.sha256(b"abc").hexdigest()
    assert port.blob_arrived(attempt(), "out", 3, digest)
    assert not port.blob_arrived(attempt(), "err", 3, digest)
    assert not port.blob_arrived(attempt(), "../out", 3, digest)


def test_a_refusal_is_a_workspace_error(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    port = GitDepot(depot, LogStreams(tmp_path), StoppedClock(), ListingLimits(file=1), {})
    repo.write("big", "too big")
    with pytest.raises(WorkspaceError) as caught:
        port.snapshot(ports.SnapshotRequest(str(repo.path), "r-aaaa"))
    assert caught.value.problem().exit_code == 7
    assert caught.value.problem().fix


def test_no_work_goes_out_whose_result_could_not_be_taken_in(
    repo: Repo, depot: Depot, tmp_path: Path
) -> None:
    port = GitDepot(depot, LogStreams(tmp_path, keep_free=1 << 60), StoppedClock(), environ={})
    with pytest.raises(UnavailableError, match="disk is full") as caught:
        port.snapshot(ports.SnapshotRequest(str(repo.path), "r-aaaa"))
    assert "pancode doctor" in caught.value.fix


def test_the_tree_of_now_is_that_of_a_snapshot_and_each_uncommitted_file_changes_it(
    repo: Repo, tmp_path: Path
) -> None:
    port, top = (
        GitDepot(Depot(tmp_path / "depot"), LogStreams(tmp_path / "logs"), StoppedClock()),
        str(repo.path),
    )
    repo.write("a.txt", "one\n")
    repo.commit()
    clean = port.tree_now(top, ())
    assert clean == port.snapshot(ports.SnapshotRequest(top, "r-aaaa")).tree and len(clean) == 40
    repo.write("b.txt", "not committed\n")
    dirty = port.tree_now(top, ())
    assert dirty not in ("", clean) and dirty == port.snapshot(ports.SnapshotRequest(top, "r-bbbb")).tree
    (repo.path / "b.txt").unlink()
    assert port.tree_now(top, ()) == clean


def test_commits_are_shown_with_their_change_as_far_as_they_are_in_the_history(
    repo: Repo, depot: Depot, tmp_path: Path
) -> None:
    port = GitDepot(depot, LogStreams(tmp_path / "home"), StoppedClock(), environ={})
    repo.write("shown", "one\n")
    first = repo.commit("the first of two")
    repo.write("shown", "two\n")
    repo.write("hidden/key", "the-key\n")
    repo.commit("the second of two")
    repo.git("checkout", "-q", "-b", "aside", first)
    repo.write("elsewhere", "e\n")
    aside = repo.commit("aside")
    repo.git("checkout", "-q", "-")
    repo.git("tag", "v1", first)
    repo.write("shown", "three\n")
    taken = port.snapshot(ports.SnapshotRequest(str(repo.path), "r-aaaa"))

    def shown(commits: str) -> str:
        hides = "hidden/key".__eq__
        return port.shown_history(str(repo.path), taken, commits, 1 << 20, hides).decode()

    both = shown("HEAD~1..HEAD")
    assert "the second of two" in both and "the first" not in both and "-one\n+two" in both
    assert "the-key" not in both and "hidden" not in both
    assert both == shown("v1..") == shown("v1...HEAD")
    since = shown("v1")
    assert "the second of two" in since and "-one\n+three" in since, "what nobody has committed, too"
    assert "-two\n+three" in shown("HEAD")
    for wrong in ("aside", aside, f"{aside}..HEAD", "nowhere", "--output=x", "a..b..c", "HEAD:shown"):
        with pytest.raises(WorkspaceError, match="is not a commit"):
            shown(wrong)
