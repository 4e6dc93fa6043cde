"""Landing writes what the run changed beside the user's own edits, or leaves the tree as it was."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from node_agent.wire.git import stamp_env
from pancode.git.depot import Depot
from pancode.git.landings import Conflict, LandingGates, LandReport, LandRequest, LandStatus, Merged
from pancode.git.merge import commit_of, publish_snapshot
from pancode.git.runner import GitRefusal
from pancode.git.tree.tree_landing import land
from tests.integration.git.coordinator import Act, Trees, edit_a_line, edit_c, everything
from tests.integration.git.repos import NOW_MS, Repo, fingerprint, snap
from tests.integration.git.traps import Traps


def unchanged(coordinator: Trees, report: LandReport, *names: str) -> None:
    assert report.status is LandStatus.CONFLICT
    assert tuple(conflict.path for conflict in report.conflicts) == names
    assert all(conflict.why for conflict in report.conflicts)


def test_everything_lands_beside_the_users_edits(coordinator: Trees) -> None:
    request = coordinator.result(everything)
    text = (coordinator.user.path / "a").read_text().replace("10\n", "later10\n", 1)
    coordinator.user.write("a", text)
    before = coordinator.user.git("diff", "--cached"), coordinator.user.head
    index = fingerprint(coordinator.user.path / ".git")
    report = coordinator.land(request)
    assert report == LandReport(LandStatus.LANDED, ("a", "b", "dd/inner", "dir/sub/z", "ln", "new", "x.sh"))
    lines = (coordinator.user.path / "a").read_text().splitlines()
    assert (lines[0], lines[9], lines[-1]) == ("agent1", "later10", "user20")
    assert not (coordinator.user.path / "b").exists()
    assert not (coordinator.user.path / "dd").exists()
    assert (coordinator.user.path / "dir/sub/z").read_text() == "z\n"
    assert (coordinator.user.path / "x.sh").stat().st_mode & 0o777 == 0o755
    assert (coordinator.user.path / "new").stat().st_mode & 0o777 == 0o644
    assert (coordinator.user.path / "ln").readlink() == Path("a")
    assert (coordinator.user.path / "u").read_text() == "untracked\n"
    assert fingerprint(coordinator.user.path / ".git") == index
    assert (coordinator.user.git("diff", "--cached"), coordinator.user.head) == before
    assert os.stat(coordinator.user.path / "new").st_nlink == 1


def test_landed_twice_is_nothing_to_land(coordinator: Trees) -> None:
    request = coordinator.result(everything)
    assert coordinator.land(request).status is LandStatus.LANDED
    before = coordinator.tree()
    assert coordinator.land(request).status is LandStatus.NOTHING
    assert coordinator.tree() == before


def test_landing_after_the_user_committed(coordinator: Trees) -> None:
    request = coordinator.result(edit_c)
    coordinator.user.commit("moved on")
    assert coordinator.land(request).files == ("c",)
    coordinator.user.commit("landed")
    assert coordinator.land(request).status is LandStatus.NOTHING


def _user_edits_the_same_line(user: Repo) -> None:
    user.write("a", (user.path / "a").read_text().replace("1\n2\n", "mine1\n2\n", 1))


def _user_edits_binary(user: Repo) -> None:
    user.write("c", os.urandom(500))


def _user_deletes(user: Repo) -> None:
    (user.path / "c").unlink()


def _agent_binary(agent: Repo) -> None:
    agent.write("c", os.urandom(500))


CLASHES = [
    (edit_a_line, _user_edits_the_same_line, "a"),
    (_agent_binary, _user_edits_binary, "c"),
    (edit_c, _user_deletes, "c"),
    (lambda agent: agent.write("later", "agent\n"), lambda user: user.write("later", "mine\n"), "later"),
    (lambda agent: agent.write("ig", "agent\n"), lambda user: None, "ig"),
    (lambda agent: agent.write("igdir", "agent\n"), lambda user: user.write("igdir/x", "mine\n"), "igdir"),
    (
        lambda agent: agent.write("out/f", "evil\n"),
        lambda user: (user.path / "out").symlink_to("/tmp"),
        "out/f",
    ),
    (lambda agent: agent.write("r/f", "f\n"), lambda user: Repo(user.path / "r"), "r/f"),
    (edit_c, lambda user: user.git("update-index", "--skip-worktree", "c"), "c"),
]


@pytest.mark.parametrize(("agent", "user", "name"), CLASHES)
def test_a_clash_names_the_file_and_changes_nothing(
    agent: Act, user: Act, name: str, coordinator: Trees
) -> None:
    request = coordinator.result(lambda repo: (agent(repo), repo.write("also", "fine\n")))
    user(coordinator.user)
    before = coordinator.tree()
    report = coordinator.land(request)
    assert report.status is LandStatus.CONFLICT
    assert any(conflict.path.startswith(name.split("/")[0]) and conflict.why for conflict in report.conflicts)
    assert coordinator.tree() == before
    assert not Path("/tmp/f").exists()
    assert coordinator.user.git("status", "--porcelain", "also") == ""


def test_a_submodule_change_is_not_landed(coordinator: Trees) -> None:
    def act(agent: Repo) -> None:
        agent.git("update-index", "--add", "--cacheinfo", f"160000,{agent.head},sub")
        (agent.path / "sub").mkdir()

    before = coordinator.tree()
    coordinator.agent.git("update-index", "--add", "--cacheinfo", f"160000,{coordinator.agent.head},sub")
    coordinator.agent.git("commit", "-q", "-m", "sub")
    target = str(coordinator.depot.path(coordinator.taken.repo_id))
    coordinator.agent.git("push", "-q", target, "HEAD:refs/pancode/r-aaaa/1.1")
    report = coordinator.land(
        LandRequest(coordinator.taken.repo_id, coordinator.taken.snapshot_commit, coordinator.agent.head, {})
    )
    unchanged(coordinator, report, "sub")
    assert coordinator.tree() == before


def test_a_tree_with_a_git_folder_is_not_written(coordinator: Trees) -> None:
    git = coordinator.depot.git(coordinator.taken.repo_id)
    blob = git.must("hash-object", "-w", "--stdin", stdin=b"[core]\n\tfsmonitor = evil\n").text()
    inner = git.must("mktree", stdin=f"100644 blob {blob}\tconfig\n".encode()).text()
    listed = git.must("ls-tree", coordinator.taken.snapshot_commit).out
    tree = git.must("mktree", stdin=listed + f"040000 tree {inner}\t.GIT\n".encode()).text()
    signed = git.having(**stamp_env("a", "b@c", NOW_MS))
    evil = signed.must("commit-tree", tree, "-p", coordinator.taken.snapshot_commit, stdin=b"evil").text()
    before = fingerprint(coordinator.user.path)
    report = coordinator.land(
        LandRequest(coordinator.taken.repo_id, coordinator.taken.snapshot_commit, evil, {})
    )
    unchanged(coordinator, report, ".GIT/config")
    assert fingerprint(coordinator.user.path) == before


def _file_to_folder(agent: Repo) -> None:
    (agent.path / "b").unlink()
    agent.write("b/inside", "now a folder\n")


def _folder_to_file(agent: Repo) -> None:
    (agent.path / "dd" / "inner").unlink()
    (agent.path / "dd").rmdir()
    agent.write("dd", "now a file\n")


@pytest.mark.parametrize(("act", "path"), [(_file_to_folder, "b/inside"), (_folder_to_file, "dd")])
def test_files_and_folders_change_places(act: Act, path: str, coordinator: Trees) -> None:
    request = coordinator.result(act)
    assert coordinator.land(request).status is LandStatus.LANDED
    assert "now a" in (coordinator.user.path / path).read_text()


def test_line_ends_are_written_as_the_repository_asks(coordinator: Trees) -> None:
    coordinator.user.write(".gitattributes", "*.txt text eol=crlf\n")
    coordinator.user.write("w.txt", b"one\r\ntwo\r\n")
    coordinator.taken = snap(coordinator.user, coordinator.depot)
    coordinator.agent.git(
        "fetch", "-q", str(coordinator.depot.path(coordinator.taken.repo_id)), "refs/pancode/snap/r-aaaa"
    )
    coordinator.agent.git("checkout", "-q", "-f", "--detach", "FETCH_HEAD")
    request = coordinator.result(lambda agent: agent.write("w.txt", b"one\r\ntwo\r\nthree\r\n"))
    assert coordinator.land(request).status is LandStatus.LANDED
    assert (coordinator.user.path / "w.txt").read_bytes() == b"one\r\ntwo\r\nthree\r\n"


def test_gates_see_the_merged_tree_and_can_refuse_it(coordinator: Trees) -> None:
    request = coordinator.result(edit_a_line)
    coordinator.user.write("only-mine", "m\n")
    seen: list[tuple[str, list[str], tuple[str, ...], bool]] = []

    def gates(merged: Merged) -> LandingGates:
        git = coordinator.depot.git(request.repo_id)
        lines = git.text("cat-file", "blob", f"{merged.tree}:a").splitlines()
        mine = git.text("cat-file", "blob", f"{merged.tree}:only-mine").splitlines()
        seen.append((lines[0] + lines[-1], mine, merged.files, merged.tested))
        return LandingGates(len(seen) > 1, "first no, then yes")

    before = coordinator.tree()
    report = coordinator.land(request, gates=gates)
    assert (report.status, report.gate) == (LandStatus.GATE_FAILED, LandingGates(False, "first no, then yes"))
    assert coordinator.tree() == before
    assert coordinator.land(request, gates=gates).status is LandStatus.LANDED
    assert seen == [("agent1user20", ["m"], ("a",), False)] * 2
    assert (coordinator.user.path / "a").read_text().startswith("agent1\n")


def test_the_very_tree_that_was_tested_is_told_apart(coordinator: Trees) -> None:
    request, seen = coordinator.result(everything), list[bool]()

    def gates(merged: Merged) -> LandingGates:
        seen.append(merged.tested)
        return LandingGates(False)

    coordinator.land(request, gates=gates)
    coordinator.user.write("mine", "m\n")
    coordinator.land(request, gates=gates)
    assert seen == [True, False]


def test_what_a_user_has_to_say_yes_to_is_held(coordinator: Trees) -> None:
    request, before = coordinator.result(edit_c), coordinator.tree()
    why = (Conflict("c", "a gate names it", "--with-commands"),)
    report = coordinator.land(request, gates=lambda merged: LandingGates(False, "ask", why))
    assert (report.status, report.conflicts) == (LandStatus.HELD, why)
    assert coordinator.tree() == before


def test_a_merged_tree_becomes_a_snapshot_that_a_node_may_have(coordinator: Trees) -> None:
    request, made = coordinator.result(edit_c), list[str]()

    def gates(merged: Merged) -> LandingGates:
        base = coordinator.taken.base_commit
        made.append(commit_of(coordinator.depot, request.repo_id, merged.tree, base))
        publish_snapshot(coordinator.depot, request.repo_id, "r-gate", made[-1], base)
        return LandingGates(False)

    coordinator.land(request, gates=gates)
    coordinator.land(request, gates=gates)
    git = coordinator.depot.git(request.repo_id)
    assert (
        made[0]
        == made[1]
        == (
            coordinator.depot.git(request.repo_id)
            .ask("rev-parse", "-q", "--verify", "refs/pancode/snap/r-gate")
            .text()
        )
    )
    assert git.text("rev-parse", f"{made[0]}^") == coordinator.taken.base_commit


def test_an_edit_while_the_gates_run_is_kept(coordinator: Trees) -> None:
    request = coordinator.result(everything)

    def gates(merged: Merged) -> LandingGates:
        coordinator.user.write("a", "edited meanwhile\n")
        return LandingGates(True)

    report = coordinator.land(request, gates=gates)
    unchanged(coordinator, report, "a")
    assert (coordinator.user.path / "a").read_text() == "edited meanwhile\n"
    assert (coordinator.user.path / "b").exists()
    assert not (coordinator.user.path / "new").exists()


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_edit_in_the_middle_is_kept_and_the_rest_is_rolled_back(name: str, coordinator: Trees) -> None:
    """The owner edits a file when the landing replaces files already, just before it comes to this one."""
    request, before = coordinator.result(everything), coordinator.contents()

    def checkpoint(moment: str) -> None:
        if moment == f"take {name}":
            coordinator.user.write(name, "edited meanwhile\n")

    unchanged(coordinator, coordinator.land(request, checkpoint=checkpoint), name)
    assert (coordinator.user.path / name).read_text() == "edited meanwhile\n"
    assert {**coordinator.contents(), name: before[name]} == before


@pytest.mark.parametrize("moment", ["take b", "put new", "put ln", "write done"])
def test_an_error_in_the_middle_rolls_back(moment: str, coordinator: Trees) -> None:
    request = coordinator.result(everything)
    before = coordinator.tree()

    def checkpoint(name: str) -> None:
        if name == moment:
            raise OSError("disk gone")

    with pytest.raises(GitRefusal, match="landing failed") as caught:
        coordinator.land(request, checkpoint=checkpoint)
    assert "disk gone" in caught.value.why
    assert coordinator.tree() == before
    assert coordinator.land(request).status is LandStatus.LANDED


def test_a_file_that_appears_in_the_middle_is_kept(coordinator: Trees) -> None:
    request = coordinator.result(everything)
    before = coordinator.contents()

    def checkpoint(name: str) -> None:
        if name == "put new":
            coordinator.user.write("new", "mine\n")

    unchanged(coordinator, coordinator.land(request, checkpoint=checkpoint), "new")
    assert (coordinator.user.path / "new").read_text() == "mine\n"
    (coordinator.user.path / "new").unlink()
    assert coordinator.contents() == before


def test_one_landing_at_a_time(coordinator: Trees) -> None:
    request = coordinator.result(edit_c)
    handle = os.open(coordinator.user.path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    done: list[LandReport] = []
    thread = threading.Thread(target=lambda: done.append(coordinator.land(request)))
    thread.start()
    thread.join(0.3)
    assert done == []
    os.close(handle)
    thread.join()
    assert done[0].status is LandStatus.LANDED


def test_a_hostile_repository_lands_without_running_anything(coordinator: Trees, tmp_path: Path) -> None:
    def act(agent: Repo) -> None:
        everything(agent)
        agent.write(".gitattributes", "* filter=evil\n")

    request = coordinator.result(act)
    traps = Traps(tmp_path / "traps")
    traps.arm(coordinator.user.path / ".git", coordinator.user)
    traps.reset()

    def gates(merged: Merged) -> LandingGates:
        return LandingGates("new" in merged.files)

    coordinator.land(request, gates=gates)
    assert traps.sprung() == []


def test_landing_in_a_linked_worktree(tmp_path: Path, depot: Depot) -> None:
    main = Repo(tmp_path / "main")
    main.write("f", "1\n")
    main.commit()
    main.git("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = Repo(tmp_path / "linked", init=False)
    taken = snap(linked, depot)
    git = depot.git(taken.repo_id)
    blob = git.must("hash-object", "-w", "--stdin", stdin=b"2\n").text()
    tree = git.must("mktree", stdin=f"100644 blob {blob}\tf\n".encode()).text()
    signed = git.having(**stamp_env("a", "b@c", NOW_MS))
    result = signed.must("commit-tree", tree, "-p", taken.snapshot_commit, stdin=b"r").text()
    report = land(linked.path, depot, LandRequest(taken.repo_id, taken.snapshot_commit, result, {}))
    assert report.status is LandStatus.LANDED
    assert (linked.path / "f").read_text() == "2\n"
    assert (main.path / "f").read_text() == "1\n"
    assert linked.git("status", "--porcelain") == " M f"


def test_what_was_held_back_for_its_name_is_neither_merged_nor_overwritten(coordinator: Trees) -> None:
    coordinator.user.write(".env", "MINE=1\n")
    seen: list[tuple[str, ...]] = []

    def gates(merged: Merged) -> LandingGates:
        listed = coordinator.depot.git(request.repo_id).text("ls-tree", "-r", "--name-only", merged.tree)
        seen.append((*merged.files, str(".env" in listed.splitlines())))
        return LandingGates(True)

    request = coordinator.result(edit_c)
    assert coordinator.land(request, gates=gates).status is LandStatus.LANDED
    assert seen == [("c", "False")], "it goes to no node with the merged tree either"
    theirs = coordinator.result(lambda agent: agent.write(".env", "THEIRS=1\n"))
    unchanged(coordinator, coordinator.land(theirs), ".env")
    assert (coordinator.user.path / ".env").read_text() == "MINE=1\n"
