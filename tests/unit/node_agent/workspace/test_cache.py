"""Kept folders: whole or absent, in and out by copy, few, and none that somebody uses goes away."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from node_agent.attempt.ports import StepFailed
from node_agent.machine.discovery import set_ups
from node_agent.wire.keep import KEEP
from node_agent.workspace.cache import MOST_ENTRIES, Cache, contents_of, move_place

NOW = 2_000_000_000_000


class Bench:
    """A cache, a folder to keep, and a place to put it back."""

    def __init__(self, root: Path) -> None:
        self.root, self.source, self.back = root / "cache", root / "lib", root / "back"
        self.cache = Cache(self.root)
        self.source.mkdir()
        (self.source / "a").write_text("1\n")
        os.link(self.source / "a", self.source / "b")
        (self.source / "c").symlink_to("a")

    def put(self, key: str = "k", source: Path | None = None) -> None:
        path = source or self.source
        self.cache.put(key, "r-aaaa.1.1", {"lib": (path, contents_of(path))})

    def fetch(self, key: str = "k") -> bool:
        return self.cache.fetch(key, ["lib"], self._move) is not None

    def _move(self, maker: str, copies: Mapping[str, Path]) -> None:
        copies["lib"].rename(self.back)

    def names(self) -> set[str]:
        return set(os.listdir(self.root)) if self.root.is_dir() else set()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_machine_tells_of_which_repositories_it_keeps_what_set_up_made(bench: Bench) -> None:
    home = bench.root.parent
    assert set_ups(home) == ()
    bench.put("old")  # of a node agent that did not write it down
    for key, repository in (("a", "shop-1"), ("b", "shop-1"), ("c", "api-2")):
        bench.cache.put(key, "r-aaaa.1.1", {"lib": (bench.source, contents_of(bench.source))}, repository)
    assert set_ups(home) == ("api-2", "shop-1")
    (bench.root / "c/about.json").write_text("[torn")
    assert set_ups(home) == ("shop-1",)


def test_in_and_out_by_copy(bench: Bench) -> None:
    assert not bench.fetch() and not bench.cache.has("k")
    bench.put()
    assert bench.cache.has("k") and bench.names() == {"k"}
    assert bench.root.stat().st_mode & 0o777 == 0o700
    (bench.source / "a").write_text("changed after it was kept\n")
    assert bench.fetch()
    assert (bench.back / "a").read_text() == "1\n" and (bench.back / "c").readlink() == Path("a")
    inodes = {(folder / "a").stat().st_ino for folder in (bench.source, bench.back, bench.root / "k" / "0")}
    assert len(inodes) == 3
    (bench.back / "a").write_text("by an agent\n")
    bench.back.rename(bench.back.with_name("first"))
    assert bench.fetch() and (bench.back / "a").read_text() == "1\n"
    assert bench.names() == {"k"}


@pytest.mark.parametrize(
    "harm",
    [
        lambda entry: (entry / "0" / "a").unlink(),
        lambda entry: (entry / "0" / "a").write_text("2\n"),
        lambda entry: (entry / "0" / "d").write_text("more\n"),
        lambda entry: (entry / "0").rename(entry / "1"),
        lambda entry: (entry / "about.json").write_text(""),
        lambda entry: (entry / "about.json").write_text("[1]"),
        lambda entry: (entry / "about.json").unlink(),
        lambda entry: (entry / "about.json").write_text(
            (entry / "about.json").read_text().replace('"lib"', '"../lib"')
        ),
    ],
)
def test_a_damaged_entry_is_none(bench: Bench, harm: object) -> None:
    bench.put()
    harm(bench.root / "k")  # type: ignore[operator]
    assert not bench.fetch() and not bench.back.exists()
    assert bench.names() == set()
    bench.put()
    assert bench.fetch()


def test_two_at_once_for_one_key(bench: Bench) -> None:
    bench.put()
    before = (bench.root / "k").stat().st_ino
    bench.put()  # the second rename finds the first
    assert (bench.root / "k").stat().st_ino == before and bench.names() == {"k"}
    crowd = [threading.Thread(target=bench.put, args=("j",)) for _ in range(4)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert bench.names() == {"k", "j"} and bench.fetch("j")


def test_what_cannot_be_copied_is_not_kept(bench: Bench) -> None:
    seen = contents_of(bench.source)
    (bench.source / "a").write_text("changed while it was copied\n")
    with pytest.raises(StepFailed, match="changed"):
        bench.cache.put("k", "r-aaaa.1.1", {"lib": (bench.source, seen)})
    (bench.source.with_name("link")).symlink_to(bench.source)
    with pytest.raises(StepFailed, match="no longer exists, or is not a folder"):
        bench.cache.put("k", "r-aaaa.1.1", {"lib": (bench.source.with_name("link"), seen)})
    assert bench.names() == set()


def test_the_reserve_of_the_disk_is_left_alone(bench: Bench) -> None:
    bench.put()
    low = Cache(bench.root, reserve=1 << 62)
    with pytest.raises(StepFailed, match="reserve"):
        low.put("j", "r-aaaa.1.1", {"lib": (bench.source, contents_of(bench.source))})
    assert low.fetch("k", ["lib"], lambda maker, _: None) is None and bench.names() == {"k"}
    low.trim(NOW)  # what can be made again makes room
    assert bench.names() == set()


def test_few_are_kept_and_those_that_were_used_last(bench: Bench) -> None:
    for number in range(MOST_ENTRIES):
        bench.put(f"k{number}")
        os.utime(bench.root / f"k{number}", (number, number))
    assert bench.fetch("k0")
    bench.put("new")
    assert bench.names() == {"new", "k0", *(f"k{number}" for number in range(2, MOST_ENTRIES))}


def test_what_nobody_used_goes(bench: Bench) -> None:
    bench.put("old")
    bench.put("fresh")
    seconds = NOW // 1000
    os.utime(bench.root / "fresh", (seconds, seconds))
    long_ago = seconds - KEEP.set_ups.age_ms // 1000 - 1
    os.utime(bench.root / "old", (long_ago, long_ago))
    bench.cache.trim(NOW)
    assert bench.names() == {"fresh"}


def test_what_a_crash_left_is_swept_and_what_is_in_use_stays(bench: Bench) -> None:
    bench.put()
    (bench.root / "new-crashed" / "0").mkdir(parents=True)
    seen: list[set[str]] = []

    def in_the_middle(maker: str, copies: Mapping[str, Path]) -> None:
        bench.cache.trim(NOW * 2)
        seen.append(bench.names() - {copies["lib"].parent.name})
        assert (copies["lib"] / "a").exists()

    assert bench.cache.fetch("k", ["lib"], in_the_middle) is not None
    assert seen == [{"k"}]
    bench.cache.trim(NOW * 2)
    assert bench.names() == set()
    Cache(bench.root.with_name("none")).trim(NOW)
    assert not bench.root.with_name("none").exists()


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
    with pytest.raises(ValueError, match="pipe"):
        contents_of(folder)
