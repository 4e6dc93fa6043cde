"""A sync that is killed before any of its changes of the disk leaves what a second sync completes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pancode.skills.copies as copies
from pancode.skills.copy_requests import SkillsAsked
from tests.unit.pancode.skills.test_copies import AGENTS, CLAUDE, TEXT, do, found, states

WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "shutil.copytree", "open")
KILLED = f"""
import os, runpy, signal, sys
left = int(sys.argv.pop(1))
def before(event, args):
    global left
    writes = event in {WRITES!r} and (event != "open" or args[2] & (os.O_WRONLY | os.O_RDWR))
    if writes and os.environ["HOME"] in str(args[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(before)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def killed(home: Path, after: int, request: dict[str, object]) -> bool:
    """Whether it was killed before so many changes were made."""
    argv = [sys.executable, "-I", "-S", "-c", KILLED, str(after), str(copies.__file__)]
    done = subprocess.run(
        argv, env={"HOME": str(home)}, input=json.dumps(request), capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


@pytest.mark.slow
def test_at_every_write(tmp_path: Path) -> None:
    new = TEXT + "More.\n"
    force = SkillsAsked("sync", tools=("claude", "codex"), force=True, time="t1", found=found(new))
    after = 0
    while True:
        home = tmp_path / str(after)
        home.mkdir()
        do(home, "sync")
        (home / CLAUDE).write_text("mine")
        request = force.request(copies.act(home, force.request()).get("need", []))
        if not killed(home, after, request):
            break
        mine = [home / CLAUDE, home / copies.STATE / "backups/t1/claude/deploy/SKILL.md"]
        assert any(file.is_file() and file.read_text() == "mine" for file in mine), after
        assert set(states(do(home, "sync", new, force=True)).values()) <= {
            "same",
            "missing",
            "old",
            "changed",
        }
        assert (home / CLAUDE).read_text() == new == (home / AGENTS).read_text(), after
        shutil.rmtree(home / copies.STATE / "backups", ignore_errors=True)
        do(home, "remove", None)
        assert list(home.iterdir()) == [], after
        after += 1
    assert after > 10
