"""A coordinator without memory or threads, or whose essential thread died, ends; the next one continues."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pancode.kernel.threads import STATUS
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, ROOT, Served, until

BROKEN = """
from tests.integration.faces import world
{breaks}
world.main()
"""
BREAKS = {
    "rounds": """
from pancode.app.server.coordinator_thread import Passes
def breaks(self): raise MemoryError
Passes._run_pass = breaks
""",
    "api": """
from pancode.app.server import http_server
async def breaks(self, listening): raise MemoryError
http_server._Server._accept_peers = breaks
""",
    "a thread": """
import threading
from pancode.app.server.coordinator_thread import Passes
def breaks(self):
    threading.stack_size(2**46)  # the system has no room for it
    threading.Thread(target=print).start()
Passes._run_pass = breaks
""",
}
DEATHS = {"a thread": "rounds died of RuntimeError"}


def ends_well(home: Path) -> bool:
    """One that is started after it. The thread may have died before there was a socket."""
    (home / "api.sock").unlink(missing_ok=True)
    after = Served(home)
    after.start()
    return after.end() == 0


@pytest.mark.parametrize("what", sorted(BREAKS))
def test_the_death_of_an_essential_thread_is_the_end(home: Path, what: str) -> None:
    coordinator = subprocess.Popen(
        [sys.executable, "-c", BROKEN.format(breaks=BREAKS[what]), str(home)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, told = coordinator.communicate(timeout=PATIENCE_S * crowded())
    finally:
        coordinator.kill()
    assert coordinator.returncode == STATUS
    assert f"its thread {DEATHS.get(what, f'{what} died of MemoryError')}" in told.decode()
    assert ends_well(home)


def test_memory_that_has_run_out_is_the_end(served: Served) -> None:
    assert served.process is not None
    pid = served.process.pid
    status = Path(f"/proc/{pid}/status").read_text()
    size = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize")) * 1024
    resource.prlimit(pid, resource.RLIMIT_AS, (size + 2**20, size + 2**20))
    body = b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n" + b"{" * 7_000_000
    held: list[socket.socket] = []

    def gone() -> bool:
        """Each waits for its end, and is kept in memory until then."""
        with suppress(OSError):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].settimeout(1)
            held[-1].connect(str(served.home / "api.sock"))
            held[-1].sendall(body)
        return served.gone()

    until(gone, "it has ended")
    assert served.process.returncode == STATUS and b"of MemoryError" in served.words().encode()
    for wire in held:
        wire.close()
    assert ends_well(served.home)
