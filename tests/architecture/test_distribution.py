"""Builds the wheel and looks inside: both packages, what goes to nodes, and nothing that is ours alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, modules


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_it_holds_both_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"pancode/py.typed", "node_agent/py.typed"} <= names
    missing = {path.as_posix() for path in modules("pancode", "node_agent")} - names
    tops = {Path(name).parts[0] for name in names}
    assert not missing and tops == {
        "pancode",
        "node_agent",
        next(t for t in tops if t.endswith(".dist-info")),
        next(t for t in tops if t.endswith(".data")),
    }


def test_an_installed_coordinator_has_the_locked_list_for_nodes(wheel: zipfile.ZipFile) -> None:
    carried = wheel.read("pancode/adapters/bundle/node-requirements.txt")
    assert carried == (ROOT / "requirements" / "node.txt").read_bytes()


def test_it_brings_the_two_commands_and_the_licence(wheel: zipfile.ZipFile) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = f"pancode-{version}.dist-info"
    entries = wheel.read(f"{about}/entry_points.txt").decode()
    assert "pancode-node = node_agent.cli:main" in entries
    started = wheel.read(f"pancode-{version}.data/scripts/pancode").decode()
    assert started == (ROOT / "pancode/start.py").read_text()
    assert wheel.read(f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert f'__version__ = "{version}"' in wheel.read("pancode/__init__.py").decode()
