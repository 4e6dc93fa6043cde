"""Builds the wheel and looks inside: both packages, what goes to nodes, and nothing that is ours alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from docs.generate.man import manual_pages
from pancode.commit import read_commit
from tests.architecture.sources import ROOT, modules


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _build(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (built,) = dist.glob("*.whl")
    return zipfile.ZipFile(built)


def _build(folder: Path) -> None:
    done = subprocess.run([".ci/dist", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


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
    carried = wheel.read("pancode/fleet/bundle/node-requirements.txt")
    assert carried == (ROOT / "requirements" / "node.txt").read_bytes()


def test_it_brings_the_two_commands_and_the_licence(wheel: zipfile.ZipFile) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = f"pancode-{version}.dist-info"
    entries = wheel.read(f"{about}/entry_points.txt").decode()
    assert "pancode = pancode.__main__:main" in entries
    assert "pancode-node = node_agent.cli.main:main" in entries
    assert wheel.read(f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert f'__version__ = "{version}"' in wheel.read("pancode/__init__.py").decode()


def test_it_brings_the_manual_to_where_man_looks(wheel: zipfile.ZipFile) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    place = f"pancode-{version}.data/data/share/man/man1/"
    carried = {
        name.removeprefix(place): wheel.read(name).decode() for name in wheel.namelist() if place in name
    }
    assert carried == manual_pages()


def test_it_names_the_commit_that_it_was_built_of(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("pancode/commit.txt").decode() == f"{read_commit()}\n"


def test_the_same_input_gives_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    """Whenever it is built: the times inside are the commit's."""
    _build(tmp_path)
    assert len(_digests(dist)) == 2 and _digests(dist) == _digests(tmp_path)


def test_an_sdist_alone_gives_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    """Unpacked inside another repository, whose commit is none of ours."""
    (sdist,) = dist.glob("*.tar.gz")
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    shutil.unpack_archive(sdist, other, filter="data")
    (tree,) = other.glob("pancode-*")
    written = (tree / "pancode/commit.txt").read_text()
    assert written == f"{read_commit()}\n"
    env = {**os.environ, "SOURCE_DATE_EPOCH": _time_of_the_commit()}
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "alone")]
    done = subprocess.run(argv, cwd=tree, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _digests(tmp_path / "alone").items() <= _digests(dist).items()


def _time_of_the_commit() -> str:
    argv = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
