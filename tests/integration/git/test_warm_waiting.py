"""Checkouts that wait for the next attempt: nothing is believed of them that was changed, and few wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Workspace
from node_agent.wire.keep import KEEP, KeepBound, NodeKeep
from node_agent.workspace.checkout import MOST_KEPT
from node_agent.workspace.folders import WorkspaceFolders
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.repos import PathTransport, Repo, attempt, snap, workspace_of
from tests.integration.git.warm_world import STAMP, again, dispatched, must_be_as_new, project, waiting
from tests.unit.node_agent.stage import job_of


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return project(tmp_path / "project")


@pytest.fixture
def wanted(repo: Repo, depot: Depot) -> Workspace:
    return dispatched(repo, depot, "r-aaaa")


@pytest.fixture
def spaces(tmp_path: Path, depot: Depot, wanted: Workspace) -> Workspaces:
    return Workspaces(tmp_path / "node", PathTransport(depot, str(wanted.repo)))


def _grown(there: Path) -> None:
    with (there / "tree" / "f1").open("a") as file:
        file.write("more")


WAITING: dict[str, Callable[[Path], object]] = {
    "a file": _grown,
    "a new file": lambda there: (there / "tree" / "d" / "planted").write_text("x"),
    "a hook": lambda there: (there / "tree" / ".git").mkdir(),
    "a mode": lambda there: (there / "tree" / "d").chmod(0o777),
    "its index": lambda there: (there / "index").write_bytes((there / "index").read_bytes() + b"x"),
    "all": lambda there: shutil.rmtree(there),
}


@pytest.mark.parametrize("mess", WAITING)
def test_what_was_written_into_one_that_waits_is_not_in_the_next(
    spaces: Workspaces, wanted: Workspace, depot: Depot, mess: str
) -> None:
    """Where there is no sandbox, an agent of our own user reaches it."""
    again(spaces, wanted)
    (there,) = waiting(spaces)
    WAITING[mess](there)
    must_be_as_new(spaces, "r-aaaa", wanted, depot)
    assert waiting(spaces) == []


def test_two_at_once_have_one_each_and_no_more_than_a_few_wait(
    spaces: Workspaces, repo: Repo, wanted: Workspace, depot: Depot
) -> None:
    runs = [f"r-bbb{number}" for number in range(MOST_KEPT + 2)]
    jobs = {run: dispatched(repo, depot, run) for run in runs}
    for _ in range(2):
        threads = [threading.Thread(target=spaces.prepare, args=(attempt(run), jobs[run])) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        trees = [spaces.tree(attempt(run)) for run in runs]
        assert all((tree / "f1").read_text() == "f1\n" for tree in trees)
        assert len({(tree / "f1").stat().st_ino for tree in trees}) == len(runs)
        for run in runs:
            spaces.remove(attempt(run), jobs[run])
        assert len(waiting(spaces)) == MOST_KEPT


def test_the_next_node_agent_believes_none_of_them(
    spaces: Workspaces, wanted: Workspace, depot: Depot, tmp_path: Path
) -> None:
    """What it cannot remember it does not use; also one that a crash left half washed."""
    again(spaces, wanted)
    (there,) = waiting(spaces)
    (there / "tree" / "planted").write_text("x")
    later = Workspaces(tmp_path / "node", PathTransport(depot, str(wanted.repo)))
    must_be_as_new(later, "r-aaaa", wanted, depot)
    later.trim(0)
    assert waiting(later) == []


def test_a_crash_before_the_attempt_is_ready_makes_it_anew(
    spaces: Workspaces, wanted: Workspace, depot: Depot
) -> None:
    again(spaces, wanted)
    tree = spaces.prepare(attempt(), wanted)
    (tree.parent / "ready").unlink()
    (tree / "half").write_text("h")
    must_be_as_new(spaces, "r-aaaa", wanted, depot)


def test_those_that_wait_for_long_go_and_all_when_the_disk_is_short(
    repo: Repo, wanted: Workspace, depot: Depot, tmp_path: Path
) -> None:
    transport = PathTransport(depot, str(wanted.repo))
    spaces = Workspaces(tmp_path / "node", transport)
    again(spaces, wanted)
    now_ms = int(waiting(spaces)[0].stat().st_mtime * 1000)
    spaces.trim(now_ms + KEEP.checkouts.age_ms - 1000)
    assert len(waiting(spaces)) == 1
    spaces.trim(now_ms + KEEP.checkouts.age_ms + 1000)
    assert waiting(spaces) == []
    for size, left in ((1 << 40, 1), (1, 0)):
        keep = NodeKeep(checkouts=KeepBound(age_ms=KEEP.checkouts.age_ms, size=size))
        bounded = Workspaces(tmp_path / f"bounded{size}", transport, keep=keep)
        again(bounded, wanted)
        bounded.trim(now_ms)
        assert len(waiting(bounded)) == left
    short = Workspaces(tmp_path / "short", transport, disk_reserve=1 << 60)
    again(short, wanted)
    assert waiting(short) == []


class Both:
    """Two repositories of one depot."""

    def __init__(self, depot: Depot, *repos: str) -> None:
        self._by_name = {repo: PathTransport(depot, repo) for repo in repos}

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        self._by_name[repository.name].fetch(identity, repository, ref)

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        self._by_name[repository.name].push(identity, repository, commit)


def test_another_repository_has_its_own(wanted: Workspace, tmp_path: Path, depot: Depot) -> None:
    other = Repo(tmp_path / "unrelated", object_format="sha256")
    other.write("a", "1")
    other.commit()
    theirs = workspace_of(snap(other, depot, "r-bbbb"))
    spaces = Workspaces(tmp_path / "node", Both(depot, str(wanted.repo), str(theirs.repo)))
    inodes = []
    for _ in range(2):
        tree = must_be_as_new(spaces, "r-bbbb", theirs, depot)
        inodes.append((tree / "a").stat().st_ino)
        spaces.remove(attempt("r-bbbb"), theirs)
        again(spaces, wanted)
        assert len(waiting(spaces)) == 2
    assert inodes[0] == inodes[1]


def test_files_are_as_new_as_in_a_new_checkout_when_set_up_is_put_back(
    spaces: Workspaces, wanted: Workspace
) -> None:
    """Else `make` would take what an earlier set-up made of other files for younger than these."""
    job = job_of(identity=attempt(), workspace=wanted, setup=(("make",),), cache=("lib",))
    tree = spaces.tree(attempt())
    log = tree.parents[1] / "log"
    for is_second in (False, True):
        spaces.prepare(attempt(), wanted)
        made = spaces.put_back(job, log, {})
        assert made.restored is is_second and made.key is not None
        if not is_second:
            (tree / "lib").mkdir()
            (tree / "lib" / "product").write_text("of f1")
            spaces.keep(job, made.key)
            spaces.remove(attempt(), wanted)
    product = (tree / "lib" / "product").stat().st_mtime_ns
    assert all(path.lstat().st_mtime_ns > product for path in (tree / "f1", tree / "d" / "f3", tree / "ln"))
    assert Repo(tree, init=False).git("status", "--porcelain") == "?? lib/"
    spaces.remove(attempt(), wanted)
    assert len(waiting(spaces)) == 1


def test_set_up_in_the_place_of_an_earlier_attempt_is_put_back_with_the_paths_of_the_next(
    spaces: Workspaces, wanted: Workspace, tmp_path: Path
) -> None:
    """A run that continues with a session has the folder of the run before it: set-up's paths lead there."""
    after, later = attempt(number=2, lease=2), attempt(number=3, lease=3)
    folders = WorkspaceFolders(tmp_path / "node")
    assert folders.take_place(after, str(attempt()))
    jobs = [
        job_of(identity=one, workspace=wanted, setup=(("make",),), cache=("lib",)) for one in (after, later)
    ]
    first, log = spaces.prepare(after, wanted), tmp_path / "log"
    assert first.parent.name == str(attempt())
    made = spaces.put_back(jobs[0], log, {})
    (first / "lib").mkdir()
    (first / "lib" / "tool").write_text(f"#!{first}/lib/python\n")
    (first / "lib" / "tool").chmod(0o755)
    assert made.key is not None and spaces.keep(jobs[0], made.key) == ()
    spaces.remove(after, wanted)
    second = spaces.prepare(later, wanted)
    assert spaces.put_back(jobs[1], log, {}).restored
    assert (second / "lib" / "tool").read_text() == f"#!{second}/lib/python\n"


