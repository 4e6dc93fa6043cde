"""The other end of PANCODE_COORDINATOR: connections with this machine's coordinator, over standard input."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pancode import __version__
from pancode.interfaces.client.caller import handed_on, login_name
from pancode.interfaces.client.client import Client, home_here
from pancode.interfaces.client.remote.channels import (
    MOST_LINE,
    PROTOCOL,
    FrameKind,
    TunnelChannels,
    line_of,
    read_line,
)
from pancode.interfaces.client.remote.place import forget_remote
from pancode.kernel.errors import PancodeError, UsageError, WorkspaceError

QUIET_S = 600.0
"""Seconds that a connection may be silent, as the far end decides how long it waits for an answer."""


def serve_stdio() -> int:
    """Speak with the far end until it goes; return the exit status. Standard output has only its frames."""
    source, sink = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # any other output of this process
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


class Relay:
    """Opens a connection with the coordinator for each channel that the far end opens."""

    def __init__(self, home: Path, source: int, sink: int) -> None:
        self._home = home
        self._channels = TunnelChannels(source, sink, self._on_frame)

    def run(self) -> None:
        self._channels.run()

    def _on_frame(self, kind: FrameKind, number: int, payload: bytes) -> None:
        """Open each channel in a thread: a coordinator that has to be started takes its time."""
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
        # First: the far end sends as soon as it hears of it.
        self._channels.carry(number, connection, halves="copy" in wanted)
        self._channels.send(FrameKind.OPENED, number)

    def _open_socket(self, wanted: Mapping[str, Any]) -> socket.socket:
        if "copy" in wanted:
            from pancode.checkouts.copies import serve_git  # only where files travel

            return serve_git(self._home, str(wanted["copy"]), str(wanted.get("service")))
        starts, works = bool(wanted["starts"]), bool(wanted["works"])
        found: socket.socket = Client(self._home, starts=starts, works=works).connected(QUIET_S).sock
        return found


def _send(sink: int, message: Mapping[str, Any]) -> None:
    """Send a message behind a line end: the output of the login's start-up files may lack one."""
    os.write(sink, b"\n" + line_of(message))


def _read_hello(source: int) -> dict[str, Any]:
    """Return the far end's first line. UsageError where another program is there."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MOST_LINE:
        byte = os.read(source, 1)
        if not byte:
            break
        line += byte
    hello = read_line(bytes(line))
    if hello is None:
        raise UsageError(
            "this command must be started by PanCode on another node",
            fix="on the other node: export PANCODE_COORDINATOR=ssh://THIS-MACHINE",
            code="no_far_end",
        )
    return hello


def _resolve_home(named: str) -> Path:
    """Return the home that is named; `~` is the login's. ConfigError, UsageError."""
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
    """Return the folder, absolute; a relative one begins in the login's home, as with scp. WorkspaceError."""
    found = Path.home() / Path(named).expanduser() if named.startswith("~") else Path.home() / named
    if not found.is_dir():
        raise WorkspaceError(
            f"directory {found} not found on the coordinator's machine",
            fix="choose another directory: -C DIR",
        )
    return str(found)


def _dump_error(error: PancodeError) -> Mapping[str, Any]:
    return asdict(error.problem())
