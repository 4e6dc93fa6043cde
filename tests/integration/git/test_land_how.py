"""Commits of a landing: squashed, merged or replayed, with trailers; a change that is landed already."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pancode.git.landings import LandingGates, LandReport, LandRequest, LandStatus, OnBranch
from pancode.git.runner import GitRefusal
from pancode.git.tree.branch_landing import land_on_branch
from pancode.kernel.states import How
from pancode.kernel.values import replace
from tests.integration.git.coordinator import LINES, Trees, edit_a_line, edit_c
from tests.integration.git.repos import NOW_MS, Repo

TRAILERS = ("Pancode-Run: r-aaaa", "Pancode-Receipt: sha256:abc")


def _land(
    coordinator: Trees, request: LandRequest, how: How, name: str = "agent/x", **more: object
) -> LandReport:
    target = OnBranch(name, "repair it", NOW_MS, how, TRAILERS)
    request = replace(request, base=coordinator.user.head, run="r-aaaa")
    return land_on_branch(coordinator.user.path, coordinator.depot, request, target, **more)  # type: ignore[arg-type]


def _three_commits(agent: Repo) -> None:
    """Two of the agent's own, and one more by `result`; a trailer and a control character are forged."""
    agent.write("c", LINES + "k\n")
    agent.git("add", "-A")
    agent.git("commit", "-q", "-m", "first\x1b[31m\n\nPancode-Run: r-forged\npancode-receipt : x")
    agent.write("d", LINES + "k\n")
    agent.git("add", "-A")
    agent.git("commit", "-q", "-m", "second")
    agent.write("odd 'name\n\"x", "q\n")


def _moved(user: Repo) -> str:
    """A branch with a commit of its own, checked out nowhere."""
    user.git("stash", "-q")
    user.git("checkout", "-q", "-b", "agent/x")
    user.write("theirs", "t\n")
    tip = user.commit("theirs")
    user.git("checkout", "-q", "-")
    user.git("stash", "pop", "-q", "--index")
    return tip


