"""Decides by the owner of its socket whether a server on a local port may be used unconfigured. Any user of
this computer, and each run that shares its network, can listen on a free port."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from node_agent.shim import process

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"
_MINE = frozenset({"0100007F", "00000000", "0" * 32, f"{'0' * 16}FFFF00000100007F", f"{'0' * 24}01000000"})
"""Addresses at which a connection to 127.0.0.1, or to ::1, may arrive, in the kernel's notation."""
SHIM = os.fsencode(f"{os.path.dirname(os.path.abspath(process.__file__))}/shim.py")


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket: its owner, and its inode, which identifies its process."""

    uid: int
    inode: int


def parse_listeners(table: str, port: int) -> list[Listener]:
    """Return the sockets that listen on that local port, from a table of the kernel."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or words[3] != _LISTENS:
            continue
        address, _, at = words[1].rpartition(":")
        if int(at, 16) == port and address in _MINE:
            found.append(Listener(int(words[7]), int(words[9])))
    return found


def explain_refusal(
    found: Iterable[Listener], own: int, users: Iterable[int], of_a_run: Callable[[int], bool | None]
) -> str:
    """Return the reason why a server may not be used without being configured; empty if it may.

    `own`: the node agent's user; `users`: those whom the node's owner trusts; `of_a_run`: whether the process
    of a socket belongs to a run, None if no process is found.
    """
    every, trusted = list(found), {0, *users}
    if not every:
        return "the kernel lists no process of this machine that listens there"
    for one in every:
        inside = of_a_run(one.inode) if one.uid == own else None
        if inside:
            return "it is part of a run"
        if one.uid in trusted or (one.uid == own and inside is False):
            continue
        if one.uid == own:
            return "the server's process cannot be found"
        return f"it is owned by user {name_of(one.uid)}"
    return ""


def name_of(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)


def uids_of(users: Iterable[str | int]) -> list[int]:
    """Return the user ids of these names and numbers; unknown names are omitted."""
    found = []
    for user in users:
        try:
            found.append(user if isinstance(user, int) else pwd.getpwnam(user).pw_uid)
        except KeyError:
            continue
    return found


def find_listeners(port: int, tables: Iterable[str] = TABLES) -> list[Listener]:
    """Return the sockets that would get a connection to that local port now."""
    return [one for path in tables for one in parse_listeners(_text(path), port)]


def find_stranger(port: int, users: Iterable[str | int], tables: Iterable[str] = TABLES) -> str:
    """Return why the server at that local port may not be used unconfigured; empty if it may."""
    return explain_refusal(find_listeners(port, tables), os.geteuid(), uids_of(users), is_of_a_run)


def is_of_a_run(inode: int) -> bool | None:
    """Whether a process that has this socket belongs to a run; None if no such process is found."""
    holders = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _holds_inode(pid, inode)]
    return any(map(_in_a_run, holders)) if holders else None


def _holds_inode(pid: int, inode: int) -> bool:
    folder, wanted = f"/proc/{pid}/fd", f"socket:[{inode}]"
    try:
        return any(_link(f"{folder}/{number}") == wanted for number in os.listdir(folder))
    except OSError:  # the process belongs to another user, or has ended
        return False


def _in_a_run(pid: int) -> bool:
    """Whether the process belongs to a run, by its marker or as a descendant of one of our shims."""
    seen: set[int] = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        if _is_marked(pid) or SHIM in _read_bytes(pid, "cmdline").split(b"\0"):
            return True
        above = process.read_stat(pid)
        pid = above.ppid if above else 0
    return False


def _is_marked(pid: int) -> bool:
    mark = f"{process.MARKER}=".encode()
    return any(word.startswith(mark) for word in _read_bytes(pid, "environ").split(b"\0"))


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace")
    except OSError:
        return ""


def _read_bytes(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
