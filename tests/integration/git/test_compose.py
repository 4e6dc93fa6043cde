"""Where a step of a workflow begins: results merged, handed files put in, nothing of these in a change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pancode.git.depot import Depot
from pancode.git.diff import diff_patch
from pancode.git.log_store import LogStreams
from pancode.git.merge import commit_of
from pancode.git.port import GitDepot
from pancode.kernel.ports import (
    Composition,
    EarlierResult,
    MergeConflictError,
    ResultPlace,
    SnapshotRequest,
    SnapshotTaken,
)
from tests.integration.git.repos import Repo
from tests.integration.git.test_port import StoppedClock

FOLDER = ".pancode/inputs"


class Project:
    """A project of which a snapshot was taken; results are snapshots of what it was made to be."""

    def __init__(self, repo: Repo, depot: Depot, folder: Path) -> None:
        self.repo, self.depot = repo, depot
        self.port = GitDepot(depot, LogStreams(folder / "home"), StoppedClock(), environ={})
        self.lines = [f"line {n}\n" for n in range(20)]
        repo.write("a.txt", "".join(self.lines))
        repo.commit()
        self.first = self.take("r-aaaa")

    def take(self, run: str) -> SnapshotTaken:
        return self.port.snapshot(SnapshotRequest(str(self.repo.path), run))

    def result(self, run: str, line: int, text: str, **files: str) -> str:
        self.repo.write("a.txt", "".join([*self.lines[:line], text, *self.lines[line + 1 :]]))
        for name, data in files.items():
            self.repo.write(name, data)
        taken = self.take(run).snapshot
        self.repo.git("checkout", "-q", ".")
        self.repo.git("clean", "-fdq")
        return taken

    def wanted(self, **results: str) -> Composition:
        first, files = self.first, {f"{FOLDER}/plan.md": b"x" * 5_000_000}
        return Composition(first.repo, "r-step", first.base, first.snapshot, results, files, FOLDER)

    def read(self, commit: str, path: str) -> bytes | None:
        return self.port.read_file(self.first.repo, commit, path, 10_000_000)


@pytest.fixture
def project(repo: Repo, depot: Depot, tmp_path: Path) -> Project:
    return Project(repo, depot, tmp_path)


def test_a_step_begins_at_both_results_with_what_it_is_handed(project: Project) -> None:
    one, two = project.result("r-one1", 0, "one\n", b="B"), project.result("r-two2", 19, "two\n")
    made = project.port.compose(project.wanted(one=one, two=two))
    text = project.read(made.snapshot, "a.txt") or b""
    assert text.startswith(b"one\nline 1\n") and text.endswith(b"line 18\ntwo\n")
    assert project.read(made.snapshot, f"{FOLDER}/plan.md") == b"x" * 5_000_000
    assert project.port.compose(project.wanted(one=one, two=two)) == made
    patch = diff_patch(project.depot, project.first.repo, made.origin, made.snapshot)
    assert b"+one" in patch and b"+two" in patch and b"+B" in patch and b".pancode" not in patch
    assert project.port.lines_changed(project.first.repo, made.origin, made.snapshot) == 5
    project.port.begin_at("r-step", replace(project.first, snapshot=made.snapshot))


def test_what_an_earlier_step_was_handed_and_a_stale_verdict_are_left_behind(project: Project) -> None:
    first = project.port.compose(project.wanted(one=project.result("r-one1", 0, "one\n")))
    project.repo.write("verdict.json", "{}")
    stale = project.take("r-two2").snapshot
    asked = replace(project.wanted(one=first.snapshot), files={}, without=("verdict.json", "a.txt"))
    made = project.port.compose(asked)
    assert project.read(made.snapshot, f"{FOLDER}/plan.md") is None
    assert project.read(made.snapshot, "a.txt") is None, "it was there when the workflow began"
    assert project.read(made.origin, "a.txt") is not None, "the change is counted from all that was there"
    made = project.port.compose(replace(asked, results={"two": stale}))
    assert "verdict.json" in project.port.file_names(project.first.repo, stale)
    assert project.read(made.snapshot, "verdict.json") is None


def test_a_conflict_names_the_files_and_keeps_both_results(project: Project) -> None:
    one, two = project.result("r-one1", 3, "one\n"), project.result("r-two2", 3, "two\n")
    with pytest.raises(MergeConflictError) as caught:
        project.port.compose(project.wanted(one=one, two=two))
    assert caught.value.details["files"] == "a.txt" and caught.value.code == "merge_conflict"
    assert b"one" in (project.read(one, "a.txt") or b"") and b"two" in (project.read(two, "a.txt") or b"")


def test_what_is_to_be_settled_begins_with_the_markers_of_the_conflict(project: Project) -> None:
    """And what settles it is the beginning of the next step, without a merge of its own."""
    one, two = project.result("r-one1", 3, "one\n", b="B"), project.result("r-two2", 3, "two\n", c="C")
    made = project.port.compose(replace(project.wanted(one=one, two=two), marked=True))
    text = project.read(made.snapshot, "a.txt") or b""
    assert b"<<<<<<<" in text and b"\none\n=======\ntwo\n" in text and b">>>>>>>" in text
    assert (project.read(made.snapshot, "b"), project.read(made.snapshot, "c")) == (b"B", b"C")
    assert project.read(made.origin, "a.txt") == b"".join(line.encode() for line in project.lines)


def test_a_file_that_is_none_or_too_large_is_not_read(project: Project) -> None:
    repo, commit = project.first.repo, project.first.snapshot
    assert project.read(commit, "nothing") is None
    assert project.port.read_file(repo, commit, "a.txt", 3) is None


def test_two_results_are_merged_on_what_both_began_from(project: Project) -> None:
    """a writes a file, b and c each change another line of it: merged on the origin that were a conflict."""
    text = "".join(f"new {n}\n" for n in range(9))
    a = project.result("r-aaa1", 0, "one\n", new=text)
    b = project.result("r-bbb1", 0, "one\n", new=text.replace("new 0", "by b"))
    c = project.result("r-ccc1", 0, "one\n", new=text.replace("new 8", "by c"))
    asked = project.wanted(b=b, c=c)
    with pytest.raises(MergeConflictError):
        project.port.compose(asked)
    history = {"a": EarlierResult(a), "b": EarlierResult(b, ("a",)), "c": EarlierResult(c, ("a",))}
    made = project.port.compose(replace(asked, history=history))
    assert (
        project.read(made.snapshot, "new") == text.replace("new 0", "by b").replace("new 8", "by c").encode()
    )
    assert project.port.compose(replace(asked, history=history)) == made


def test_a_result_that_began_at_older_files_takes_nothing_back(project: Project) -> None:
    """The user has repaired a line since; a step that is retried begins there, and one before it did not."""
    old = project.result("r-bbb1", 19, "by b\n")
    project.lines[5] = "repaired\n"
    project.repo.write("a.txt", "".join(project.lines))
    now = project.take("r-late").snapshot
    project.repo.write("a.txt", "".join(["by a\n", *project.lines[1:]]))
    new = project.take("r-aaa1").snapshot
    asked = replace(project.wanted(a=new, b=old), origin=now, origins={"b": project.first.snapshot})
    made = project.port.compose(asked)
    text = (project.read(made.snapshot, "a.txt") or b"").decode()
    assert text == "".join(["by a\n", *project.lines[1:19], "by b\n"])
    assert b"mended" not in diff_patch(project.depot, project.first.repo, made.origin, made.snapshot)
    other = replace(project.wanted(b=old, a=new), origins={"a": now})
    made = project.port.compose(other)
    assert b"+by a" in diff_patch(project.depot, other.repo, other.origin, made.snapshot)
    clash = replace(asked, results={"a": new, "b": project.result("r-ccc1", 5, "by c\n")})
    with pytest.raises(MergeConflictError):
        project.port.compose(clash)


def test_what_is_handed_stands_in_a_snapshot_without_any_result(project: Project) -> None:
    made = project.port.compose(project.wanted())
    assert project.read(made.snapshot, f"{FOLDER}/plan.md") == b"x" * 5_000_000
    assert diff_patch(project.depot, project.first.repo, made.origin, made.snapshot) == b""


def test_a_line_of_work_is_counted_against_its_own_beginning_and_against_the_project(
    project: Project,
) -> None:
    """Its commits are in the depot, the user's only in the repository: nothing is carried over for it."""
    first, git = project.first, project.depot.git(project.first.repo)
    commits, at = list[str](), first.snapshot
    for _ in range(3):
        at = commit_of(project.depot, first.repo, git.text("rev-parse", f"{at}^{{tree}}"), at)
        commits.append(at)
    place = ResultPlace(first.repo, commits[-1], first.base, first.snapshot)
    folder = str(project.repo.path)
    assert project.port.ahead_and_behind(folder, place) == (3, 0)
    for _ in range(2):
        project.repo.write("a.txt", project.repo.path.joinpath("a.txt").read_text() + "more\n")
        project.repo.commit()
    assert project.port.ahead_and_behind(folder, replace(place, since=commits[1])) == (1, 2)
    assert not git.ask("cat-file", "-e", project.repo.git("rev-parse", "HEAD").strip()).ok
    assert project.port.ahead_and_behind(folder, replace(place, since="f" * 40)) == (None, 2)
    assert project.port.ahead_and_behind(f"{folder}-moved", place) == (3, None)
    assert project.port.ahead_and_behind(folder, replace(place, base=None)) == (3, None)


def test_the_depot_says_whether_it_has_a_commit_still(project: Project) -> None:
    """What `workspace repair` asks of its newest run."""
    repo, result = project.first.repo, project.result("r-gone", 0, "one\n")
    assert project.port.has_commit(repo, result)
    assert not project.port.has_commit("never-1", result)
    project.depot.drop(repo, ["r-gone"])
    project.depot.git(repo).must("gc", "--quiet", "--prune=now")
    assert not project.port.has_commit(repo, result)
    assert project.port.has_commit(repo, project.first.snapshot)