@pytest.mark.parametrize(
    ("how", "subjects"),
    [
        (How.SQUASH, ["repair it", "theirs", "base"]),
        (How.REBASE, ["agent", "second", "first[31m", "theirs", "base"]),
        (How.MERGE, ["repair it", "agent", "second", "first[31m", "theirs", "base"]),
    ],
)
def test_each_way_has_the_same_files_and_its_own_history(
    coordinator: Trees, how: How, subjects: list[str]
) -> None:
    tip, request = _moved(coordinator.user), coordinator.result(_three_commits)
    before, head = coordinator.tree(), coordinator.user.head
    report = _land(coordinator, request, how)
    git = coordinator.user.git
    assert report.status is LandStatus.LANDED and git("rev-parse", "agent/x") == report.commit
    found = git("log", "--topo-order", "--format=%s", "agent/x").splitlines()
    assert sorted(found) == sorted(subjects)
    assert git("diff", "--name-only", "-z", f"{tip}", "agent/x").split("\0")[:-1] == [
        "c", "d", "odd 'name\n\"x",
    ]  # fmt: skip
    made = git("rev-list", "agent/x", f"^{tip}").split()
    for commit in made:
        told = git("log", "-1", "--format=%(trailers)", commit).splitlines()
        assert told == list(TRAILERS), "on every commit that we make, and no forged one"
    parents = git("log", "-1", "--format=%P", "agent/x").split()
    assert len(parents) == (2 if how is How.MERGE else 1) and (how is How.REBASE or parents[0] == tip)
    assert coordinator.tree() == before and coordinator.user.head == head
    assert git("fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("how", list(How))
def test_the_same_again_is_found_and_said(coordinator: Trees, how: How) -> None:
    request = coordinator.result(_three_commits)
    first = _land(coordinator, request, how)
    again = _land(coordinator, request, how)
    assert again.status is LandStatus.NOTHING and "found by ancestry" in again.already
    assert coordinator.user.git("rev-parse", "agent/x") == first.commit


def test_an_equal_patch_is_found_also_where_others_have_gone_on(coordinator: Trees) -> None:
    request, user = coordinator.result(edit_c), coordinator.user
    request = replace(request, base=user.head)
    user.git("stash", "-q")
    user.git("checkout", "-q", "-b", "agent/x")
    for text, words in (("k\n", "picked by hand"), ("another\n", "and changed")):
        user.write("c", LINES + text)
        user.git("commit", "-q", "-m", words, "c")
    picked = user.git("rev-parse", "HEAD^")
    user.git("checkout", "-q", "-")
    report = _land(coordinator, replace(request, run=""), How.SQUASH)
    assert report.status is LandStatus.NOTHING
    assert f"found by an equal patch: commit {picked[:12]}" in report.already


def test_a_change_that_was_taken_back_is_landed_again(coordinator: Trees) -> None:
    request, user = coordinator.result(edit_c), coordinator.user
    _land(coordinator, request, How.SQUASH)
    user.git("worktree", "add", "-q", str(user.path.parent / "other"), "agent/x")
    user.git("-C", str(user.path.parent / "other"), "revert", "--no-edit", "HEAD")
    user.git("worktree", "remove", str(user.path.parent / "other"))
    assert _land(coordinator, request, How.SQUASH).status is LandStatus.LANDED


@pytest.mark.parametrize(("back_again", "status"), [(False, LandStatus.CONFLICT), (True, LandStatus.NOTHING)])
def test_a_change_that_was_taken_back_and_edited_is_a_conflict(
    coordinator: Trees, back_again: bool, status: LandStatus
) -> None:
    request, user = coordinator.result(edit_c), coordinator.user
    _land(coordinator, request, How.SQUASH)
    other = user.path.parent / "other"
    user.git("worktree", "add", "-q", str(other), "agent/x")
    for _ in range(2 if back_again else 1):
        user.git("-C", str(other), "revert", "--no-edit", "HEAD")
    (other / "c").write_text(LINES + "another\n")
    user.git("-C", str(other), "commit", "-qam", "otherwise")
    user.git("worktree", "remove", str(other))
    assert _land(coordinator, request, How.SQUASH).status is status


def test_commits_that_do_not_fit_one_by_one_are_a_conflict(coordinator: Trees) -> None:
    def there_and_back(agent: Repo) -> None:
        agent.write("c", "agent\n")
        agent.git("add", "-A")
        agent.git("commit", "-q", "-m", "another text")
        agent.write("c", LINES)
        agent.write("new", "n\n")

    user = coordinator.user
    user.git("stash", "-q")
    user.git("checkout", "-q", "-b", "agent/x")
    user.write("c", LINES + "mine\n")
    tip = user.commit("mine")
    user.git("checkout", "-q", "-")
    request = coordinator.result(there_and_back)
    report = _land(coordinator, request, How.REBASE)
    assert report.status is LandStatus.CONFLICT and "--how squash" in report.conflicts[0].why
    assert user.git("rev-parse", "agent/x") == tip
    assert _land(coordinator, request, How.SQUASH).status is LandStatus.LANDED


def test_a_branch_that_moves_meanwhile_is_merged_into_anew(coordinator: Trees) -> None:
    """Two sides land at the same time: neither commit is lost, and the gates see each merged tree."""
    first, user = coordinator.result(edit_c), coordinator.user
    second = coordinator.result(edit_a_line)
    seen: list[str] = []

    def gates(merged: object) -> LandingGates:
        if not seen:
            assert _land(coordinator, first, How.SQUASH).status is LandStatus.LANDED
        seen.append("judged")
        return LandingGates(True)

    report = _land(coordinator, replace(second, run="r-bbbb"), How.SQUASH, gates=gates)
    assert report.status is LandStatus.LANDED and len(seen) == 2
    assert user.git("rev-list", "--count", "agent/x").strip() == "3"


def test_a_branch_that_is_being_rebased_and_a_tree_in_a_merge_are_left_alone(coordinator: Trees) -> None:
    request, user = coordinator.result(edit_c), coordinator.user
    user.git("branch", "agent/x")
    (user.path / ".git/rebase-merge").mkdir()
    (user.path / ".git/rebase-merge/head-name").write_text("refs/heads/agent/x\n")
    before = coordinator.tree()
    with pytest.raises(GitRefusal, match="is being rebased"):
        _land(coordinator, request, How.SQUASH)
    with pytest.raises(GitRefusal, match="a git rebase"):
        coordinator.land(request)
    assert coordinator.tree() == before
    assert _land(coordinator, request, How.SQUASH, "agent/y").status is LandStatus.LANDED


def test_a_detached_head_and_a_repository_that_has_vanished(coordinator: Trees, tmp_path: Path) -> None:
    request = coordinator.result(edit_c)
    coordinator.user.git("checkout", "-q", "--detach")
    assert coordinator.land(request).status is LandStatus.LANDED
    coordinator.user.path.rename(tmp_path / "away")
    target = OnBranch("agent/x", "repair it", NOW_MS)
    with pytest.raises(GitRefusal, match=str(coordinator.user.path)):
        coordinator.land(request)
    with pytest.raises(GitRefusal, match=str(coordinator.user.path)):
        land_on_branch(coordinator.user.path, coordinator.depot, request, target)


def _keys(tmp_path: Path, kind: str, phrase: str = "") -> dict[str, str]:
    """An environment in which git is told to sign each commit, with a real key of that kind."""
    around = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    settings = {"commit.gpgsign": "yes", "user.signingkey": "~/key", "gpg.format": "ssh"}
    if kind == "ssh":
        make: tuple[str, ...] = (
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            phrase,
            "-f",
            str(tmp_path / "key"),
        )
    else:
        around["GNUPGHOME"] = str(tmp_path / "g")
        (tmp_path / "g").mkdir(mode=0o700)
        settings |= {"gpg.format": "openpgp", "user.signingkey": "ada@example.org"}
        make = (
            "gpg",
            "--batch",
            "-q",
            "--passphrase",
            phrase,
            "--quick-gen-key",
            "ada@example.org",
            "ed25519",
            "sign",
        )
    subprocess.run(make, env=around, check=True, capture_output=True)
    if kind == "ssh":
        (tmp_path / "signers").write_text(f"ada@example.org {(tmp_path / 'key.pub').read_text()}")
        settings["gpg.ssh.allowedSignersFile"] = str(tmp_path / "signers")
    for key, value in settings.items():
        subprocess.run(("git", "config", "--global", key, value), env=around, check=True)
    return around


@pytest.mark.parametrize("how", list(How))
@pytest.mark.parametrize("kind", ["ssh", "openpgp"])
def test_each_commit_is_signed_where_git_is_told_to_sign(
    coordinator: Trees, how: How, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if shutil.which("gpg" if kind == "openpgp" else "ssh-keygen") is None:
        pytest.skip("that program is not here")
    around = _keys(tmp_path_factory.mktemp("k"), kind)
    tip = _moved(coordinator.user)
    request = replace(coordinator.result(_three_commits), environ=around)
    assert _land(coordinator, request, how).status is LandStatus.LANDED
    asked = ("git", "log", "--format=%G?", "agent/x", f"^{tip}")
    told = subprocess.run(asked, cwd=coordinator.user.path, env=around, check=True, capture_output=True)
    made = {How.SQUASH: 1, How.REBASE: 3, How.MERGE: 4}[how]
    assert set(told.stdout.split()) <= {b"G", b"U"} and len(told.stdout.split()) >= made


def test_a_key_that_wants_a_passphrase_lands_nothing_and_says_how(
    coordinator: Trees, tmp_path_factory: pytest.TempPathFactory
) -> None:
    request = replace(
        coordinator.result(edit_c), environ=_keys(tmp_path_factory.mktemp("k"), "ssh", "secret")
    )
    with pytest.raises(GitRefusal, match="could not sign") as refused:
        _land(coordinator, request, How.SQUASH)
    assert "ssh-add '~/key'" in refused.value.fix and "passphrase" in refused.value.why
    assert not coordinator.user.git("rev-parse", "-q", "--verify", "agent/x", check=False)


def test_a_repository_names_no_program_that_signs(
    coordinator: Trees, tmp_path_factory: pytest.TempPathFactory
) -> None:
    around, ran = _keys(tmp_path_factory.mktemp("k"), "ssh"), tmp_path_factory.mktemp("r") / "ran"
    for key in ("gpg.ssh.program", "gpg.program"):
        coordinator.user.git("config", key, f"touch {ran}; false")
    request = replace(coordinator.result(edit_c), environ=around)
    assert _land(coordinator, request, How.SQUASH).status is LandStatus.LANDED and not ran.exists()
