"""The gateway as a program: `python -I -S program.py FD FD`, with listening sockets and its spec on stdin.

Standard library only. The gateway lives as long as its attempt's shims: it ends when the agent's shim has
ended, when no shim has appeared for PATIENCE_S, when its time is over, when another gateway has replaced it,
or on SIGTERM. A restart of the node agent does not affect it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from node_agent.gateway.counting import Count
from node_agent.gateway.serving import Gateway
from node_agent.gateway.spec import COUNT, FOLDER, GatewaySpec, find_alive, is_own, replace_file, write_record
from node_agent.gateway.tunnel import ProxyTunnels

LOOK_S = 0.5
PATIENCE_S = 300.0
SETUP, SPAWNED = "set-up", "spawned"
PR_SET_DUMPABLE = 4
MEMORY = 512 << 20
"""The program's memory limit in bytes: the largest request at four bytes per character, and a reserve."""


class Life:
    """Decides when the gateway is no longer needed."""

    def __init__(self, attempt: Path, began: float, life_s: float) -> None:
        self._attempt, self._idle_since, self._until = attempt, began, began + life_s

    def is_over(self, now: float) -> bool:
        if now >= self._until or not is_own(self._attempt):
            return True
        work = self._attempt / SPAWNED
        if work.exists():
            return find_alive(work) is None
        if find_alive(self._attempt / SETUP / SPAWNED):
            self._idle_since = now
        return now - self._idle_since >= PATIENCE_S


async def run(spec: GatewaySpec, sockets: list[socket.socket]) -> None:
    """Serve the run's model calls until the gateway is no longer needed."""
    attempt = Path(spec.folder)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    count_file = str(attempt / FOLDER / COUNT)
    serving = ProxyTunnels if spec.tunnel else Gateway
    gateway = serving(spec, lambda count: save_count(count_file, count))
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            await loop.create_unix_server(gateway.connection, sock=sock)
        else:
            await loop.create_server(gateway.connection, sock=sock)
    save_count(count_file, gateway.count)
    life = Life(attempt, loop.time(), spec.life_s)
    while not ended.is_set() and not life.is_over(loop.time()):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), LOOK_S)
    await gateway.close()
    if is_own(attempt):
        save_count(count_file, replace(gateway.count, ended=True))


def save_count(path: str, count: Count) -> None:
    """Save the count. On a full disk only this update is lost; the next saved count is complete again."""
    with contextlib.suppress(OSError):
        replace_file(path, count.to_json())


def hide_memory() -> None:
    """Prevent other processes of this user, except root, from reading our memory, which contains the key."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit_memory() -> None:
    """Limit our memory, so that requests cannot fill the node's; a request that does not fit is refused."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        least = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (least, least))


def detach() -> None:
    """Leave the parent's session and folder; new files are readable for this user alone."""
    os.umask(0o077)
    os.chdir("/")
    if os.getpgid(0) != os.getpid():
        os.setsid()


def main(argv: list[str]) -> int:
    """Run the program; return the exit status: 65 for an invalid spec."""
    hide_memory()
    limit_memory()
    detach()
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    sockets = [socket.socket(fileno=int(word)) for word in argv[1:]]
    try:
        spec = GatewaySpec.from_json(sys.stdin.buffer.read())
    except ValueError as exc:
        sys.stderr.write(f"gateway: {exc}\n")
        return 65
    write_record(Path(spec.folder))
    asyncio.run(run(spec, sockets))
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv))  # skip the interpreter's teardown, which takes milliseconds
