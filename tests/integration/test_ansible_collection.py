"""Holds the Ansible collection to ansible-lint's production profile, and its documents to ansible-doc."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crowd import crowded

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "ansible" / "bin"


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the collection as Ansible looks for it; a copy, since lint writes beside it."""
    top = tmp_path_factory.mktemp("collections")
    place = top / "ansible_collections" / "pancode" / "fleet"
    shutil.copytree(ROOT / "ansible", place, ignore=shutil.ignore_patterns("__pycache__", ".ansible"))
    return top


def _run(collections: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    place = collections / "ansible_collections" / "pancode" / "fleet"
    own = {"ANSIBLE_HOME": str(collections / "h"), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    path = {"PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}
    return subprocess.run(
        [str(BIN / argv[0]), *argv[1:]],
        cwd=place,
        env={**os.environ, **own, **path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200 * crowded(),
        check=False,
    )


def test_lint_finds_nothing_in_its_strictest_profile(collections: Path) -> None:
    done = _run(collections, "ansible-lint", "--offline", "--profile", "production", "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failure(s), 0 warning(s)" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("module", "node"), ("module", "steps"), ("inventory", "fleet")),
        *(("role", "node"), ("role", "redis"), ("role", "coordinator"), ("role", "remove")),
    ],
)
def test_every_part_has_its_document(collections: Path, kind: str, name: str) -> None:
    done = _run(collections, "ansible-doc", "--type", kind, f"pancode.fleet.{name}")
    assert done.returncode == 0 and "OPTIONS" in done.stdout.upper(), done.stderr


def test_it_is_built_into_one_archive(collections: Path, tmp_path: Path) -> None:
    done = _run(collections, "ansible-galaxy", "collection", "build", "--output-path", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["pancode-fleet-0.2.0-dev0.tar.gz"]
