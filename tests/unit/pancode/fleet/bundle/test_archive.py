"""The same files give the same digest and the same bytes; any other file gives another digest."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancode.fleet.bundle.archive import Contents, format_manifest, hash_manifest, pack_bundle

FILES: dict[str, Path | bytes] = {"lib/b.py": b"two", "lib/a.py": b"one", "start.py": b""}


def packed(contents: Contents, target: Path) -> bytes:
    pack_bundle(contents, format_manifest(contents), target)
    return target.read_bytes()


def test_order_and_sources_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"two")
    (tmp_path / "x").chmod(0o777)
    other: dict[str, Path | bytes] = {"start.py": b"", "lib/a.py": b"one", "lib/b.py": tmp_path / "x"}
    assert format_manifest(FILES) == format_manifest(other)
    assert packed(FILES, tmp_path / "1.tgz") == packed(other, tmp_path / "2.tgz")


def test_what_is_inside(tmp_path: Path) -> None:
    packed(FILES, tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        members = tar.getmembers()
        assert [m.name for m in members] == ["MANIFEST", "lib/a.py", "lib/b.py", "start.py"]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}
        reader = tar.extractfile("lib/b.py")
        assert reader is not None and reader.read() == b"two"
    assert list(tmp_path.iterdir()) == [tmp_path / "b.tar.gz"]


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=8))
def test_the_digest_is_the_content(name: str, data: bytes) -> None:
    changed = {**FILES, name: data}
    same = data == FILES[name]
    assert (hash_manifest(format_manifest(changed)) == hash_manifest(format_manifest(FILES))) is same


def test_a_missing_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pack_bundle({"a": tmp_path / "missing"}, "", tmp_path / "b.tar.gz")
    assert list(tmp_path.iterdir()) == []
