"""The real pip, on a folder of wheels: it takes what runs on the node, checks hashes, is asked once."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from pancode.fleet.bundle.download import fetch_libraries
from pancode.fleet.bundle.errors import NotHere
from pancode.fleet.bundle.platform import NodePlatform

NODE = NodePlatform((3, 13, 1), "aarch64", (2, 28))
TAGS = (
    "cp313-cp313-manylinux_2_17_aarch64",
    "cp313-cp313-manylinux_2_34_aarch64",
    "cp313-cp313-manylinux_2_17_x86_64",
    "cp312-cp312-manylinux_2_17_aarch64",
)


def wheel(folder: Path, name: str, tag: str) -> str:
    """A wheel whose module says its own tag; returns its requirement's hash."""
    path = folder / f"{name}-1.0-{tag}.whl"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", tag)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", about)
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip may look at, and the locked list of them."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    native = " ".join(wheel(folder, "native", tag) for tag in TAGS)
    pure = wheel(folder, "pure", "py3-none-any")
    (tmp_path / "locked.txt").write_text(f"native==1.0 {native}\npure==1.0 {pure}\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return tmp_path


@pytest.mark.slow
def test_wheels_of_the_node_and_not_of_ours(shelf: Path) -> None:
    found = fetch_libraries(NODE, shelf / "cache", shelf / "locked.txt")
    assert sorted(found) == [
        "native-1.0.dist-info/METADATA",
        "native/__init__.py",
        "pure-1.0.dist-info/METADATA",
        "pure/__init__.py",
    ]
    source = found["native/__init__.py"]
    assert isinstance(source, Path) and source.read_text() == TAGS[0]
    for path in (shelf / "wheels").iterdir():
        path.unlink()
    assert fetch_libraries(NODE, shelf / "cache", shelf / "locked.txt") == found


@pytest.mark.slow
def test_a_wheel_with_another_hash_is_refused_and_nothing_is_kept(shelf: Path) -> None:
    listed = (shelf / "locked.txt").read_text()
    (shelf / "locked.txt").write_text(listed.rpartition("--hash")[0] + "--hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(NotHere, match="(?i)hash"):
        fetch_libraries(NODE, shelf / "cache", shelf / "locked.txt")
    assert list((shelf / "cache").iterdir()) == []


@pytest.mark.slow
def test_a_platform_without_wheels_says_so(shelf: Path) -> None:
    with pytest.raises(NotHere, match="native"):
        fetch_libraries(NodePlatform((3, 11, 2), "x86_64", (2, 28)), shelf / "cache", shelf / "locked.txt")
