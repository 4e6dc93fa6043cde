"""`pancode land --push`: the branch of a landing to a remote, with the user's own git and its credentials."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Any

from pancode.caller import folder_here
from pancode.cli.face import Face
from pancode.cli.land.landing import FINE
from pancode.cli.output.render import safe
from pancode.errors import WorkspaceError
from pancode.remote.place import remote_of


def check_push(push_to: tuple[str, str] | None) -> None:
    """UsageError where the repository is on another machine: it is that machine's git that pushes."""
    there = remote_of(os.environ)
    if push_to is not None and there is not None:
        fix = there.address.by_hand(f"pancode land RUN --push {shlex.join(push_to)}")
        raise there.refuse("--push does not work from here: git has to run in the repository", fix)


def push(face: Face, remote: str, branch: str, report: dict[str, Any]) -> dict[str, Any]:
    """Nothing is forced, and nothing is pushed that did not land. WorkspaceError where git refuses."""
    if report["status"] not in FINE:
        return report
    tree = report.get("tree") or folder_here()
    ref = f"refs/heads/{branch}"
    face.note(f"  pushing {safe(branch)} to {safe(remote)}")
    done = subprocess.run(
        ["git", "-C", tree, "push", "--", remote, f"{ref}:{ref}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise WorkspaceError(
            f"landed on {branch}, and not pushed to {remote}",
            why="; ".join(map(safe, words[-3:])),
            fix=f"git push {remote} {branch}",
            code="not_pushed",
        )
    return {**report, "pushed": {"remote": remote, "branch": branch}}
