"""No path of any spelling leads a file tool out of the checkout, links and races included."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path

import pytest

from node_agent.native.places import NotFound, Outside, Tree
from tests.unit.node_agent.native.tree_of import checkout


class OldKernel(Tree):
    """One without openat2."""

    def _beneath(self, name: str, path: str) -> int:
        return self._open_stepwise(name, path)


@pytest.fixture(params=[Tree, OldKernel])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    made: Tree = request.param(str(checkout(tmp_path)))
    return made


OUT = ["../out/diary", "src/../../out/diary", "out-link", "out-folder/diary", "absolute", "/etc/passwd"]


@pytest.mark.parametrize("path", [*OUT, "{out}/diary", "/proc/self/cwd/../out/diary", "a\0b"])
def test_what_leads_out_is_refused(tree: Tree, tmp_path: Path, path: str) -> None:
    with pytest.raises(Outside), tree.at(path.replace("{out}", str(tmp_path / "out"))):
        pass


@pytest.mark.parametrize("path", ["notes.txt", "./src/../notes.txt", "{top}/notes.txt", "src//..//notes.txt"])
def test_each_spelling_of_what_is_inside_is_the_same_file(tree: Tree, path: str) -> None:
    with tree.at(path.replace("{top}", tree.top)) as spot:
        assert (spot.name, spot.is_file, spot.is_folder) == ("notes.txt", True, False)
        with os.fdopen(spot.opened(os.O_RDONLY)) as file:
            assert file.read().startswith("alpha")


def test_a_link_inside_is_followed_and_known_by_its_real_name(tmp_path: Path) -> None:
    with Tree(str(checkout(tmp_path))).at("inside") as spot:
        assert spot.name == "src/a.py"


def test_an_old_kernel_follows_no_link_at_all(tmp_path: Path) -> None:
    with pytest.raises(Outside, match="cannot be followed"), OldKernel(str(checkout(tmp_path))).at("inside"):
        pass


def test_what_is_judged_is_what_is_opened_whatever_its_name_becomes(tree: Tree, tmp_path: Path) -> None:
    notes = Path(tree.top) / "notes.txt"
    with tree.at("notes.txt") as spot:
        notes.rename(tmp_path / "elsewhere")
        notes.symlink_to(tmp_path / "out" / "diary")
        with os.fdopen(spot.opened(os.O_RDONLY)) as file:
            assert file.read().startswith("alpha")


def test_what_is_not_there_is_told_by_its_path(tree: Tree) -> None:
    for path in ("gone", "src/gone/more", "notes.txt/below", "nowhere"):
        with pytest.raises((NotFound, Outside)), tree.at(path):
            pass


def test_a_new_file_is_made_with_its_folders_and_never_through_a_link(tree: Tree, tmp_path: Path) -> None:
    with tree.folder_for("new/deep/file") as (spot, names):
        assert (spot.name, names) == (".", ("new", "deep", "file"))
        os.close(tree.create(spot, names))
    assert (Path(tree.top) / "new/deep/file").is_file()
    with pytest.raises(Outside), tree.folder_for("out-folder/new"):
        pass
    with tree.folder_for("nowhere") as (spot, names), pytest.raises(OSError) as caught:
        tree.create(spot, names)
    assert caught.value.errno == errno.EEXIST
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["diary"]


def test_a_run_below_the_top_begins_there_and_has_all_of_it(tmp_path: Path) -> None:
    tree = Tree(str(checkout(tmp_path)), "src")
    for path, name in (("a.py", "src/a.py"), ("../notes.txt", "notes.txt")):
        with tree.at(path) as spot:
            assert spot.name == name
    with pytest.raises(Outside), tree.at("../../out/diary"):
        pass


def test_no_descriptor_is_left_open(tree: Tree) -> None:
    gc.collect()  # what a test before this one left behind is closed now, and not while this one counts
    before = len(os.listdir("/proc/self/fd"))
    for path in [*OUT, "notes.txt", "gone", "src/deep/b.py"]:
        try:
            with tree.at(path):
                pass
        except (Outside, NotFound):
            continue
    assert len(os.listdir("/proc/self/fd")) == before
