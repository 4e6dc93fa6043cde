"""Holds the locked requirements to their promise: exact, hashed, no address, in step with pyproject."""

from __future__ import annotations

import re
import runpy
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.clis.install import PACKAGES, Sdk

LOCK = ROOT / "requirements" / "lock.txt"
NODE = ROOT / "requirements" / "node.txt"
FIRST = [ROOT / "requirements" / name for name in ("tools.txt", "coordinator.txt")]
"""What `make demo` installs."""
SDKS = [package.lock for package in PACKAGES.values() if isinstance(package, Sdk)]
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~;\[ ]", requirement)[0]).lower()


def _entries(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """name -> (version, hashes)"""
    joined = lock.read_text().replace("\\\n", " ")
    entries = {}
    for line in joined.splitlines():
        pin = PIN.match(line)
        assert pin, f"{lock.name}: {line[:60]!r} is not an exact version"
        entries[_name(pin["name"])] = (pin["version"], re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line))
    return entries


def _project() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"runtime": project["dependencies"], **project["optional-dependencies"]}


@pytest.mark.parametrize("lock", [LOCK, NODE, *FIRST, *SDKS], ids=lambda p: p.name)
def test_each_entry_is_exact_and_hashed_and_no_address_is_named(lock: Path) -> None:
    for name, (_, hashes) in _entries(lock).items():
        assert hashes, f"{lock.name}: {name} has no hash"
    assert not re.search(r"https?:|file:|--index|--find-links|--extra-index", lock.read_text())


def test_every_declared_dependency_is_locked() -> None:
    wanted, entries = _project(), _entries(LOCK)
    missing = [r for r in wanted["runtime"] + wanted["dev"] if _name(r) not in entries]
    assert not missing, f"{missing} not in requirements/lock.txt: run `make lock`"
    assert not [r for r in wanted["node"] if _name(r) not in _entries(NODE)]


def test_the_node_gets_a_subset_at_the_same_versions() -> None:
    coordinator = _entries(LOCK)
    assert set(_project()["node"]) <= set(_project()["runtime"])
    for name, (pinned, _) in _entries(NODE).items():
        assert coordinator[name][0] == pinned, f"{name}: node {pinned}, coordinator {coordinator[name][0]}"


@pytest.mark.parametrize("lock", FIRST, ids=lambda p: p.name)
def test_what_runs_is_what_the_tests_had(lock: Path) -> None:
    tested = _entries(LOCK)
    assert {name: entry for name, entry in _entries(lock).items() if tested[name] != entry} == {}


def test_what_the_demo_needs_is_installed_for_it() -> None:
    first = {name for lock in FIRST for name in _entries(lock)}
    assert [r for r in _project()["runtime"] if _name(r) not in first] == []


def test_uv_looks_where_pip_looks() -> None:
    """`pip config list` names the files' settings first, then the environment's, which count instead."""
    words = runpy.run_path(str(ROOT / ".ci" / "uv_settings.py"))["words"]
    listed = "global.find-links='/a /b'\nglobal.timeout='9'\nlist.index-url='/no'\n:env:.find-links='/c'\n"
    assert words(listed) == ["--find-links=/c", "--index-strategy=unsafe-best-match"]
    assert words("global.extra-index-url='/a /b'\n")[:2] == ["--index=/a", "--index=/b"]


def test_the_node_list_carries_no_marker() -> None:
    """pip judges a marker by the Python that runs it: the coordinator's, when it builds a bundle."""
    assert ";" not in NODE.read_text()


def test_what_runs_here_is_what_is_locked() -> None:
    entries = _entries(LOCK)
    for requirement in _project()["runtime"]:
        name = _name(requirement)
        assert version(name) == entries[name][0], f"{name}: run `make setup`"
