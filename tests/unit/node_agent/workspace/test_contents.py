"""What a kept folder holds, and what in it names the place where it was made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.workspace.contents import contents_of, move_place

HOME, ELSEWHERE = b"/r-aaaa.1.1/tree", b"/r-bbbbbbb.2.13/tree"
THERE = f"/home/x/work{HOME.decode()}/.venv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in (("bin/tool", "#!/usr/bin/env node\n"), ("lib/a.py", "1\n"), ("lib/b/c.py", "2\n")):
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).write_text(data)
    (tmp_path / "f" / "bin" / "tool").chmod(0o755)
    (tmp_path / "f" / "bin" / "python").symlink_to("/usr/bin/python3")
    return tmp_path / "f"


def _longer(folder: Path) -> None:
    (folder / "lib" / "a.py").write_text("11\n")


def _later(folder: Path) -> None:
    os.utime(folder / "lib" / "a.py", (1, 1))


def _executable(folder: Path) -> None:
    (folder / "lib" / "a.py").chmod(0o755)


def _renamed(folder: Path) -> None:
    (folder / "lib" / "a.py").rename(folder / "lib" / "z.py")


def _moved(folder: Path) -> None:
    (folder / "lib" / "b" / "c.py").rename(folder / "lib" / "c.py")


def _relinked(folder: Path) -> None:
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to("/usr/bin/python4")


@pytest.mark.parametrize("change", [_longer, _later, _executable, _renamed, _moved, _relinked])
def test_any_change_is_seen(folder: Path, change: Callable[[Path], None]) -> None:
    before = contents_of(folder)
    assert contents_of(folder) == before and before.size > 0
    change(folder)
    assert contents_of(folder).digest != before.digest


def test_nothing_names_its_place(folder: Path) -> None:
    (folder / "lib" / "why.txt").write_text(THERE)  # words that no program follows
    (folder / "lib" / "pnpm").write_text(f"#!/bin/sh\nbasedir=.\nexport NODE_PATH={THERE}\n")
    (folder / "lib" / "pnpm").chmod(0o755)
    assert contents_of(folder, HOME).bound == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bin/pip", f"#!{THERE}/bin/python\nimport pip\n"),
        ("bin/pip", f"#!/bin/sh\n'''exec' {THERE}/bin/python \"$0\" \"$@\"\n' '''\n"),
        ("bin/activate", f"{'#' * 5000}\nVIRTUAL_ENV='{THERE}'\n"),
        ("lib/site-packages/_mine.pth", f"{THERE}/src\n"),
        ("lib/mine.egg-link", f"{THERE}/src\n"),
        ("lib/mine.dist-info/direct_url.json", f'{{"url": "file://{THERE}"}}'),
        ("lib/site-packages/__editable___mine_finder.py", f"MAPPING = {{'mine': '{THERE}/mine'}}\n"),
        ("bin/activate.fish", f"set -gx VIRTUAL_ENV '{THERE}'\n"),
    ],
)
def test_what_names_its_place_is_told_of_another(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    assert contents_of(folder, HOME).bound == (name,)
    assert contents_of(folder, ELSEWHERE).bound == ()
    os.utime(folder / name, (1, 1))
    move_place(folder, (name,), HOME, ELSEWHERE)
    assert (folder / name).read_text() == text.replace(HOME.decode(), ELSEWHERE.decode())
    now = (folder / name).stat()
    assert now.st_mode & 0o777 == 0o755 and now.st_mtime > 1, "what was compiled of it is old"
    assert contents_of(folder, HOME).bound == () and contents_of(folder, ELSEWHERE).bound == (name,)


def test_a_link_into_the_checkout_names_it_too(folder: Path) -> None:
    (folder / "lib" / "mine").symlink_to(f"{THERE}/src")
    assert contents_of(folder, HOME).bound == ("lib/mine",)
    move_place(folder, ("lib/mine",), HOME, ELSEWHERE)
    assert os.readlink(folder / "lib/mine") == f"{THERE}/src".replace(HOME.decode(), ELSEWHERE.decode())


def test_a_link_that_has_taken_the_place_of_a_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text(THERE)
    (folder / "x.pth").symlink_to(tmp_path / "outside")
    move_place(folder, ("x.pth",), HOME, ELSEWHERE)
    assert (tmp_path / "outside").read_text() == THERE


def test_names_of_any_bytes(folder: Path) -> None:
    before = contents_of(folder).digest
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9\n")).write_text("x")
    assert contents_of(folder).digest != before


def test_what_is_no_file_cannot_be_kept(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(ValueError, match="pipe is no file"):
        contents_of(folder)
