"""`pancode land --push`: the branch of a landing to a remote, with the user's own git and its credentials."""

from __future__ import annotations

import subprocess
from typing import Any

from pancode.cli.face import Face, here
from pancode.cli.land.landing import FINE
from pancode.cli.output.render import safe
from pancode.errors import WorkspaceError


def push(face: Face, remote: str, branch: str, report: dict[str, Any]) -> dict[str, Any]:
    """Nothing is forced, and nothing is pushed that did not land. WorkspaceError where git refuses."""
    if report["status"] not in FINE:
        return report
    tree = report.get("tree") or here()
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
