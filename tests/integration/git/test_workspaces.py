"""Checkouts on a node: made once, made anew after a crash, apart from each other, gone without a trace."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from node_agent.attempt import ports
from node_agent.attempt.ports import CommitStamp
from node_agent.wire.job import Workspace
from node_agent.workspace.git import WorkspaceFailure
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from pancode.git.snapshot import Snapshot
from tests.integration.git.repos import (
    NOW_MS,
    PathTransport,
    Repo,
    attempt,
    cloned,
    simple,
    snap,
    workspace_of,
)

STAMP = CommitStamp("result", NOW_MS)
NONE = Workspace(kind="none")


def _files(tree: Path) -> dict[str, str]:
    found = {str(path.relative_to(tree)): path for path in tree.rglob("*") if not path.is_dir()}
    return {
        name: str(path.readlink()) if path.is_symlink() else path.read_text() for name, path in found.items()
    }


def test_the_checkout_is_the_users_tree_and_a_clean_repository(spaces: Workspaces, taken: Snapshot) -> None:
    tree = spaces.prepare(attempt(), workspace_of(taken))
    files = _files(tree)
    del files[".git"]
    assert files == {"f1": "edited\n", "f2": "2\n", "f3": "3\n", "run.sh": "#!/bin/sh\n", "ln": "f1"}
    assert (tree / "run.sh").stat().st_mode & 0o111
    agent = Repo(tree, init=False)
    assert agent.git("status", "--porcelain") == ""
    assert agent.head == taken.snapshot_commit
    assert agent.git("rev-parse", "--show-toplevel") == str(tree)
    assert spaces.git_dir(attempt()).parent == tree.parent
    assert tree.parent.stat().st_mode & 0o077 == 0


def test_prepare_again_changes_nothing_and_fetches_nothing(
    spaces: Workspaces, taken: Snapshot, transport: PathTransport
) -> None:
    tree = spaces.prepare(attempt(), workspace_of(taken))
    (tree / "work").write_text("in progress")
    assert spaces.prepare(attempt(), workspace_of(taken)) == tree
    assert (tree / "work").read_text() == "in progress"
    spaces.prepare(attempt(number=2, lease=2), workspace_of(taken))
    assert transport.fetches == 1


@pytest.mark.parametrize("left", ["tree only", "no git file", "no ready", "other boot"])
def test_a_half_made_checkout_is_made_anew(left: str, spaces: Workspaces, taken: Snapshot) -> None:
    tree = spaces.prepare(attempt(), workspace_of(taken))
    ready = tree.parent / "ready"
    if left == "other boot":
        ready.write_text(ready.read_text().replace('"boot": "', '"boot": "another-'))
    else:
        ready.unlink()
    if left == "tree only":
        shutil.rmtree(tree.parent / "git")
    if left == "no git file":
        (tree / ".git").unlink()
    (tree / "half").write_text("h")
    spaces.prepare(attempt(), workspace_of(taken))
    assert not (tree / "half").exists()
    assert Repo(tree, init=False).git("status", "--porcelain") == ""


def test_a_broken_mirror_is_fetched_again(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path, transport: PathTransport
) -> None:
    spaces.prepare(attempt(), workspace_of(taken))
    spaces.remove(attempt(), workspace_of(taken))
    mirror = tmp_path / "node" / "mirrors" / taken.repo_id
    shutil.rmtree(mirror / "objects" / "pack")
    tree = spaces.prepare(attempt(number=2, lease=2), workspace_of(taken))
    assert (tree / "f1").read_text() == "edited\n"
    assert transport.fetches == 2


def test_a_mirror_that_is_no_repository_keeps_nothing_from_being_cleaned_up(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path
) -> None:
    spaces.prepare(attempt(), workspace_of(taken))
    (tmp_path / "node" / "mirrors" / taken.repo_id / "HEAD").unlink()
    spaces.remove(attempt(), workspace_of(taken))
    assert spaces.list() == ()
    tree = spaces.prepare(attempt(number=2, lease=2), workspace_of(taken))
    assert (tree / "f1").read_text() == "edited\n"


def test_a_mirror_with_torn_objects_is_replaced(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path, transport: PathTransport
) -> None:
    spaces.prepare(attempt(), workspace_of(taken))
    shutil.rmtree(tmp_path / "node" / "work")
    mirror = tmp_path / "node" / "mirrors" / taken.repo_id
    for pack in (mirror / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        data = bytearray(pack.read_bytes())
        data[len(data) // 4 : -30] = b"\0" * len(data[len(data) // 4 : -30])
        pack.write_bytes(bytes(data))
    tree = spaces.prepare(attempt(), workspace_of(taken))
    assert (tree / "f3").read_text() == "3\n"


def test_another_commit_than_ordered_is_refused(spaces: Workspaces, taken: Snapshot) -> None:
    wrong = workspace_of(taken).model_copy(update={"snapshot": taken.base_commit})
    with pytest.raises(WorkspaceFailure, match="the job names"):
        spaces.prepare(attempt(), wrong)


def test_four_attempts_at_once_do_not_disturb_each_other(spaces: Workspaces, taken: Snapshot) -> None:
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            who = attempt(number=number, lease=number)
            tree = spaces.prepare(who, workspace_of(taken))
            (tree / f"mine{number}").write_text("m")
            made = spaces.commit(who, workspace_of(taken), STAMP)
            assert made.files_changed == (f"mine{number}",)
            spaces.push(who, workspace_of(taken), made.commit or "")
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [who.lease for who in spaces.list()] == [1, 2, 3, 4]


def test_an_agent_cannot_reach_another_checkout_through_git(spaces: Workspaces, taken: Snapshot) -> None:
    one = Repo(spaces.prepare(attempt(), workspace_of(taken)), init=False)
    two = Repo(spaces.prepare(attempt(number=2, lease=2), workspace_of(taken)), init=False)
    one.git("config", "core.fsmonitor", "/bin/evil")
    one.git("branch", "taken")
    one.git("gc", "-q", "--prune=now")
    assert two.git("config", "core.fsmonitor", check=False) == ""
    assert two.git("branch", "--list", "taken") == ""
    two.git("fsck")


def test_shallow_and_sha256_projects_travel_both_ways(tmp_path: Path, repo: Repo, depot: Depot) -> None:
    deep = Repo(tmp_path / "s256", object_format="sha256")
    deep.write("a", "1")
    deep.commit()
    for number, source in enumerate((cloned(repo, tmp_path / "shallow", "--depth", "1"), deep), start=1):
        source.write("new", "n")
        taken = snap(source, depot)
        spaces = Workspaces(tmp_path / f"node{number}", PathTransport(depot, taken.repo_id))
        tree = spaces.prepare(attempt(), workspace_of(taken))
        agent = Repo(tree, init=False)
        (tree / "new").write_text("changed")
        agent.commit("agent's own")
        made = spaces.commit(attempt(), workspace_of(taken), STAMP)
        assert made.commit == agent.head
        spaces.push(attempt(), workspace_of(taken), agent.head)
        assert depot.verify_result(taken.repo_id, attempt(), agent.head)


def test_no_workspace_is_an_empty_folder(spaces: Workspaces) -> None:
    tree = spaces.prepare(attempt(), NONE)
    assert list(tree.iterdir()) == []
    assert spaces.commit(attempt(), NONE, STAMP).kind == "none"
    spaces.remove(attempt(), NONE)
    assert not tree.parent.exists()


def test_remove_takes_everything_even_closed_folders_and_is_idempotent(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("k")
    tree = spaces.prepare(attempt(), workspace_of(taken))
    (tree / "closed").mkdir()
    (tree / "closed" / "x").write_text("x")
    (tree / "out").symlink_to(outside)
    (tree / "closed").chmod(0)
    spaces.remove(attempt(), workspace_of(taken))
    spaces.remove(attempt(), workspace_of(taken))
    assert not tree.parent.exists()
    assert (outside / "keep").read_text() == "k"
    mirror = Repo(tmp_path / "node" / "mirrors" / taken.repo_id, init=False)
    assert mirror.git("for-each-ref", "refs/pancode/snap", "refs/pancode/salvage") == ""


def test_the_snapshot_stays_while_another_attempt_of_the_run_lives(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path
) -> None:
    spaces.prepare(attempt(), workspace_of(taken))
    tree = spaces.prepare(attempt(number=2, lease=2), workspace_of(taken))
    spaces.remove(attempt(), workspace_of(taken))
    spaces.trim_mirrors(time.time_ns() // 1_000_000)
    Repo(tree, init=False).git("fsck")
    spaces.remove(attempt(number=2, lease=2), workspace_of(taken))
    spaces.trim_mirrors(time.time_ns() // 1_000_000)
    assert simple(tmp_path / "unrelated", 1).head


def test_salvage_keeps_work_that_is_never_delivered(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path
) -> None:
    tree = spaces.prepare(attempt(), workspace_of(taken))
    (tree / "wip").write_text("unfinished")
    (where,) = spaces.salvage(attempt(), workspace_of(taken), STAMP)
    spaces.remove(attempt(), workspace_of(taken))
    mirror = Repo(tmp_path / "node" / "mirrors" / taken.repo_id, init=False)
    assert mirror.git("show", "refs/pancode/salvage/r-aaaa.1.1:wip") == "unfinished"
    assert mirror.git("rev-parse", "refs/pancode/salvage/r-aaaa.1.1") in where
    spaces.forget(attempt(), workspace_of(taken))
    assert mirror.git("for-each-ref", "refs/pancode/snap", "refs/pancode/salvage") == ""


def test_salvage_puts_files_aside_when_no_commit_can_be_made(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path
) -> None:
    tree = spaces.prepare(attempt(), workspace_of(taken))
    (tree / "wip").write_text("unfinished")
    shutil.rmtree(tmp_path / "node" / "mirrors")
    (where,) = spaces.salvage(attempt(), workspace_of(taken), STAMP)
    spaces.remove(attempt(), workspace_of(taken))
    assert "salvage/r-aaaa.1.1" in where
    assert (tmp_path / "node" / "salvage" / "r-aaaa.1.1" / "tree" / "wip").read_text() == "unfinished"


def test_salvage_of_an_empty_workspace_keeps_its_files(spaces: Workspaces, tmp_path: Path) -> None:
    tree = spaces.prepare(attempt(), NONE)
    (tree / "answer").write_text("42")
    spaces.salvage(attempt(), NONE, STAMP)
    assert (tmp_path / "node" / "salvage" / "r-aaaa.1.1" / "tree" / "answer").read_text() == "42"


def test_a_home_is_beside_the_checkout_and_private(spaces: Workspaces, taken: Snapshot) -> None:
    tree = spaces.prepare(attempt(), workspace_of(taken))
    home = spaces.home(attempt(), {".config/tool.json": b"{}"})
    spaces.home(attempt(), {".config/tool.json": b"{1}"})
    assert (home / ".config" / "tool.json").read_bytes() == b"{1}"
    assert (home / ".config" / "tool.json").stat().st_mode & 0o077 == 0
    assert home.parent == tree.parent
    for name in ("../escape", "/etc/passwd", ""):
        with pytest.raises(ValueError, match="not a relative name"):
            spaces.home(attempt(), {name: b""})


def test_it_is_the_port(spaces: Workspaces) -> None:
    port: ports.WorkspacesPort = spaces
    assert port.list() == ()


def test_what_the_disk_refuses_is_a_failure_of_the_port(
    tmp_path: Path, transport: PathTransport, taken: Snapshot
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ports.StepFailed, match="cannot prepare the workspace"):
        Workspaces(tmp_path / "file", transport).prepare(attempt(), workspace_of(taken))


def test_locks_of_a_killed_git_do_not_stop_the_next_one(
    spaces: Workspaces, taken: Snapshot, tmp_path: Path
) -> None:
    spaces.prepare(attempt(), workspace_of(taken))
    spaces.remove(attempt(), workspace_of(taken))
    mirror = tmp_path / "node" / "mirrors" / taken.repo_id
    (mirror / "refs" / "pancode" / "snap").mkdir(parents=True, exist_ok=True)
    for name in ("refs/pancode/snap/r-aaaa.lock", "packed-refs.lock", "shallow.lock", "config.lock"):
        (mirror / name).touch()
    tree = spaces.prepare(attempt(), workspace_of(taken))
    (tree.parent / "out.git").mkdir()
    (tree / "new").write_text("n")
    made = spaces.commit(attempt(), workspace_of(taken), STAMP)
    for name in ("result.index.lock", "gates.index.lock"):
        (tree.parent / "out.git" / name).touch()
    assert spaces.changed_since(attempt(), made.commit or "") == ()
    assert spaces.commit(attempt(), workspace_of(taken), STAMP) == made
