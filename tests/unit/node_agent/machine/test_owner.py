"""What the owner of a node wrote beside the ceiling: rules in force, or a closed node; never half of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node_agent.machine.owner import MOST_PROCESSES, OwnersFiles
from node_agent.vault.vault import LOOK_MS
from node_agent.wire.policy import PathAccess, Safety
from tests.fakes.node import MemoryClock


def test_no_file_is_no_limit(tmp_path: Path) -> None:
    said = OwnersFiles(tmp_path, MemoryClock()).ceiling()
    assert not said.closed and said.rules.paths == ()


def test_what_a_run_may_take_of_the_machine(tmp_path: Path) -> None:
    """Most of it where the owner says nothing; what is below all sense is no limit but a mistake."""
    said = OwnersFiles(tmp_path, MemoryClock()).ceiling()
    assert said.memory is not None and said.memory > 64 << 20 and said.processes == MOST_PROCESSES
    (tmp_path / "ceiling.json").write_text('{"memory": 2147483648, "processes": 300}')
    said = OwnersFiles(tmp_path, MemoryClock()).ceiling()
    assert (said.memory, said.processes, said.closed) == (2 << 30, 300, "")
    for wrong in ('{"memory": 1000}', '{"processes": 0}', '{"memory": "2G"}'):
        (tmp_path / "ceiling.json").write_text(wrong)
        assert "cannot be read" in OwnersFiles(tmp_path, MemoryClock()).ceiling().closed


def test_rules_beside_a_ceiling(tmp_path: Path) -> None:
    (tmp_path / "ceiling.json").write_text('{"safety":"auto-edit"}')
    (tmp_path / "pansafety.yaml").write_text("zeroAccessPaths:\n  - .env\n  - '*.pem'\n")
    clock = MemoryClock()
    files = OwnersFiles(tmp_path, clock)
    said = files.ceiling()
    assert said.safety is Safety.AUTO_EDIT
    assert [(r.pattern, r.access, r.origin) for r in said.rules.paths] == [
        (".env", PathAccess.NONE, "node owner's pansafety.yaml:2"),
        ("*.pem", PathAccess.NONE, "node owner's pansafety.yaml:3"),
    ]
    clock.advance(LOOK_MS)
    assert files.ceiling() is said, "unchanged files are not read again"
    (tmp_path / "pansafety.yaml").unlink()
    (tmp_path / "safety-rules.yaml").write_text("readOnlyPaths: [a]\n")
    assert files.ceiling() is said, "for a moment what was seen counts"
    clock.advance(LOOK_MS)
    assert [rule.pattern for rule in files.ceiling().rules.paths] == ["a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zeroAccessPaths: [\n", "cannot be read"),
        ("readOnlyPaths:\n  - a\n  - ../b\n", "pansafety.yaml:3 readOnlyPaths.1"),
        ("rule: []\n", "rules?"),
        ("readOnlyPaths: [a]\nreadOnlyPaths: [b]\n", "pansafety.yaml:2"),
        ("- a\n", "must be a mapping of keys to values"),
        ("a: " + "[" * 50 + "]" * 50, "nested too deeply"),
        ("# " + "x" * 1_000_001, "larger than"),
    ],
)
def test_what_does_not_fit_closes_the_node(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "pansafety.yaml").write_text(text)
    assert words in OwnersFiles(tmp_path, MemoryClock()).ceiling().closed


def test_a_link_to_nothing_and_bytes_that_are_no_text_close_it_too(tmp_path: Path) -> None:
    path = tmp_path / "pansafety.yaml"
    path.symlink_to(tmp_path / "gone")
    assert "cannot be read" in OwnersFiles(tmp_path, MemoryClock()).ceiling().closed
    path.unlink()
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in OwnersFiles(tmp_path, MemoryClock()).ceiling().closed


def test_rules_in_the_ceiling_itself_are_no_rules(tmp_path: Path) -> None:
    (tmp_path / "ceiling.json").write_text('{"rules":{"paths":[]}}')
    assert "cannot be read" in OwnersFiles(tmp_path, MemoryClock()).ceiling().closed


def test_an_idle_node_agent_loads_no_parser() -> None:
    """YAML, the shell's grammar and RE2 are for those who have rules; the worker has its own process."""
    unwanted = "yaml re2 tree_sitter httpx2"
    code = f"import sys, node_agent.agent.worker; print([m for m in {unwanted.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
