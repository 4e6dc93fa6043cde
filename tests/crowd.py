"""Says how slow this machine is, for those who wait: what is late there may only have had no processor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PACE = "TESTS_PACE"
"""Names how many times as long as the usual machine this one needs; `tests/run.py` measures it once."""
USUAL_S = 0.9
"""For the work of `measured_concurrency` on two quiet cores."""
MOST = 4.0
LONGEST_S = 150.0
"""A test is cut after 180 s, with its whole process: a wait fails before, and says what it saw."""


def measured_concurrency() -> float:
    """How many times as long as usual this machine needs for a process of ours and an SSH connection."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import node_agent.wire.receipt"], check=True)
    asyncio.run(_connect_by_ssh())
    return max(1.0, (time.monotonic() - began) / USUAL_S)


async def _connect_by_ssh() -> None:
    import asyncssh

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Open, server_host_keys=[key])
    async with server, asyncssh.connect("127.0.0.1", server.get_port(), known_hosts=None, config=None):
        pass


def crowded() -> float:
    """How many times as long as usual things take now: the machine's pace, or its load a processor."""
    load = min(MOST, os.getloadavg()[0] / (os.cpu_count() or 1))
    return max(float(os.environ.get(PACE, "1")), load)


def patience(timeout_s: float) -> float:
    """How long to wait now, in seconds, for what takes at most so long on a machine of one's own."""
    longest = LONGEST_S * float(os.environ.get(PACE, "1"))
    return max(timeout_s, min(longest, timeout_s * crowded()))


def until(
    holds: Callable[[], T | None],
    what: str = "it holds",
    timeout_s: float = 30,
    told: Callable[[], object] = lambda: "",
) -> T:
    """The first answer that is true; the failure says what was waited for and what was there instead."""
    began = look = time.monotonic()
    while not (found := holds()):
        if time.monotonic() - began > patience(timeout_s):
            raise AssertionError(f"not after {time.monotonic() - began:.0f} s: {what}: {told()}")
        # A look may start a command.
        time.sleep(min(1.0, max(0.02, 2 * (time.monotonic() - look))))
        look = time.monotonic()
    return found
