"""Real shells and systemd's own checker read what we would run on a node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pancode.fleet.ssh.scripts import install as install_scripts
from pancode.fleet.ssh.scripts import link as scripts
from pancode.fleet.ssh.scripts import removal
from pancode.fleet.ssh.unit import Unit

ALL_SCRIPTS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (scripts, install_scripts, removal)
    for name in dir(module)
    if name.isupper() and name[0] != "_" and name not in ("BEGIN", "END", "AGENT", "TOOL_FOLDERS")
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not built yet: no systemd-analyze here")
@pytest.mark.parametrize("folder", ["plain", "it's $HOME 100% é"])
def test_systemd_itself_accepts_the_unit(tmp_path: Path, folder: str) -> None:
    home = tmp_path / folder
    (home / "n").mkdir(parents=True)
    unit = Unit("f1", str(home / "n"), ("/bin/sh", "-c", "true", f"{home}/n/current/start.py"))
    path = tmp_path / unit.name
    path.write_text(unit.text())
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0 and unit.name not in done.stderr, done.stderr


@pytest.mark.parametrize("name", ALL_SCRIPTS)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_scripts_are_whole_before_they_start_and_read_nothing_else(name: str, shell: str) -> None:
    text = ALL_SCRIPTS[name]
    assert text.rstrip().endswith('main "$@" </dev/null')
    done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    cut = subprocess.run([shell, "-s"], input=text[:-20], capture_output=True, text=True, check=False)
    assert scripts.BEGIN not in cut.stdout


def test_a_node_home_in_a_repository_is_not_seen_by_git(tmp_path: Path) -> None:
    """A login's home may be a repository (dotfiles): a snapshot of it must not carry the node's key."""
    home = tmp_path / ".pancode-node/f-1"
    for changed in ("yes", "no"):
        made = subprocess.run(
            ["sh", "-s", str(home), "f-1"],
            input=install_scripts.MAKE_HOME,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"changed={changed}" in made.stdout
    (home / "key/node.key").write_text("secret")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    seen = subprocess.run([*git, "ls-files", "-o", "--exclude-standard"], check=True, capture_output=True)
    assert seen.stdout == b""
