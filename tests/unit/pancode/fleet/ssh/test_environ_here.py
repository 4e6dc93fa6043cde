"""What a node on this machine has of the environment of its coordinator."""

from __future__ import annotations

from pathlib import Path

from pancode.fleet.ssh.loopback.server import default_path, environ_here


def test_nothing_of_pancodes_own_environment_reaches_a_run(tmp_path: Path) -> None:
    """README puts our virtual environment first in PATH, also by another name of its folder."""
    ours = tmp_path / "project" / ".venv"
    (ours / "bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "project")
    theirs = str(tmp_path / "theirs" / ".venv" / "bin")
    path = f"{ours}/bin:{tmp_path}/link/.venv/bin/:{theirs}:/usr/bin"
    environ = {"PATH": path, "VIRTUAL_ENV": str(ours), "LANG": "C.UTF-8", "API_KEY": "k"}
    assert environ_here(environ, str(ours), "/usr") == {
        **{"PATH": f"{theirs}:/usr/bin", "LANG": "C.UTF-8", "PANCODE_PYTHON_BIN": "/usr/bin"},
    }


def test_without_an_environment_of_its_own_the_path_stays() -> None:
    assert (
        environ_here({"PATH": "/usr/local/bin:/usr/bin"}, "/usr", "/usr")["PATH"] == "/usr/local/bin:/usr/bin"
    )
    assert environ_here({}, "/a", "/usr")["PATH"] == default_path()
