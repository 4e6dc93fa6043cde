"""What a filter of git's takes away does not travel unasked, and never enters history; no fix loses it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.landings import LandRequest, LandStatus, OnBranch
from pancode.git.runner import GitRefusal
from pancode.git.snapshot import Snapshot, SnapshotOptions, take_snapshot
from pancode.git.tree.branch_landing import land_on_branch
from pancode.git.tree.tree_landing import land
from pancode.kernel.states import How
from tests.integration.git.repos import NOW_MS, Repo, fingerprint, tree_of

PLACES = ["tree", "info", "global", "default"]


class FilteredUser:
    """A user whose git strips notebooks, with the pattern in one of the places that git reads."""

    def __init__(self, folder: Path, depot: Depot, place: str) -> None:
        self.depot, self.home, self.repo = depot, folder / "home", Repo(folder / "repo")
        (self.home / ".config" / "git").mkdir(parents=True)
        text, settings = "*.nb filter=strip\n", '[filter "strip"]\n\tclean = sed s/OUT.*//\n\tsmudge = cat\n'
        match place:
            case "tree":
                self.repo.write(".gitattributes", text)
            case "info":
                (self.repo.path / ".git" / "info" / "attributes").write_text(text)
            case "global":
                (self.home / "mine").write_text(text)
                settings += "[core]\n\tattributesFile = ~/mine\n"
            case "default":
                (self.home / ".config" / "git" / "attributes").write_text(text)
        (self.home / ".gitconfig").write_text(settings)
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        self.repo.write("a.nb", "one \n")
        self.repo.commit()

    def snap(self, run: str = "r-aaaa", limits: ListingLimits | None = None) -> Snapshot:
        options = SnapshotOptions(NOW_MS, limits or ListingLimits(), environ=self.environ)
        return take_snapshot(self.repo.path, self.depot, run, options)

    def add(self, name: str) -> None:
        """The user's own git, a second after the change."""
        os.utime(self.repo.path / name, (0, 0))
        env = {**self.environ, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(("git", "add", name), cwd=self.repo.path, env=env, check=True)

    def result(self, taken: Snapshot, name: str, data: str) -> LandRequest:
        """A run that leaves that in a file."""
        git = self.depot.git(taken.repo_id)
        blob = git.must("hash-object", "-w", "--stdin", stdin=data.encode()).text()
        indexed = git.having(GIT_INDEX_FILE=str(self.home / "index"))
        indexed.must("read-tree", taken.tree)
        indexed.must("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
        who = ("-c", "user.name=n", "-c", "user.email=e@x")
        made = git.text(
            *who, "commit-tree", indexed.text("write-tree"), "-p", taken.snapshot_commit, "-m", "r"
        )
        return LandRequest(taken.repo_id, taken.snapshot_commit, made, self.environ, base=taken.base_commit)

    def on_branch(self, request: LandRequest, how: How = How.SQUASH) -> LandStatus:
        target = OnBranch("t", "m", NOW_MS, how, ())
        return land_on_branch(self.repo.path, self.depot, request, target).status


@pytest.fixture(params=PLACES)
def desk(request: pytest.FixtureRequest, tmp_path: Path, depot: Depot) -> FilteredUser:
    return FilteredUser(tmp_path, depot, request.param)


def test_what_a_filter_takes_away_does_not_travel_and_the_fix_loses_nothing(desk: FilteredUser) -> None:
    desk.repo.write("a.nb", "one OUTPUT\n")
    before = fingerprint(desk.repo.path)
    with pytest.raises(GitRefusal, match="with a filter") as refused:
        desk.snap()
    assert "git add a.nb" in refused.value.fix
    assert fingerprint(desk.repo.path) == before
    desk.add("a.nb")
    files = tree_of(desk.depot, desk.snap())
    assert files["a.nb"][1] == b"one \n" and (desk.repo.path / "a.nb").read_text() == "one OUTPUT\n"


@pytest.mark.parametrize("how", list(How))
def test_it_never_enters_history(desk: FilteredUser, how: How) -> None:
    request = desk.result(desk.snap(), "a.nb", "uno OUTPUT\n")
    with pytest.raises(GitRefusal, match=r"a\.nb") as refused:
        desk.on_branch(request, how)
    assert "pancode land RUN" in refused.value.fix
    assert land(desk.repo.path, desk.depot, request).status is LandStatus.LANDED
    assert (desk.repo.path / "a.nb").read_text() == "uno OUTPUT\n"


def test_a_landing_writes_over_no_content_that_git_does_not_have(desk: FilteredUser) -> None:
    """git takes the file for unchanged."""
    request = desk.result(desk.snap(), "a.nb", "uno\n")
    desk.repo.write("a.nb", "one OUTPUT\n")
    desk.add("a.nb")
    report = land(desk.repo.path, desk.depot, request)
    assert report.status is LandStatus.CONFLICT and (desk.repo.path / "a.nb").read_text() == "one OUTPUT\n"


# -- Git LFS


def _pointer(data: str) -> str:
    digest = hashlib.sha256(data.encode()).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n"


@pytest.fixture
def lfs(tmp_path: Path, depot: Depot) -> FilteredUser:
    """A repository with a large file under LFS as `git lfs` leaves it: a pointer in git, content on disk."""
    desk = FilteredUser(tmp_path, depot, "tree")
    desk.repo.write(".gitattributes", "*.bin filter=lfs\n")
    desk.repo.write("a.bin", _pointer("raw" * 1000))
    desk.repo.commit()
    desk.repo.write("a.bin", "raw" * 1000)
    return desk


def test_a_new_time_alone_is_no_change_whatever_the_size(lfs: FilteredUser) -> None:
    taken = lfs.snap(limits=ListingLimits(file=2000))
    assert tree_of(lfs.depot, taken)["a.bin"][1].decode() == _pointer("raw" * 1000)
    assert any("a.bin" in said and "a pointer, not the content" in said for said in taken.warnings)
    lfs.repo.write("a.bin", "RAW" * 1000)
    with pytest.raises(GitRefusal, match="over"):
        lfs.snap(limits=ListingLimits(file=2000))


def test_a_raw_blob_of_a_pattern_of_lfs_does_not_land(lfs: FilteredUser) -> None:
    taken = lfs.snap()
    with pytest.raises(GitRefusal, match="LFS: a.bin"):
        lfs.on_branch(lfs.result(taken, "a.bin", "new content"))
    assert lfs.on_branch(lfs.result(taken, "a.bin", _pointer("new content"))) is LandStatus.LANDED
    assert lfs.on_branch(lfs.result(taken, "b.txt", "plain")) is LandStatus.LANDED
