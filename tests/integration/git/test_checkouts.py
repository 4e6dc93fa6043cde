"""The copy of a checkout on the coordinator's machine: files travel there, and what has landed comes home."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.clock import SystemClock
from pancode.code.git.checkouts import CheckoutCopies, served
from pancode.code.git.safe import GitRefusal
from pancode.errors import WorkspaceError
from pancode.offline import own_checkout
from pancode.offline.own_checkout import OwnCheckout, checkout_of
from tests.integration.git.repos import Repo


@dataclass
class There:
    """The coordinator's machine: its API's two routes, and git by the same login."""

    home: Path
    sent: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "desk"

    def open_git(self, copy: str, service: str) -> socket.socket:
        self.sent.append(service)
        return served(self.home, copy, service)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        _, _, _, machine, name, *act = path.split("/")
        copies, copy = CheckoutCopies(self.home, SystemClock()), f"{machine}/{name}"
        if act:
            return {"top": str(copies.fill(copy, **body))}
        state = asdict(copies.state(copy, **body))
        return {**state, "top": str(state["top"])}


@dataclass
class Laptop:
    repo: Repo
    there: There
    told: list[str] = field(default_factory=list)

    def checkout(self) -> OwnCheckout:
        found = checkout_of(self.there, self.told.append)  # type: ignore[arg-type]
        assert found is not None
        return found

    def travel(self) -> Path:
        return Path(self.checkout().travel())


@pytest.fixture
def laptop(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    monkeypatch.chdir(repo.path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(own_checkout, "Client", lambda there, **_: there)
    return Laptop(repo, There(tmp_path / "home"))


def test_head_branch_edits_and_new_files_travel_and_nothing_that_is_ignored(laptop: Laptop) -> None:
    repo = laptop.repo
    repo.write(".gitignore", "*.log\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "ignore")
    for name, text in (("f1", "edited\n"), ("new/one.txt", "new\n"), ("x.log", "noise\n")):
        repo.write(name, text)
    (repo.path / "f2").unlink()
    (repo.path / "new").joinpath("run").symlink_to("one.txt")
    there = Repo(laptop.travel())
    assert there.git("rev-parse", "HEAD") == repo.git("rev-parse", "HEAD")
    assert there.git("branch", "--show-current") == repo.git("branch", "--show-current")
    assert there.git("status", "--porcelain", "-uall") == repo.git("status", "--porcelain", "-uall")
    assert (there.path / "f1").read_text() == "edited\n" and not (there.path / "x.log").exists()
    before = list(laptop.there.sent)
    assert laptop.travel() == there.path and laptop.there.sent == before, "it is there already"
    repo.write("f1", "first\n")
    (repo.path / "new/one.txt").unlink()
    laptop.travel()
    assert (there.path / "f1").read_text() == "first\n" and not (there.path / "new/one.txt").exists()


def test_a_folder_below_and_a_detached_head_are_the_same_there(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.repo.write("below/a", "a\n")
    monkeypatch.chdir(laptop.repo.path / "below")
    laptop.repo.git("checkout", "-q", "--detach")
    below = laptop.travel()
    assert below.name == "below" and (below / "a").read_text() == "a\n"
    assert Repo(below.parent).git("branch", "--show-current") == ""


def test_what_landed_there_comes_home_beside_edits_made_meanwhile(laptop: Laptop) -> None:
    there = laptop.travel()
    (there / "f1").write_text("landed\n")
    (there / "made.txt").write_text("made\n")
    laptop.repo.write("f2", "mine\n")
    laptop.travel()
    assert (laptop.repo.path / "f1").read_text() == "landed\n"
    assert (laptop.repo.path / "made.txt").read_text() == "made\n"
    assert (laptop.repo.path / "f2").read_text() == (there / "f2").read_text() == "mine\n"
    assert laptop.told == ["landed on desk and now here: 2 files: f1, made.txt"]
    laptop.travel()
    assert len(laptop.told) == 1


def test_what_does_not_fit_leaves_every_file_on_both_sides(laptop: Laptop) -> None:
    there = laptop.travel()
    (there / "f1").write_text("landed\n")
    laptop.repo.write("f1", "mine\n")
    with pytest.raises(WorkspaceError) as refused:
        laptop.travel()
    assert refused.value.code == "not_home" and "f1" in refused.value.why
    assert (laptop.repo.path / "f1").read_text() == "mine\n" and (there / "f1").read_text() == "landed\n"
    laptop.repo.git("checkout", "-q", "f1")
    laptop.travel()
    assert (laptop.repo.path / "f1").read_text() == "landed\n"


def test_a_branch_that_was_made_there_comes_home_and_never_over_other_commits(laptop: Laptop) -> None:
    there = Repo(laptop.travel())
    there.git("checkout", "-q", "-b", "agent/x")
    there.write("f1", "landed\n")
    there.git("commit", "-qam", "landed")
    tip = there.git("rev-parse", "HEAD")
    there.git("checkout", "-q", "-")
    laptop.checkout().branch_home("agent/x")
    assert laptop.repo.git("rev-parse", "agent/x") == tip
    laptop.repo.git("update-ref", "refs/heads/agent/x", "HEAD~1")
    laptop.repo.git("branch", "-f", "agent/x", laptop.repo.commit("other"))
    with pytest.raises(WorkspaceError, match="and not here"):
        laptop.checkout().branch_home("agent/x")


@pytest.mark.parametrize("copy", ["c-0/x", "../../x", "c-0123456789abcdef/../x", "c-0123456789abcdef/.git"])
def test_a_name_that_is_no_copy_is_refused(tmp_path: Path, copy: str) -> None:
    with pytest.raises(GitRefusal):
        served(tmp_path, copy, "upload-pack")
    with pytest.raises(GitRefusal):
        CheckoutCopies(tmp_path, SystemClock()).state(copy, "sha1")
