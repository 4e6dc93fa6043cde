"""The kernel tells of changes: none is lost between two looks, and a program that always writes is not
followed without end."""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path

import pytest

from node_agent.runner.file_changes import GAP_MS, FileChanges
from node_agent.wire.clock import SystemClock


def is_told(changes: FileChanges, ms: int = 2_000) -> bool:
    assert changes.fd is not None
    return bool(select.select([changes.fd], [], [], ms / 1000)[0])


def test_what_is_written_or_appears_after_a_look_is_told_and_nothing_else(tmp_path: Path) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    home.mkdir()
    out.write_bytes(b"")
    paths = (out, home, home / "calls")
    with FileChanges(SystemClock()) as changes:
        changes.take(paths)
        assert not is_told(changes, 0)
        with out.open("ab") as file:
            file.write(b"text")
        assert is_told(changes)
        changes.take(paths)
        assert not is_told(changes, 0)
        (home / "calls").mkdir()
        assert is_told(changes)
        changes.take(paths)
        (home / "calls" / "one").write_bytes(b"")
        assert is_told(changes), "a folder is watched from the first look at which it exists"
        changes.take(paths)
        os.rename(tmp_path / "out", tmp_path / "elsewhere")
        assert not is_told(changes, 50)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "out").symlink_to(tmp_path / "secret")
    with FileChanges(SystemClock()) as changes:
        changes.take((tmp_path / "out",))
        (tmp_path / "secret").write_bytes(b"text")
        assert not is_told(changes, 50)


def test_two_looks_are_apart(tmp_path: Path) -> None:
    clock = SystemClock()
    with FileChanges(clock) as changes:
        began = clock.mono_ms()
        changes.take((tmp_path,))
        for name in ("a", "b", "c"):
            (tmp_path / name).write_bytes(b"")
            assert is_told(changes)
            changes.take((tmp_path,))
        assert clock.mono_ms() - began >= 3 * GAP_MS - 10


def test_without_an_instance_or_a_watch_the_caller_is_told_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoInotify:
        def __init__(self, name: str | None) -> None:
            """Like the C library where every instance of the user is in use."""

        def inotify_init1(self, flags: int) -> int:
            return -1

    class NoWatch:
        inotify_init1 = ctypes.CDLL(None).inotify_init1

        def __init__(self, name: str | None) -> None:
            """Like the C library where every watch of the user is in use."""

        def inotify_add_watch(self, *_: object) -> int:
            return -1

    for library in (NoInotify, NoWatch):
        monkeypatch.setattr(ctypes, "CDLL", library)
        with FileChanges(SystemClock()) as changes:
            changes.take((tmp_path / "missing",))
            changes.take((tmp_path,))
            assert changes.fd is None
