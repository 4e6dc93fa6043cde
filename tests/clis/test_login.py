"""The real Claude Code's own login, at a real terminal, as far as it gets without its vendor."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clis.conftest import path_of
from tests.integration.node.node_world import until
from tests.terminal import Terminal

pytestmark = pytest.mark.slow


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    settings = {"fleet": "f-test", "name": "n1", "tag": "0123456789", "slots": 1, "path": path_of("claude")}
    settings["redis"] = {"user": "u", "password_file": "p"}
    (tmp_path / "node.json").write_text(json.dumps(settings))
    argv = [sys.executable, "-m", "node_agent", "login", "--home", str(tmp_path), "claude"]
    env = {"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])}
    one = Terminal(argv, env, tmp_path, (40, 200))
    yield one
    one.close()


def test_it_shows_its_address_and_asks_for_the_code(terminal: Terminal, tmp_path: Path) -> None:
    terminal.shows("/oauth/authorize?")
    assert "Paste" in terminal.shows("Paste")
    terminal.close()
    assert not (tmp_path / "logins" / "claude" / "token").exists()
    until(lambda: not processes_in(tmp_path), timeout_s=20, told=lambda: str(processes_in(tmp_path)))


def processes_in(folder: Path) -> list[str]:
    """What runs with a configuration of ours: nothing stays behind a terminal that was closed."""
    mark = f"CLAUDE_CONFIG_DIR={folder}".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found
