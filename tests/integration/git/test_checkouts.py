"""The copy of a checkout on the coordinator's machine: files travel there, and what has landed comes home."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.clock import SystemIds
from pancode.checkouts.commands import own_checkout
from pancode.checkouts.commands.own_checkout import OwnCheckout, checkout_of
from pancode.checkouts.copies import CheckoutCopies, serve_git
from pancode.git.runner import GitRefusal
from pancode.kernel.errors import ApiError, ConflictError, UnavailableError, WorkspaceError
from tests.integration.git.repos import Repo, cloned


@dataclass
class There:
    """The coordinator's machine: its API's two routes, and git by the same login."""

    home: Path
    sent: list[str] = field(default_factory=list)
    own_home: str = ""

    def __str__(self) -> str:
        return "desk"

    def open_git(self, copy: str, service: str) -> socket.socket:
        self.sent.append(service)
        return serve_git(self.home, copy, service)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        own = os.environ["HOME"]
        os.environ["HOME"] = self.own_home or own
        try:
            return self._answer(path, body)
        finally:
            os.environ["HOME"] = own

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        _, _, _, machine, name, *act = path.split("/")
        copies, copy = CheckoutCopies(self.home), f"{machine}/{name}"
        if act:
            try:
                return {"top": str(copies.fill(copy, **body))}
            except ConflictError as error:
                raise ApiError(asdict(error.problem())) from error
        state = asdict(copies.state(copy, **body))
        return {**state, "top": str(state["top"])}


def files(top: Path) -> dict[str, bytes]:
    every = (path for path in top.rglob("*") if path.is_file() and ".git" not in path.relative_to(top).parts)
    return {str(path.relative_to(top)): path.read_bytes() for path in every}


@dataclass
class Laptop:
    repo: Repo
    there: There
    told: list[str] = field(default_factory=list)

    def checkout(self) -> OwnCheckout:
        found = checkout_of(self.there, self.told.append, SystemIds())  # type: ignore[arg-type]
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
    there = Repo(laptop.travel(), init=False)
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
    assert Repo(below.parent, init=False).git("branch", "--show-current") == ""


def test_a_list_names_the_folder_and_sends_no_files(laptop: Laptop) -> None:
    there = laptop.travel()
    laptop.repo.write("f1", "not sent yet\n")
    before = len(laptop.there.sent)
    assert laptop.checkout().folder_there() == str(there)
    assert (there / "f1").read_text() != "not sent yet\n" and len(laptop.there.sent) == before


def test_what_landed_there_comes_home_beside_edits_made_meanwhile(laptop: Laptop) -> None:
    there = laptop.travel()
    (there / "f1").write_text("landed\n")
    (there / "made.txt").write_text("made\n")
    laptop.repo.write("f2", "mine\n")
    laptop.travel()
    assert (laptop.repo.path / "f1").read_text() == "landed\n"
    assert (laptop.repo.path / "made.txt").read_text() == "made\n"
    assert (laptop.repo.path / "f2").read_text() == (there / "f2").read_text() == "mine\n"
    assert laptop.told == ["landed on desk, now also here: 2 files: f1, made.txt"]
    laptop.travel()
    assert len(laptop.told) == 1


def test_what_does_not_fit_leaves_every_file_and_is_a_branch_here(laptop: Laptop) -> None:
    there = laptop.travel()
    (there / "f1").write_text("landed\n")
    laptop.repo.write("f1", "mine\n")
    with pytest.raises(WorkspaceError) as refused:
        laptop.checkout().travel(lands=True)
    assert refused.value.code == "not_home"
    assert (laptop.repo.path / "f1").read_text() == (there / "f1").read_text() == "mine\n"
    (branch,) = laptop.repo.git("for-each-ref", "--format=%(refname:short)", "refs/heads/pancode").split()
    assert laptop.repo.git("show", f"{branch}:f1") == "landed" and branch in refused.value.fix
    laptop.travel()
    assert len(laptop.told) == 1, "nothing is in the way of the next command"


def test_what_landed_for_another_branch_is_a_branch_here_and_never_in_the_files_of_this_one(
    laptop: Laptop,
) -> None:
    there = laptop.travel()
    (there / "f1").write_text("landed\n")
    laptop.repo.git("checkout", "-q", "--orphan", "pages")
    laptop.repo.git("rm", "-rfq", ".")
    laptop.repo.write("index.html", "page\n")
    laptop.repo.commit("pages")
    laptop.travel()
    assert sorted(path.name for path in laptop.repo.path.iterdir()) == [".git", "index.html"]
    assert sorted(path.name for path in there.iterdir()) == [".git", "index.html"]
    laptop.repo.git("checkout", "-q", "main")
    laptop.travel()
    assert sorted(path.name for path in there.iterdir()) == [".git", "f1", "f2", "f3"]
    (branch,) = laptop.repo.git("for-each-ref", "--format=%(refname:short)", "refs/heads/pancode").split()
    assert laptop.repo.git("show", f"{branch}:f1") == "landed"
    assert (laptop.repo.path / "f1").read_text() == "1\n"


def test_what_only_travels_comes_back_as_it_went(laptop: Laptop, tmp_path: Path) -> None:
    """Whatever the git of the desk is told to ignore or to convert."""
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk/.gitconfig").write_text(
        f"[core]\n\tautocrlf = input\n\texcludesFile = {tmp_path}/desk/ignore\n"
    )
    (tmp_path / "desk/ignore").write_text("*.log\n")
    repo = laptop.repo
    repo.write(".gitignore", "build/\n")
    for name, data in (("notes.log", b"kept\n"), ("dos.txt", b"a\r\nb\r\n"), ("build/forced", b"x\n")):
        repo.write(name, data)
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    repo.git("add", "-f", "build/forced")
    before, laptop.there.own_home = files(repo.path), str(tmp_path / "desk")
    there = [laptop.travel() for _ in range(3)][-1]
    assert files(repo.path) == before and laptop.told == []
    assert files(there) == before
    assert (there / "run.sh").stat().st_mode & 0o111


def test_a_submodule_that_moved_travels_as_its_commit_alone(laptop: Laptop, tmp_path: Path) -> None:
    inner = Repo(tmp_path / "inner")
    inner.write("a")
    inner.commit("one")
    laptop.repo.git("submodule", "--quiet", "add", f"file://{inner.path}", "sub")
    laptop.repo.commit("with a submodule")
    laptop.travel()
    inside = Repo(laptop.repo.path / "sub", init=False)
    moved = inside.commit("two")
    laptop.repo.git("add", "sub")
    there = [Repo(laptop.travel(), init=False) for _ in range(2)][-1]
    assert laptop.told == [] or all(told.startswith("warning: ") for told in laptop.told), laptop.told
    assert inside.head == moved and not list((there.path / "sub").iterdir())


def test_an_answer_that_was_lost_brings_no_edit_back(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop.travel()
    laptop.repo.write("f1", "b\n")
    real = laptop.there.post

    def lost(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = real(path, body)
        if path.endswith("/files"):
            raise UnavailableError("the link was cut", fix="again")
        return answer

    monkeypatch.setattr(laptop.there, "post", lost)
    with pytest.raises(UnavailableError):
        laptop.travel()
    monkeypatch.undo()
    monkeypatch.chdir(laptop.repo.path)
    monkeypatch.setattr(own_checkout, "Client", lambda there, **_: there)
    laptop.repo.write("f1", "1\n")
    laptop.travel()
    assert (laptop.repo.path / "f1").read_text() == "1\n" and laptop.told == []


def test_what_lands_while_the_files_travel_is_not_overwritten(laptop: Laptop) -> None:
    there = laptop.travel()
    laptop.repo.write("f2", "mine\n")
    real, late = laptop.there.open_git, ["landed\n"]

    def slow(copy: str, service: str) -> socket.socket:
        if late and service == "receive-pack":
            (there / "f1").write_text(late.pop())
        return real(copy, service)

    laptop.there.open_git = slow  # type: ignore[method-assign]
    laptop.travel()
    assert (laptop.repo.path / "f1").read_text() == (there / "f1").read_text() == "landed\n"
    assert (there / "f2").read_text() == "mine\n"


def test_a_checkout_that_was_copied_has_a_copy_of_its_own(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = laptop.travel()
    other = laptop.repo.path.with_name("other")
    shutil.copytree(laptop.repo.path, other, symlinks=True)
    monkeypatch.chdir(other)
    assert laptop.travel().parent != first.parent
    monkeypatch.chdir(laptop.repo.path)
    assert laptop.travel() == first


def test_a_branch_below_one_that_is_gone_and_a_shallow_clone_travel(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for branch in ("fix", "fix/login", "fix"):
        laptop.repo.git("checkout", "-q", "main")
        laptop.repo.git("branch", "-D", "fix", check=False)
        laptop.repo.git("branch", "-D", "fix/login", check=False)
        laptop.repo.git("checkout", "-q", "-b", branch)
        assert Repo(laptop.travel(), init=False).git("branch", "--show-current") == branch
    shallow = cloned(laptop.repo, tmp_path / "shallow", "--depth", "1")
    monkeypatch.chdir(shallow.path)
    assert (laptop.travel() / "f3").read_text() == "3\n"


def test_a_branch_that_was_made_there_comes_home_and_never_over_other_commits(laptop: Laptop) -> None:
    there = Repo(laptop.travel(), init=False)
    there.git("checkout", "-q", "-b", "agent/x")
    there.write("f1", "landed\n")
    there.git("commit", "-qam", "landed")
    tip = there.git("rev-parse", "HEAD")
    there.git("checkout", "-q", "-")
    laptop.checkout().branch_home("agent/x")
    assert laptop.repo.git("rev-parse", "agent/x") == tip
    laptop.repo.git("update-ref", "refs/heads/agent/x", "HEAD~1")
    laptop.repo.git("branch", "-f", "agent/x", laptop.repo.commit("other"))
    with pytest.raises(WorkspaceError, match="but not here"):
        laptop.checkout().branch_home("agent/x")


@pytest.mark.parametrize("copy", ["c-0/x", "../../x", "c-0123456789abcdef/../x", "c-0123456789abcdef/.git"])
def test_a_name_that_is_no_copy_is_refused(tmp_path: Path, copy: str) -> None:
    with pytest.raises(GitRefusal):
        serve_git(tmp_path, copy, "upload-pack")
    with pytest.raises(GitRefusal):
        CheckoutCopies(tmp_path).state(copy, "sha1")
