"""Kept folders: whole or absent, in and out by copy, few, and none that somebody uses goes away."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from node_agent.attempt.ports import StepFailed
from node_agent.workspace.cache import IDLE_MS, MOST_ENTRIES, Cache
from node_agent.workspace.contents import contents_of

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
    with pytest.raises(StepFailed, match="no longer a folder"):
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
    os.utime(bench.root / "old", (seconds - IDLE_MS // 1000 - 1, seconds - IDLE_MS // 1000 - 1))
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
