"""`pancode land --push`: what the remote says is shown, and the fix is not what it has just refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pancode.cli.land.verbs import push
from pancode.errors import WorkspaceError
from tests.integration.git.repos import Repo, simple

FACE: Any = SimpleNamespace(note=lambda text: None)
WORDS = [f"line {number} of the house's rule" for number in range(6)]


@pytest.fixture
def user(tmp_path: Path) -> Repo:
    """With a remote `origin`, and a branch `t` that it does not have."""
    repo = simple(tmp_path / "user")
    repo.git("init", "-q", "--bare", "../bare")
    repo.git("remote", "add", "origin", str(tmp_path / "bare"))
    repo.git("branch", "t")
    return repo


def _refused(user: Repo) -> WorkspaceError:
    with pytest.raises(WorkspaceError) as caught:
        push(FACE, "origin", "t", {"status": "landed", "tree": str(user.path)})
    assert caught.value.code == "not_pushed"
    return caught.value


def test_a_hook_that_refuses(user: Repo, tmp_path: Path) -> None:
    hook = tmp_path / "bare" / "hooks" / "update"
    hook.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(f'"{line}"' for line in WORDS) + " >&2\nexit 1\n")
    hook.chmod(0o755)
    error = _refused(user)
    assert all(f"remote: {line}" in str(error.why) for line in WORDS) and "[remote rejected]" in str(
        error.why
    )
    assert "git push origin t:OTHER" in error.fix and not error.fix.endswith("origin t")


def test_a_branch_that_somebody_else_has_moved(user: Repo) -> None:
    user.git("push", "-q", "origin", "HEAD~0:refs/heads/t")
    user.git("branch", "-f", "t", "HEAD~1")
    error = _refused(user)
    assert error.fix.startswith("git fetch origin && git rebase origin/t t") and "rejected" in str(error.why)


def test_a_remote_that_gives_no_answer(user: Repo) -> None:
    user.git("remote", "set-url", "origin", "/no/where")
    error = _refused(user)
    assert error.fix.startswith("mend that (git ls-remote origin has to answer)") and "/no/where" in str(
        error.why
    )
