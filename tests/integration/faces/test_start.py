"""Ctrl-C is silent before a module of ours, or of Python's own that takes time, is read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pancode import start

FIRST_READ = """\
import _signal, sys
print(_signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL, {"re", "typing", "enum"} & sys.modules.keys())
"""


def test_the_first_line_of_the_command_leaves_ctrl_c_to_the_system(tmp_path: Path) -> None:
    shutil.copy(start.__file__, tmp_path / "command")
    (tmp_path / "pancode").mkdir()
    (tmp_path / "pancode/__init__.py").write_text(FIRST_READ)
    (tmp_path / "pancode/__main__.py").write_text("def main(): print('ran')\n")
    words = [sys.executable, "-S", "-E", str(tmp_path / "command")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "True set()\nran\n"


def test_what_is_ignored_where_it_was_started_stays_so(tmp_path: Path) -> None:
    shutil.copy(start.__file__, tmp_path / "command")
    (tmp_path / "pancode").mkdir()
    (tmp_path / "pancode/__init__.py").write_text("")
    told = "import _signal\ndef main(): print(_signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN)\n"
    (tmp_path / "pancode/__main__.py").write_text(told)
    words = [
        "sh",
        "-c",
        'trap "" INT; exec "$@"',
        "sh",
        sys.executable,
        "-S",
        "-E",
        str(tmp_path / "command"),
    ]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "True\n"


def test_what_is_installed_is_that_very_command() -> None:
    """Its first line names the Python; a copy made before today's is mended by `make setup`."""
    installed = Path(sys.executable).parent / "pancode"
    own = Path(start.__file__).read_text().partition("\n")[2]
    assert installed.read_text().partition("\n")[2] == own


GREETING = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}


def loaded(folder: Path, *args: str, **more: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """What `pancode mcp` answers to another program, and the modules that it has read for it."""
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": GREETING})
    argv = [sys.executable, "-X", "importtime", "-m", "pancode", "mcp", *args]
    env = {"PATH": os.defpath, "HOME": str(folder), "PANCODE_HOME": str(folder / "home"), **more}
    done = subprocess.run(
        argv, input=f"{line}\n", env=env, cwd=folder, capture_output=True, text=True, timeout=60
    )
    lines = done.stderr.splitlines()
    return done, {one.rpartition("|")[2].strip() for one in lines if one.startswith("import time:")}


@pytest.mark.parametrize("args", [(), ("--tools", "workflows")])
def test_the_tools_wait_for_no_library_that_reads_command_lines(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    done, read = loaded(tmp_path, *args)
    assert done.returncode == 0 and json.loads(done.stdout)["result"]["serverInfo"]["name"] == "pancode"
    assert "pancode.interfaces.mcp.server" in read and not {"click", "typer", "rich", "pydantic"} & read


def test_where_something_else_is_to_be_read_the_tools_say_what_the_command_says(tmp_path: Path) -> None:
    wrong, _ = loaded(tmp_path, "--tools", "lane")
    assert wrong.returncode == 2 and "there is no group of tools 'lane'" in wrong.stderr
    typo, read = loaded(tmp_path, PANCODE_MAX_USDD="1")
    assert "PANCODE_MAX_USDD" in typo.stderr and "click" in read
