"""What a user's own ssh and editors are told about a folder on a node."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pancode.fleet.login import ENTER, describe_remotes
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.kernel.declared import to_json

ODD = "/home/a b/$(id)/tree"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target("gpubox", "10.0.0.7", 22, "ana"), "gpubox"),
        (Target("10.0.0.7", "10.0.0.7", 2222, "ana"), "ana@10.0.0.7:2222"),
        (Target("fd00::7", "fd00::7", 22, "ana"), "ana@[fd00::7]:22"),
    ],
)
def test_another_machine_is_named_as_its_owner_names_it(target: Target, said: str) -> None:
    ways = describe_remotes(to_json(reach_to(target)), ODD)
    assert ways["host"] == said
    assert shlex.split(ways["code"]) == ["code", "--remote", f"ssh-remote+{said}", ODD], "one word of a shell"
    assert shlex.split(ways["zed"]) == ["zed", f"ssh://{said}/home/a%20b/%24%28id%29/tree"]
    assert ways["ssh"].startswith("ssh gpubox -t " if said == "gpubox" else "ssh -p ")


def test_this_machine_needs_no_ssh() -> None:
    here: dict[str, Any] = to_json(reach_to(Target("desk", "127.0.0.1", 22, "ana"), local=True))
    assert describe_remotes(here, "/a b") == {"host": None, "ssh": "cd '/a b'", "code": "code '/a b'"}


@pytest.mark.parametrize("tmux", [False, True])
def test_the_end_of_a_shell_writes_nothing_into_the_folder(tmp_path: Path, tmux: bool) -> None:
    """An agent can have left any link there, and what is written outside of a sandbox follows it."""
    victim, tree, programs = tmp_path / "authorized_keys", tmp_path / "tree", tmp_path / "bin"
    victim.write_text("ssh-ed25519 AAAA")
    (tree / ".pancode").mkdir(parents=True)
    for name in (".pancode/left", "rest-1", "left"):
        (tree / name).symlink_to(victim)
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    if tmux:  # runs what the session would run, and then has none
        (programs / "tmux").write_text('#!/bin/sh\n[ "$1" = new-session ] || exit 1\nshift 6\nexec "$@"\n')
        (programs / "tmux").chmod(0o700)
    argv = ["/bin/sh", "-c", ENTER, "pancode", str(tree), "pancode-r-1"]
    done = subprocess.run(argv, env={"PATH": str(programs), "SHELL": "/bin/true"}, check=False)
    assert done.returncode == 0
    assert victim.read_text() == "ssh-ed25519 AAAA"
