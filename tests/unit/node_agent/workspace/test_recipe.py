"""What a kept set-up hangs on: any difference in it is another key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.order import Workspace
from node_agent.workspace.recipe import LOCKFILES, NotCached, key_of, machine
from tests.unit.node_agent.stage import SNAPSHOT, identity, order_of

NPM = {"setup": (("npm", "ci"),), "cache": ("node_modules",)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "package-lock.json").write_text("{}\n")
    (tmp_path / "index.js").write_text("1\n")
    return tmp_path


def key(tree: Path, on: str = "m", **changes: Any) -> str:
    return key_of(order_of(**{**NPM, **changes}), tree, on)


def test_the_same_recipe_has_the_same_key(tree: Path) -> None:
    first = key(tree)
    other = Workspace(kind="git", repo="repo-1", base=SNAPSHOT, snapshot="b" * 40)
    (tree / "index.js").write_text("2\n")
    assert key(tree, identity=identity("r-other"), workspace=other, task="else") == first
    folders = key(tree, cache=("a", "b"))
    assert folders == key(tree, cache=("b", "a")) != first


def test_every_difference_is_another_key(tree: Path) -> None:
    stranger = Workspace(kind="git", repo="repo-2", base=SNAPSHOT, snapshot=SNAPSHOT)
    keys = [
        key(tree),
        key(tree, on="n"),
        key(tree, setup=(("npm", "ci", "-q"),)),
        key(tree, setup=(("npm",), ("ci",))),
        key(tree, cache=("node_modules", "dist")),
        key(tree, workspace=stranger),
    ]
    (tree / "package-lock.json").write_text("{} \n")
    keys.append(key(tree))
    (tree / "requirements-dev.txt").write_text("pytest\n")
    keys.append(key(tree))
    assert len(set(keys)) == len(keys)


def test_a_script_of_the_repository_that_set_up_runs_is_part_of_it(tree: Path) -> None:
    script = tree / "tools" / "setup.sh"
    script.parent.mkdir()
    script.write_text("npm ci\n")
    by_script: dict[str, Any] = {"setup": (("sh", "./tools/setup.sh", "/etc/hosts", "../x", "no\0name"),)}
    before = key(tree, **by_script)
    assert key(tree, **by_script) == before
    script.write_text("npm ci -q\n")
    assert key(tree, **by_script) != before


@pytest.mark.parametrize("name", [name.replace("*", "-x") for name in LOCKFILES])
def test_lockfiles(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotCached, match="has no lockfile"):
        key(tmp_path)
    (tmp_path / name).write_text("1\n")
    assert key(tmp_path)


def test_a_lockfile_that_is_a_link_is_not_judged(tree: Path) -> None:
    (tree / "yarn.lock").symlink_to("package-lock.json")
    with pytest.raises(NotCached, match=r"yarn\.lock is no plain file"):
        key(tree)


def test_the_machine_is_named() -> None:
    assert "python 3." in machine() and machine() == machine()


def test_a_script_behind_a_link_is_not_looked_at(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It may lead out of the checkout, and the node agent may read more than the run."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "setup.sh").write_text("secret\n")
    (tree / "tools").symlink_to(outside)
    with pytest.raises(NotCached, match=r"tools/setup\.sh lies behind a link"):
        key(tree, setup=(("sh", "tools/setup.sh"),))