def test_an_open_file_of_one_that_is_over_writes_into_no_later_checkout(
    spaces: Workspaces, wanted: Workspace, depot: Depot
) -> None:
    """A process that outlived its attempt, which the sweep would have ended: what it did before counts."""
    tree = spaces.prepare(attempt(), wanted)
    with (tree / "f1").open("r+") as held:
        held.write("F1")
        held.flush()
        spaces.remove(attempt(), wanted)
        second = spaces.prepare(attempt(), wanted)
        held.write("late")
        held.flush()
        assert (second / "f1").read_text() == "f1\n"


def test_what_costs_is_what_changed(spaces: Workspaces, repo: Repo, wanted: Workspace, depot: Depot) -> None:
    """Counted, not timed: no file but the changed one is written."""
    again(spaces, wanted)
    repo.write("f1", "changed\n")
    before = {path.name: path.lstat().st_ino for path in (waiting(spaces)[0] / "tree").rglob("*")}
    tree = spaces.prepare(attempt("r-bbbb"), dispatched(repo, depot, "r-bbbb"))
    after = {path.name: path.lstat().st_ino for path in tree.rglob("*")}
    assert {name for name in after if after[name] != before.get(name)} <= {"f1", ".git"}
    assert subprocess.run(["git", "fsck"], cwd=tree, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_what_a_sandboxs_user_owned_is_ours_again_and_used_again(
    spaces: Workspaces, wanted: Workspace, depot: Depot
) -> None:
    """Where the node agent is root, each attempt has a user of its own."""
    tree = spaces.prepare(attempt(), wanted)
    inode = (tree / "other" / "f5").stat().st_ino
    spaces.hand_over(attempt(), wanted, 54321)
    (tree / "f1").write_text("by set-up\n")
    spaces.hand_over(attempt(), wanted, 54321)  # the agent's own phase
    (tree / "planted").write_text("x")
    assert {path.lstat().st_uid for path in tree.rglob("f*")} == {54321}
    spaces.remove(attempt(), wanted)
    tree = must_be_as_new(spaces, "r-aaaa", wanted, depot)
    assert (tree / "other" / "f5").stat().st_ino == inode
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in tree.rglob("*")} == {(0, os.getegid())}


def test_a_large_repository_takes_little_memory_for_each_file(tmp_path: Path, depot: Depot) -> None:
    """A fetch, a warm checkout, two results: what lives as an object for each file stays with the process."""
    repo, files = Repo(tmp_path / "large"), 1_000
    for number in range(files):
        repo.write(f"part{number % 20}/file_number_{number}.txt", f"{number}\n")
    repo.commit()
    wanted = dispatched(repo, depot, "r-aaaa")
    spaces = Workspaces(tmp_path / "node", PathTransport(depot, str(wanted.repo)))
    tracemalloc.start()
    try:
        for _ in range(2):
            tree = spaces.prepare(attempt(), wanted)
            baseline = spaces.baseline(attempt(), wanted)
            (tree / "new").write_text("x\n")
            commit = spaces.commit(attempt(), wanted, STAMP, baseline).commit
            assert spaces.changed_since(attempt(), str(commit), baseline) == ()
            spaces.remove(attempt(), wanted)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / files < 600, f"{peak / files:.0f} bytes for each file"
