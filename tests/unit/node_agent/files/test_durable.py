"""Small files are whole or absent: replaced at once, created once, framed in space that was reserved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.files import durable
from tests.open_files import few_files

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_json_is_json(value: Any) -> None:
    """Against the library's own, in both directions."""
    assert durable.from_json(durable.to_json(value)) == value
    assert json.loads(durable.to_json(value)) == value
    assert durable.from_json(json.dumps(value, indent=1).encode()) == value


@pytest.mark.parametrize(
    "data", [b"", b" ", b"{", b"[1", b"[1,]", b'"a', b"{} {}", b"tru", b"NaN", b"-Infinity", b"\xff"]
)
def test_what_is_not_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        durable.from_json(data)
    alone = f"""
import sys; sys.path.append('.')
from node_agent.files.durable import from_json
try: from_json({data!r})
except ValueError: print("refused")
"""
    done = subprocess.run(
        [os.path.realpath(sys.executable), "-I", "-S", "-c", alone],
        capture_output=True, text=True, cwd=Path(durable.__file__).parents[2],
    )  # fmt: skip
    assert done.stdout == "refused\n", done.stderr


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), float("nan"), {(1, 2): 3}])
def test_what_json_does_not_have_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        durable.to_json(value)


def test_write_atomic_replaces_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a"
    durable.write_atomic(target, b"one")
    durable.write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        durable.write_atomic(tmp_path / "folder", b"x")
    assert sorted(os.listdir(tmp_path)) == ["a", "folder"]


def test_create_exclusive_has_one_winner_with_whole_bytes(tmp_path: Path) -> None:
    target = tmp_path / "a"

    def create(n: int) -> bool:
        return durable.create_exclusive(target, b"%d" % n * 5000)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert target.read_bytes() == b"%d" % won.index(True) * 5000
    assert os.listdir(tmp_path) == ["a"]


def test_create_exclusive_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    assert durable.create_exclusive(tmp_path / "a", b"x") is False
    assert not (tmp_path / "elsewhere").exists()


def test_make_folder(tmp_path: Path) -> None:
    assert durable.make_folder(tmp_path / "a") is True
    assert durable.make_folder(tmp_path / "a") is False
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_frames_in_reserved_space(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("frames") / "f"
    durable.preallocate(path, 512 * len(payloads))
    size, blocks = path.stat().st_size, path.stat().st_blocks
    assert blocks * 512 >= size == 512 * len(payloads)
    assert [durable.read_framed(path, 512 * n) for n in range(len(payloads))] == [None] * len(payloads)
    for n, payload in enumerate(payloads):
        durable.write_framed(path, payload, 512 * n)
    assert [durable.read_framed(path, 512 * n) for n in range(len(payloads))] == payloads
    assert (path.stat().st_size, path.stat().st_blocks) == (size, blocks)
    durable.preallocate(path, 10)
    assert durable.read_framed(path) == payloads[0]


def test_a_frame_that_does_not_fit_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    durable.preallocate(path, 64)
    durable.write_framed(path, b"x" * (64 - durable.HEADER))
    with pytest.raises(ValueError, match="do not fit"):
        durable.write_framed(path, b"y" * (65 - durable.HEADER))
    assert durable.read_framed(path) == b"x" * (64 - durable.HEADER)
    with pytest.raises(FileNotFoundError):
        durable.write_framed(tmp_path / "absent", b"x")


@given(st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=80, deadline=None)
def test_a_torn_or_altered_frame_is_none(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "f"
    durable.preallocate(path, 4096)
    payload = bytes(range(183))
    durable.write_framed(path, payload)
    data = bytearray(path.read_bytes())
    same = data[place] == value
    data[place] = value
    path.write_bytes(data)
    # The two digits of a length may be written in capitals and mean the same.
    assert durable.read_framed(path) == payload if same else durable.read_framed(path) in (None, payload)
    path.write_bytes(data[: durable.HEADER + 100])
    assert durable.read_framed(path) is None


def test_what_is_blanked_is_zeros_and_stays_open_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"kept and gone")
    with few_files(4):
        for _ in range(8):
            durable.blank_file(path, 4)
    assert path.read_bytes() == b"kept" + bytes(9)


def test_absent_frame(tmp_path: Path) -> None:
    assert durable.read_framed(tmp_path / "absent") is None
    (tmp_path / "empty").touch()
    assert durable.read_framed(tmp_path / "empty") is None
