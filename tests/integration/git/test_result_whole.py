"""Each file that an agent leaves is in the result, or git ignores it, or the result is incomplete."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from node_agent.workspace import result
from pancode.git.depot import Depot
from tests.integration.git.repos import Repo, tree_of
from tests.integration.git.test_result import Bench

LARGE = 2_000
FOLDERS = ("", "web", "web/inner", "docs", ".github", "node_modules", "sub dir", "ünï")
NAMES = (
    "a",
    "b.txt",
    "ig",
    ".gitignore",
    ".git",
    ".GIT",
    "git~1",
    ".gitmodules",
    "-x",
    "new\nline",
    "ü",
    "HEAD",
)
ACTS = ("small", "large", "empty", "link", "dangling", "program", "unreadable")
files = st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES), st.sampled_from(ACTS))
repositories = st.sets(st.sampled_from(FOLDERS[1:]), max_size=3)


def write(folder: Path, name: str, act: str) -> None:
    """Leave a file as an agent might; what cannot be there is left out."""
    path = folder / name
    if os.path.lexists(path) or not folder.is_dir():
        return
    match act:
        case "link":
            path.symlink_to("a")
        case "dangling":
            path.symlink_to("/nowhere")
        case _:
            path.write_bytes(b"" if act == "empty" else name.encode() * (LARGE if act == "large" else 1))
            path.chmod({"program": 0o755, "unreadable": 0}.get(act, 0o644))


def left_files(tree: Path) -> list[str]:
    """The names of the files in a tree, but for those of repositories."""
    found = []
    for folder, folders, names in os.walk(tree):
        folders[:] = [one for one in folders if one != ".git"]
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        found += [os.path.relpath(os.path.join(folder, one), tree) for one in (*names, *links)]
    return [name for name in found if name != ".git"]  # at the top it is ours


def is_ignored(tree: Path, name: str) -> bool:
    """Whether git ignores it, by the rules of the repository that it is in."""
    folder = (tree / name).parent
    argv = ["git", "check-ignore", "-q", "--no-index", "--", os.path.basename(name)]
    return subprocess.run(argv, cwd=folder, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(made=st.lists(files, max_size=8), nested=repositories)
def test_each_file_is_held_ignored_or_missing(
    tmp_path_factory: pytest.TempPathFactory,
    depot: Depot,
    made: list[tuple[str, str, str]],
    nested: set[str],
) -> None:
    bench = Bench(tmp_path_factory.mktemp("whole"), depot)
    tree = bench.agent.path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "MAX_FILE", LARGE)
        for folder in sorted(nested):
            (tree / folder).mkdir(parents=True, exist_ok=True)
            Repo(tree / folder)
        for folder, name, act in made:
            (tree / folder).mkdir(parents=True, exist_ok=True)
            write(tree / folder, name, act)
        before = left_files(tree)
        ignored = {name for name in before if is_ignored(tree, name)}
        done = bench.commit()
    held = bench.delivered(done) if done.commit is not None else tree_of(depot, bench.taken)
    lost = set(before) - set(held) - ignored
    assert not lost or done.missing, lost
