"""Reserves TCP ports of this node for one attempt, so that no other attempt of the node gets them."""

from __future__ import annotations

import errno
import os
import socket
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from node_agent.attempt.ports import StepFailed
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.workspace.folders import lock_file

FIRST, LAST = 20_000, 32_000
"""Below the ports that Linux gives to outgoing connections."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


def reserve_ports(
    folder: Path,
    identity: AttemptId,
    count: int,
    list_live: Callable[[], Collection[str]],
    first: int = FIRST,
    last: int = LAST,
) -> tuple[int, ...]:
    """Return the attempt's ports, reserved while `list_live` names it. Idempotent. StepFailed if fewer are
    free. The folder has a file for each reserved port, which names its attempt."""
    mine = str(identity)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_file(folder / ".lock"):
        live = list_live()  # inside the lock, so that no attempt that has just reserved ports is missing
        held = {int(name): (folder / name).read_text() for name in os.listdir(folder) if name.isdecimal()}
        for port, owner in held.items():
            if owner != mine and owner not in live:
                (folder / str(port)).unlink()
        ports = sorted(port for port, owner in held.items() if owner == mine)[:count]
        taken = {port for port, owner in held.items() if owner == mine or owner in live}
        span = last - first
        start = zlib.crc32(mine.encode()) % span  # another node agent on this machine begins elsewhere
        for n in range(span):
            if len(ports) == count:
                return tuple(ports)
            port = first + (start + n) % span
            if port not in taken and is_free(port):
                (folder / str(port)).write_text(mine)
                ports.append(port)
    if len(ports) == count:
        return tuple(ports)
    raise StepFailed(FailureKind.NODE_INTERNAL, f"the node has no {count} free ports from {first} to {last}")


def is_free(port: int) -> bool:
    """Whether no program listens on the port, at any address."""
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        with suppress(OSError), socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((address, port))
            except OSError as error:
                if family is socket.AF_INET or error.errno in _TAKEN:
                    return False
    return True
