"""What a lab remembers about itself and its hosts (state.json), and where its files are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TypedDict

from .system import Fail, lock, read, write

PREFIX = "pancode-lab-"


def ipv6_of(addr: str) -> str:
    """The IPv6 address of what has this IPv4 address in a lab."""
    return "fd74:6873::" + addr.replace(".", ":")


def dns_name(k: int) -> str:
    """A name of host k, which whoever reads `Reports.hosts_file` in place of /etc/hosts can look up."""
    return f"node{k}.lab.example"


class HostState(TypedDict):
    """One host; `pid`, `start` and `pidns` are those of its PID 1 as this machine counts."""

    name: str
    addr: str
    uid: int
    state: str  # off | up | frozen
    pid: int
    start: int
    pidns: int
    cut: str | None  # how the link was cut: silent | unplug
    slow: dict[str, float] | None
    relay: list[int] | None  # pid and start time of the relay that slows the link
    sshd: list[str]
    faults: list[str]
    host_key: str


class LabState(TypedDict):
    """The whole lab; `owner` is the (pid, start time) that must be alive, or None if any may leave it up."""

    name: str
    coordinator: str
    user: str
    shell: str
    share: list[str]
    home_mb: int
    systemd: bool
    owner: list[int] | None
    hosts: dict[str, HostState]


class Stateful:
    """Names, paths and the state file of one lab."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,6}", name):  # an interface name has 15 characters
            raise Fail("a lab's name must match [a-z][a-z0-9]{0,6}")
        self.name, self.bridge = name, name + "-br"
        self.dir = os.path.join(tempfile.gettempdir(), PREFIX + name)
        self._state: LabState | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def link(self, k: int) -> str:
        """The host's link on the bridge; also the name of its network namespace."""
        return f"{self.name}-{k}"

    def path(self, k: int, *parts: str) -> str:
        return os.path.join(self.dir, str(k), *parts)

    def mac(self, k: int) -> str:
        return f"02:74:68:01:00:{k:02x}"

    @property
    def state(self) -> LabState:
        if self._state is None:
            text = read(f"{self.dir}/state.json")
            if not text:
                raise Fail(f"lab {self.name!r} is not up")
            self._state = json.loads(text)
        assert self._state is not None
        return self._state

    @property
    def hosts(self) -> dict[int, HostState]:
        return {int(k): h for k, h in self.state["hosts"].items()}

    def save(self) -> None:
        write(f"{self.dir}/state.json", json.dumps(self.state, indent=1), 0o600)

    def locked(self) -> AbstractContextManager[None]:
        """One command at a time per lab."""
        return lock("lab/" + self.name)


Hosts = Sequence[int]
