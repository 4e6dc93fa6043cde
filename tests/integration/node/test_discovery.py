"""What a real machine says of itself, and that one program that misbehaves does not hide the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.discovery import Machine, search_path
from node_agent.wire.clock import SystemClock


def machine(home: Path, path: str = "/usr/bin:/bin", reserve: int = 0) -> Machine:
    return Machine(home, path, SystemClock(), reserve)


def test_this_machine(tmp_path: Path) -> None:
    facts = machine(tmp_path).look()
    assert facts.cpus >= 1 and facts.memory > 1 << 20 and facts.disk_free > 0 and facts.hostname
    states = {one.name: one.state for one in facts.runtimes}
    assert states["shell"] == states["scripted"] == "ok"
    assert facts.problems == ()


def test_a_runtime_whose_program_misbehaves(tmp_path: Path) -> None:
    fake = tmp_path / "claude"
    fake.write_text("#!/bin/sh\nprintf '\\377\\376 not a version'; exit 0\n")
    fake.chmod(0o755)
    found = {one.name: one for one in machine(tmp_path, f"{tmp_path}:/usr/bin:/bin").look().runtimes}
    assert found["claude"].state != "ok" and found["shell"].state == "ok"


def test_too_little_disk(tmp_path: Path) -> None:
    small = machine(tmp_path, reserve=1 << 60)
    assert not small.disk_ok()
    assert any("free" in problem.what for problem in small.look().problems)
    assert not machine(tmp_path / "gone").disk_ok()


def test_a_ceiling_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "ceiling.json").write_text("{")
    assert machine(tmp_path).ceiling().closed
    assert any("ceiling.json" in problem.what for problem in machine(tmp_path).look().problems)


@pytest.mark.parametrize(
    ("configured", "environ", "expected"),
    [
        ("/a:/b", {"PATH": "/c"}, "/a:/b"),
        (None, {"PATH": "/c:/usr/bin"}, "/c:/usr/bin:/usr/local/bin:/bin"),
        (None, {"HOME": "/h"}, "/h/.local/bin:/h/bin:/h/.npm-global/bin:/usr/local/bin:/usr/bin:/bin"),
    ],
)
def test_search_path(configured: str | None, environ: dict[str, str], expected: str) -> None:
    assert search_path(configured, environ) == expected
