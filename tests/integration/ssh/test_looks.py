"""A look says what its script would then do, and changes nothing: both by a real shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pancode.fleet.ssh.scripts import checks
from pancode.fleet.ssh.scripts import install as install_scripts
from pancode.fleet.ssh.scripts.link import parse_report

LINE, MARK = "ssh-ed25519 AAAA pancode fleet f1", "pancode fleet f1"


def said(text: str, home: Path, *args: str) -> str:
    argv = ["sh", "-s", "--", *args]
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, input=text, env=env, capture_output=True, text=True, check=True)
    return dict(parse_report(done.stdout))["changed"]


def listing(home: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.lstat().st_mode, p.lstat().st_mtime_ns) for p in home.rglob("*"))


@pytest.mark.parametrize(
    ("look", "script", "args"),
    [
        (checks.HOME, install_scripts.MAKE_HOME, ("{}/node", "f1")),
        (checks.FOLDERS, install_scripts.MAKE_FOLDERS, ("{}/a/b",)),
        (checks.POINT, install_scripts.POINT, ("{}", "b1")),
        (checks.FLEET_KEY, install_scripts.ADD_FLEET_KEY, (LINE, MARK)),
    ],
)
def test_a_look_agrees_with_its_script(tmp_path: Path, look: str, script: str, args: tuple[str, ...]) -> None:
    words = tuple(arg.format(tmp_path) for arg in args)
    before = listing(tmp_path)
    assert said(look, tmp_path, *words) == "yes"
    assert listing(tmp_path) == before
    assert said(script, tmp_path, *words) == "yes"
    after = listing(tmp_path)
    assert said(look, tmp_path, *words) == "no"
    assert listing(tmp_path) == after
    assert said(script, tmp_path, *words) == "no"


@pytest.mark.parametrize("look", [checks.STARTED, checks.AT_WORK])
def test_no_agent_is_at_work_in_a_fresh_home(tmp_path: Path, look: str) -> None:
    meant = "yes" if look == checks.STARTED else "no"
    assert said(look, tmp_path, str(tmp_path), "keep") == meant
