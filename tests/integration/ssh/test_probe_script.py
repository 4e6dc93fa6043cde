"""The script of the look at a machine, run by its shell: programs, and what the owner has set."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pancode.fleet.ssh.scripts.link import PROBE


def _said(home: Path) -> dict[str, str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    asked = ("sh", "-s", "f-test", "")
    done = subprocess.run(asked, input=PROBE, env=env, text=True, capture_output=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize("indent", [None, 2])
def test_the_path_that_an_owner_has_written_is_seen(tmp_path: Path, indent: int | None) -> None:
    assert _said(tmp_path)["path"] == ""
    (tmp_path / ".pancode-node" / "f-test").mkdir(parents=True)
    settings = {"fleet": "f-test", "path": "/opt/my tools/bin:/usr/bin", "redis": {"password_file": "x"}}
    (tmp_path / ".pancode-node" / "f-test" / "node.json").write_text(json.dumps(settings, indent=indent))
    assert _said(tmp_path)["path"] == "/opt/my tools/bin:/usr/bin"


@pytest.mark.parametrize(
    "folder", [".opencode/bin", ".volta/bin", ".asdf/shims", ".nvm/versions/node/v22.0.0/bin"]
)
def test_it_looks_where_the_node_agent_looks(tmp_path: Path, folder: str) -> None:
    program = tmp_path / folder / "opencode"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert _said(tmp_path)["tool.opencode"] == str(program)
