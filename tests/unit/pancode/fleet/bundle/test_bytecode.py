"""Bytecode is made where our Python is the node's: the same for the same sources, where it is looked for."""

from __future__ import annotations

import importlib.util
import marshal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from pancode.fleet.bundle import bytecode, compiler
from pancode.fleet.bundle.archive import Contents
from pancode.fleet.bundle.errors import BundleError
from pancode.fleet.bundle.platform import NodePlatform

HERE = NodePlatform((*sys.version_info[:2], 0), "x86_64", (2, 36))
SOURCE = b'"""Words."""\nNAMES = frozenset({"one", "two", "three"})\n'
FILES: Contents = {
    "start.py": b"",
    "lib/node_agent/agent/agent.py": SOURCE,
    "lib/node_agent/shim/shim.py": SOURCE,
    "lib/redis/client.py": SOURCE,
    "lib/redis/old.py": b"print 'not of this Python'",
    "lib/redis/data.json": b"{}",
}


def compiled(files: Contents, folder: Path) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = bytecode.with_bytecode(files, Path(scratch))
        return {
            name: source if isinstance(source, bytes) else source.read_bytes()
            for name, source in made.items()
        }


def test_for_our_own_minor_version_alone() -> None:
    assert bytecode.can_run_on(HERE) and bytecode.can_run_on(replace(HERE, machine="aarch64"))
    assert not bytecode.can_run_on(replace(HERE, python=(3, HERE.minor + 1, 0)))


def test_what_cannot_be_compiled_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "none.py"))
    with pytest.raises(BundleError, match="cannot compile") as told:
        compiled(FILES, tmp_path)
    assert "coordinator.log" in told.value.fix
    monkeypatch.setattr(bytecode, "ROOM", 1 << 62)
    with pytest.raises(BundleError) as told:
        compiled(FILES, tmp_path)
    assert "MiB free" in told.value.why and f"df -h {tmp_path}" in told.value.fix


def test_what_is_packed_and_where_bytecode_is_looked_for(tmp_path: Path) -> None:
    made = compiled(FILES, tmp_path)
    plain = importlib.util.cache_from_source("lib/node_agent/shim/shim.py", optimization="")
    assert sorted(made) == sorted(
        [
            "start.py",
            "lib/node_agent/agent/agent.py",
            importlib.util.cache_from_source("lib/node_agent/agent/agent.py", optimization=2),
            "lib/node_agent/shim/shim.py",
            plain,
            importlib.util.cache_from_source("lib/node_agent/shim/shim.py", optimization=2),
            "lib/redis/client.pyc",
            "lib/redis/old.py",
            "lib/redis/data.json",
        ]
    )
    assert compiled(FILES, tmp_path) == made
    code = made[plain]
    assert code[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(code[4:8], "little") == 1, "by hash and unchecked: a file's time says nothing"
    assert marshal.loads(code[16:]).co_filename == "lib/node_agent/shim/shim.py"


def test_where_a_source_lies_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_bytes(SOURCE)
    elsewhere = {**FILES, "lib/redis/client.py": tmp_path / "elsewhere.py"}
    assert compiled(elsewhere, tmp_path) == compiled(FILES, tmp_path)


def test_bytecode_is_not_read_into_memory_before_it_is_packed(tmp_path: Path) -> None:
    made = bytecode.with_bytecode(FILES, tmp_path)
    assert [
        name for name, source in made.items() if name.endswith(".pyc") and isinstance(source, bytes)
    ] == []
