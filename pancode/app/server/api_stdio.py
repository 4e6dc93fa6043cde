"""The remote end of PANCODE_COORDINATOR: connects standard input and output to this machine's coordinator."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node_agent.link.channels import TunnelChannels
from node_agent.wire.frames import MOST_LINE, PROTOCOL, FrameKind, line_of, read_line
from pancode import __version__
from pancode.interfaces.client.caller import handed_on, login_name
from pancode.interfaces.client.client import Client, home_here
from pancode.interfaces.client.remote.place import forget_remote
from pancode.kernel.errors import PancodeError, UsageError, WorkspaceError

QUIET_S = 600.0
"""Seconds that a connection may be idle; the caller decides how long it waits for an answer."""


def serve_stdio() -> int:
    """Serve the caller until it disconnects; return the exit status. Standard output carries only frames."""
    source, sink = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # redirects any other output of this process
    forget_remote()
    try:
        hello = _read_hello(source)
        home, facts = _resolve_home(str(hello.get("home") or "")), _collect_facts(hello.get("folder"))
    except PancodeError as error:
        _send(sink, {"protocol": PROTOCOL, "version": __version__, "error": _dump_error(error)})
        return int(error.exit_code)
    _send(sink, facts)
    Relay(home, source, sink).run()
    return 0


def serve_copy(home: Path, copy: str, service: str) -> socket.socket:
    from pancode.checkouts.copies import serve_git  # only needed to transfer files

    return serve_git(home, copy, service)


SERVED: dict[str, Callable[[Path, str, str], socket.socket]] = {"copy": serve_copy}
"""What a channel may be connected to besides the coordinator, for a service."""


class Relay:
    """Connects each channel that the caller opens to the coordinator."""

    def __init__(self, home: Path, source: int, sink: int) -> None:
        self._home = home
        self._channels = TunnelChannels(source, sink, self._on_frame)

    def run(self) -> None:
        self._channels.run()

    def _on_frame(self, kind: FrameKind, number: int, payload: bytes) -> None:
        """Open each channel in a thread, since starting a coordinator takes time."""
        if kind is FrameKind.OPEN:
            threading.Thread(target=self._open, args=(number, payload), daemon=True).start()

    def _open(self, number: int, payload: bytes) -> None:
        try:
            wanted = json.loads(payload)
            connection = self._open_socket(wanted)
        except PancodeError as error:
            self._channels.send(FrameKind.REFUSED, number, json.dumps(_dump_error(error)).encode())
            return
        connection.settimeout(None)
        # Done before sending OPENED, since the caller sends data as soon as it receives OPENED.
        self._channels.carry(number, connection, halves="copy" in wanted)
        self._channels.send(FrameKind.OPENED, number)

    def _open_socket(self, wanted: Mapping[str, Any]) -> socket.socket:
        for what in SERVED.keys() & wanted.keys():
            return SERVED[what](self._home, str(wanted[what]), str(wanted.get("service")))
        starts, works = bool(wanted["starts"]), bool(wanted["works"])
        return Client(self._home, starts=starts, works=works).open_connection(QUIET_S).connect()


def _send(sink: int, message: Mapping[str, Any]) -> None:
    """Send a message after a newline: the output of the login's start-up files may lack one."""
    os.write(sink, b"\n" + line_of(message))


def _read_hello(source: int) -> dict[str, Any]:
    """Return the caller's first line. UsageError if the caller is not PanCode."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MOST_LINE:
        byte = os.read(source, 1)
        if not byte:
            break
        line += byte
    hello = read_line(bytes(line))
    if hello is None:
        raise UsageError(
            "this command must be started by PanCode on another machine",
            fix="on the other machine: export PANCODE_COORDINATOR=ssh://THIS-MACHINE",
            code="no_far_end",
        )
    return hello


def _resolve_home(named: str) -> Path:
    """Return the named home; `~` is the login's home. ConfigError, UsageError."""
    if named:
        os.environ["PANCODE_HOME"] = named
    return home_here(os.environ)


def _collect_facts(folder: object) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "user": login_name(),
        "environ": handed_on(os.environ),
        "folder": None if folder is None else _resolve_folder(str(folder)),
    }


def _resolve_folder(named: str) -> str:
    """Return the absolute folder; a relative path starts at the login's home, as with scp. WorkspaceError."""
    found = Path.home() / Path(named).expanduser() if named.startswith("~") else Path.home() / named
    if not found.is_dir():
        raise WorkspaceError(
            f"directory {found} not found on the coordinator's machine",
            fix="choose another directory: -C DIR",
        )
    return str(found)


def _dump_error(error: PancodeError) -> Mapping[str, Any]:
    return asdict(error.problem())
