"""Decides which connections to the gateway may stay: a fixed number of the run's, others while there is room.

Whoever reaches the gateway's port or socket may call, other users and other runs of this machine, too. Until
the run's key is shown nobody is the run's, and where too many wait, those go first of whom there are most.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_WAITING, KEPT_WAITING = 128, 96
"""Callers without the key; when there are more, only so many are kept."""
FIRST_S = 15.0
"""From the connection to the first request that shows the key."""
_TABLE = "/proc/net/tcp"
_UCRED = struct.Struct("3i")
_UID_COLUMN = 7


Ports = tuple[int, int]


@dataclass(slots=True, eq=False)
class OpenConnection:
    """One connection. `ports`: its own end's and ours, on TCP; `uid`: whose it is, if looked at."""

    task: asyncio.Task[object]
    ports: Ports
    uid: int | None = None


def surplus(waiting: Sequence[OpenConnection], room: int) -> list[OpenConnection]:
    """The connections to close, so that no more than `room` are left. `waiting`: the oldest first.

    Of the user who has most, the one that has waited longest: whoever means it shows the key at once.
    """
    by_user: defaultdict[int | None, deque[OpenConnection]] = defaultdict(deque)
    for caller in waiting:
        by_user[caller.uid].append(caller)
    return [max(by_user.values(), key=len).popleft() for _ in range(len(waiting) - room)]


class Lobby:
    """All connections of one gateway. `most`: of those that have shown the key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[OpenConnection, None] = {}
        self._known: set[OpenConnection] = set()

    @contextlib.contextmanager
    def visit(self, writer: asyncio.StreamWriter) -> Iterator[OpenConnection]:
        """While the connection is served by this task, which is cancelled when it has to go."""
        task = asyncio.current_task()
        assert task is not None
        caller = _caller(task, writer)
        self._waiting[caller] = None
        if len(self._waiting) > MOST_WAITING:
            self._make_room()
        try:
            yield caller
        finally:
            self._waiting.pop(caller, None)
            self._known.discard(caller)

    def knows(self, caller: OpenConnection) -> bool:
        """It has shown the key. False: too many have, and this one cannot stay."""
        if caller not in self._known and len(self._known) >= self._most:
            return False
        self._waiting.pop(caller, None)
        self._known.add(caller)
        return True

    async def close(self) -> None:
        """End all."""
        tasks = [caller.task for caller in (*self._waiting, *self._known)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _make_room(self) -> None:
        users = users_by_ports()
        for caller in self._waiting:
            if caller.uid is None:
                caller.uid = users.get(caller.ports)
        for caller in surplus(tuple(self._waiting), KEPT_WAITING):
            del self._waiting[caller]
            caller.task.cancel()


def users_by_ports() -> dict[Ports, int]:
    """The user id that owns the near end of each TCP connection of this machine; empty where unknown."""
    try:
        with open(_TABLE) as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return {}
    return {(_port(row[1]), _port(row[2])): int(row[_UID_COLUMN]) for row in rows}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _caller(task: asyncio.Task[object], writer: asyncio.StreamWriter) -> OpenConnection:
    """A unix socket tells whose it is; of TCP the kernel's table does, which is looked at when it matters."""
    line = writer.get_extra_info("socket")
    if line.family == socket.AF_UNIX:
        credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return OpenConnection(task, (0, 0), _UCRED.unpack(credentials)[1])
    near, far = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    return OpenConnection(task, (far[1] if far else 0, near[1]))
