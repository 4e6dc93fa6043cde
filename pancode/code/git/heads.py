"""Asks where the head of a branch is: of a folder of this machine, or of a server by HTTPS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node_agent.wire.git import GitCall, GitDone
from pancode.code.git.remotes import users_git
from pancode.code.git.safe import GitFailure, run_git, safe_env
from pancode.errors import NotFoundError

TIMEOUT_S = 20.0
HTTPS = "https://"


def head_of(repo: str, branch: str) -> str:
    """The commit. NotFoundError for a repository or branch that is not there or cannot be read."""
    ref = f"refs/heads/{branch}"
    done = _asked_server(repo, ref) if repo.startswith(HTTPS) else _asked_folder(repo, ref)
    commit = done.text().split()[:1] if done.ok else []
    if not commit:
        raise NotFoundError(
            f"{repo} has no branch {branch} that can be read",
            why=done.err or "git names no commit of it",
            fix=f"git ls-remote {repo} {ref}",
            code="branch_not_found",
        )
    return commit[0]


def _asked_server(repo: str, ref: str) -> GitDone:
    git = users_git(Path("/"), {"protocol.https.allow": "always"})
    return _run(("ls-remote", "--exit-code", "--", repo, ref), git.env, git.cwd)


def _asked_folder(repo: str, ref: str) -> GitDone:
    if not Path(repo).is_dir():
        return GitDone(1, b"", f"{repo} is no folder of this machine")
    args = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return _run(args, safe_env({"safe.directory": "*"}), Path(repo))


def _run(args: tuple[str, ...], env: Mapping[str, str], cwd: Path) -> GitDone:
    try:
        return run_git(GitCall(args, env, cwd, timeout_s=TIMEOUT_S))
    except GitFailure as exc:
        return GitDone(1, b"", str(exc))
