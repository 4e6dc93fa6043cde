"""The other end of PANCODE_COORDINATOR: connections with this machine's coordinator, over standard input."""

from __future__ import annotations

import json
import os
import pwd
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pancode import __version__
from pancode.client import Client
from pancode.connection import home_here
from pancode.errors import PancodeError, UsageError, WorkspaceError
from pancode.remote.channels import FrameKind, TunnelChannels
from pancode.remote.hello import HANDED_ON, MOST_LINE, PROTOCOL, line_of, read_line
from pancode.remote.place import forget_remote

QUIET_S = 600.0
"""A request may be answered late; the far end decides how long it waits."""


def answer() -> int:
    """Speak with the far end until it goes; the exit status. Standard output has its frames alone."""
    source, sink = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what anything else prints
    forget_remote()
    try:
        said = _heard(source)
        home, facts = _home(str(said.get("home") or "")), _facts(said.get("folder"))
    except PancodeError as error:
        _say(sink, {"protocol": PROTOCOL, "version": __version__, "error": _plain(error)})
        return int(error.exit_code)
    _say(sink, facts)
    Relay(home, source, sink).run()
    return 0


class Relay:
    """Opens a connection with the coordinator for each channel that the far end opens."""

    def __init__(self, home: Path, source: int, sink: int) -> None:
        self._home = home
        self._channels = TunnelChannels(source, sink, self._asked)

    def run(self) -> None:
        self._channels.run()

    def _asked(self, kind: FrameKind, number: int, payload: bytes) -> None:
        """In a thread of its own: a coordinator that has to be started takes its time."""
        if kind is FrameKind.OPEN:
            threading.Thread(target=self._open, args=(number, payload), daemon=True).start()

    def _open(self, number: int, payload: bytes) -> None:
        try:
            wanted = json.loads(payload)
            starts, works = bool(wanted["starts"]), bool(wanted["works"])
            connection = Client(self._home, starts=starts, works=works).connected(QUIET_S).sock
        except PancodeError as error:
            self._channels.send(FrameKind.REFUSED, number, json.dumps(_plain(error)).encode())
            return
        connection.settimeout(None)
        self._channels.carry(number, connection)  # first: the far end sends as soon as it hears of it
        self._channels.send(FrameKind.OPENED, number)


def _say(sink: int, said: Mapping[str, Any]) -> None:
    """In a line of its own: what the login's start-up files print may have no line end."""
    os.write(sink, b"\n" + line_of(said))


def _heard(source: int) -> dict[str, Any]:
    """UsageError for what is no far end of ours."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MOST_LINE:
        byte = os.read(source, 1)
        if not byte:
            break
        line += byte
    said = read_line(bytes(line))
    if said is None:
        raise UsageError(
            "this command is for another PanCode, which did not speak",
            fix="on the other machine: export PANCODE_COORDINATOR=ssh://THIS-MACHINE",
            code="no_far_end",
        )
    return said


def _home(named: str) -> Path:
    """ConfigError, UsageError. `~` is the login's."""
    if named:
        os.environ["PANCODE_HOME"] = named
    return home_here(os.environ)


def _facts(folder: object) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "user": _login(),
        "environ": {name: os.environ[name] for name in HANDED_ON if name in os.environ},
        "folder": None if folder is None else _folder(str(folder)),
    }


def _login() -> str:
    """The user as whom SSH has let the far end in, whatever its environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _folder(named: str) -> str:
    """Absolute; what is not begins in the home of the login, as with scp. WorkspaceError."""
    found = Path.home() / Path(named).expanduser() if named.startswith("~") else Path.home() / named
    if not found.is_dir():
        raise WorkspaceError(
            f"there is no folder {found} on the coordinator's machine", fix="name another folder: -C DIR"
        )
    return str(found)


def _plain(error: PancodeError) -> Mapping[str, Any]:
    return asdict(error.problem())
