"""Determines the commit of this code: from the build, or from git in a clone; standard library only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

UNKNOWN = "unknown"
WRITTEN = "commit.txt"
"""The file with the commit, in the package in each sdist and wheel."""
CHARS = 12
GIT_S = 10


def read_commit() -> str:
    """Return the commit of this code, with `+dirty` if files differ; `unknown` if it cannot be determined."""
    package = Path(__file__).resolve().parent
    return commit_of(package.parent, package / WRITTEN)


def commit_of(root: Path, written: Path) -> str:
    """Return the commit written at build time, or that of git's answer if `root` is the clone itself."""
    try:
        return written.read_text(encoding="ascii").strip() or UNKNOWN
    except FileNotFoundError:
        # otherwise git would report an unrelated repository around the folder
        if not (root / ".git").exists():
            return UNKNOWN
        head = _run_git(root, "rev-parse", f"--short={CHARS}", "HEAD")
        if not head:
            return UNKNOWN
        changed = _run_git(root, "status", "--porcelain")
        return UNKNOWN if changed is None else f"{head}+dirty" if changed else head


def _run_git(root: Path, *words: str) -> str | None:
    """Return git's output; None if git fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    argv = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
