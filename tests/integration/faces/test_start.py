"""How the command starts: Ctrl-C is silent, and a program that starts `pancode mcp` waits for little."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pancode import __main__ as entry

FIRST_READ = """\
import signal, sys
def run(args):
    return 0
print(signal.getsignal(signal.SIGINT) == signal.SIG_DFL)
"""


@pytest.mark.parametrize(("before", "told"), [("", "True"), ('trap "" INT; ', "False")])
def test_ctrl_c_is_left_to_the_system_while_modules_are_read(tmp_path: Path, before: str, told: str) -> None:
    """Unless it is ignored where the command was started, as shells do for a job in the background."""
    (tmp_path / "pancode/interfaces/cli").mkdir(parents=True)
    shutil.copy(entry.__file__, tmp_path / "pancode/__main__.py")
    (tmp_path / "pancode/interfaces/cli/main.py").write_text(FIRST_READ)
    argv = ["sh", "-c", f'{before}exec "$@"', "sh", sys.executable, "-S", "-E", "-m", "pancode"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{told}\n"


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
    assert wrong.returncode == 2 and "'lane'" in wrong.stderr
    typo, read = loaded(tmp_path, PANCODE_MAX_USDD="1")
    assert "PANCODE_MAX_USDD" in typo.stderr and "click" in read
