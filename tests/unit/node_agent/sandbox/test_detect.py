"""What bubblewrap says when it cannot becomes the package or kernel setting that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.sandbox.detect import detect, explained
from node_agent.sandbox.policy import System


@pytest.mark.parametrize(
    ("said", "why", "fix"),
    [
        ("bwrap: setting up uid map: Permission denied", "AppArmor", "apparmor_restrict_unprivileged_userns"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmor", "apparmor_restrict"),
        ("bwrap: No permissions to create new namespace, likely because", "switched off", "userns_clone=1"),
        ("bwrap: No permissions to creating new namespace", "a container", "seccomp"),
        (
            "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded",
            "no user namespaces are left",
            "user.max_user_namespaces",
        ),
        (
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
            "hides",
            "outside of the container",
        ),
        ("bwrap: Unknown option --disable-userns", "older than 0.8", "bubblewrap"),
        ("two lines\nbwrap: something new", "bubblewrap failed: bwrap: something new", "see its message"),
    ],
)
def test_its_words_become_a_fix(said: str, why: str, fix: str) -> None:
    found = explained(said)
    assert found.tools is None and found.problem is not None
    assert found.problem.what.startswith("no sandbox: ") and why in found.problem.what
    assert fix in found.problem.fix


def test_a_machine_without_it_says_which_package(tmp_path: Path) -> None:
    found = detect(str(tmp_path), tmp_path / "wall", System(), is_root=False)
    assert found.tools is None and found.problem is not None
    assert "not installed" in found.problem.what and "apt-get install bubblewrap" in found.problem.fix


def test_root_needs_the_means_to_step_down(tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\n")
    (tmp_path / "bwrap").chmod(0o755)
    found = detect(str(tmp_path), tmp_path / "wall", System(), is_root=True)
    assert found.problem is not None and "setpriv" in found.problem.what
