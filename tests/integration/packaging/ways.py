"""The three ways in which users install a Python program, each in a place of its own, without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.owner import PATH
from tests.integration.packaging.wheelhouse import wheelhouse

INSTALL_S = 400
TOOLS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Installed:
    """A `pancode` that somebody has installed: its command, its Python, and whose environment that is."""

    command: Path
    python: Path
    env: Mapping[str, str]
    folder: Path

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.call([str(self.command), *words], **more)

    def call(self, argv: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        env = {**self.env, **more}
        return subprocess.run(
            argv, cwd=self.folder, env=env, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )


def install(way: str, root: Path, wheel: Path, on: str = sys.executable) -> Installed:
    """`root` is a new home, and all that the installation may touch; `on` the Python to install for."""
    for name in ("home", "tmp", "elsewhere"):
        (root / name).mkdir(parents=True)
    env = {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "PATH": PATH, "LANG": "C.UTF-8"}
    commands, command, python = WAYS[way](root, wheel, on)
    for argv, more in commands:
        done = subprocess.run(
            argv,
            cwd=root / "elsewhere",
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return Installed(command, python, env, root / "elsewhere")


Step = tuple[list[str], dict[str, str]]
Steps = tuple[list[Step], Path, Path]
"""Each command with its variables; then the command `pancode` and the Python that it runs on."""


def _pip(root: Path, wheel: Path, on: str) -> Steps:
    place = root / "own"
    pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", *_offline(on), str(wheel)]
    steps: list[tuple[list[str], dict[str, str]]] = [
        ([on, "-m", "venv", str(place)], {}),
        (pip, {}),
    ]
    return steps, place / "bin/pancode", place / "bin/python"


def _pipx(root: Path, wheel: Path, on: str) -> Steps:
    env = {"PIPX_HOME": str(root / "pipx"), "PIPX_BIN_DIR": str(root / "bin")}
    argv = [str(TOOLS / "pipx"), "install", "--python", on]
    argv += ["--pip-args", " ".join(_offline(on)), str(wheel)]
    return [(argv, env)], root / "bin/pancode", root / "pipx/venvs/pancode/bin/python"


def _uv(root: Path, wheel: Path, on: str) -> Steps:
    env = {
        "UV_TOOL_DIR": str(root / "tools"),
        "UV_TOOL_BIN_DIR": str(root / "bin"),
        "UV_CACHE_DIR": str(root / "uv"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
    }
    argv = [str(TOOLS / "uv"), "tool", "install", "--quiet", "--offline", "--python", on]
    return (
        [([*argv, *_offline(on), str(wheel)], env)],
        root / "bin/pancode",
        root / "tools/pancode/bin/python",
    )


def _offline(on: str) -> list[str]:
    return ["--no-index", "--find-links", str(wheelhouse(on))]


WAYS = {"pip": _pip, "pipx": _pipx, "uv": _uv}
