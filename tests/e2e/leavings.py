"""What a demo has left behind, and a place without a network to run it in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
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
    return files, list(_alive_in(env).values())


def end_all(env: Mapping[str, str]) -> None:
    """End what a demo has left, whoever it runs as, at once: who is interrupted has no time for more."""
    calm = 0
    for _ in range(100):
        alive = _alive_in(env)
        calm = 0 if alive else calm + 1
        if calm == 3:  # in one look, what is just becoming another program is not seen
            return
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _alive_in(env: Mapping[str, str]) -> dict[int, str]:
    """Pids and words of what names its folder, or has its home there."""
    mark = f"HOME={env['TMPDIR']}/".encode()
    alive = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if env["TMPDIR"] in words or mark in (folder / "environ").read_bytes():
                    alive[int(folder.name)] = words
    return {pid: words for pid, words in alive.items() if words}
