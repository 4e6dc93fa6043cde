"""What a demo has left behind, and a place without a network to run it in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

OFFLINE = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Runs a command where there is no network but this machine's own loopback."""


def no_network() -> list[str]:
    """The way into a place without a network, where this machine lets us make one."""
    there = os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip")
    return OFFLINE if there and subprocess.run([*OFFLINE, "true"]).returncode == 0 else []


def left_in(env: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Files and processes of a demo that are still there."""
    files = [str(path) for name in ("HOME", "TMPDIR") for path in Path(env[name]).iterdir()]
    mark = f"HOME={env['TMPDIR']}/".encode()
    alive = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if env["TMPDIR"] in words or mark in (folder / "environ").read_bytes():
                    alive.append(words)
            except OSError:
                continue
    return files, [words for words in alive if words]
