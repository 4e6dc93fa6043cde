"""Finds a coordinator's home and reaches the unix socket in it."""

from __future__ import annotations

import errno
import http.client
import json
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pancode.errors import ConfigError, PancodeError, UnavailableError, UsageError
from pancode.remote.address import VARIABLE
from pancode.remote.place import RemoteCoordinator, remote_of
from pancode.remote.refusal import ApiError

Place = Path | RemoteCoordinator
"""Where a coordinator is: its home on this machine, or another machine."""
Json = dict[str, Any]
SOCKET = "api.sock"
KEY_LOST = "key/LOST"
"""A file that says: the key of this fleet will not come back, begin with another one."""
LOOK_S = 1.5
"""So often one who waits asks whether the coordinator is still at work, and so long for that answer."""
NOTE_S, SILENT_S = 3.0, 30.0
"""After so long a person is told that nobody is answered, and after so long waiting is given up."""
_LONGEST = 100
_LONGEST_NAME, _LONGEST_HOME = 255, 3_500


Note = Callable[[str], None]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unheard(text: str) -> None:
    """A note where there is nobody to be told."""


def unusable(home: Path, exc: OSError) -> ConfigError:
    """A home that cannot be made or written, with what helps."""
    fix = (
        f"make room on its disk: df -h {home}"
        if exc.errno in FULL
        else "set PANCODE_HOME to a folder of your own"
    )
    return ConfigError(f"{home} cannot be used", why=str(exc), fix=fix, code="home_unusable")


def named(text: str) -> str:
    """A name that a person typed. UsageError for an empty one: an empty variable does not mean `any`."""
    if not text:
        raise UsageError("the name is empty", fix="give a name; a run: pancode runs")
    if not text.isascii() and text != text.encode("utf-8", "ignore").decode():
        raise UsageError("the name is not valid text", fix="give a name; a run: pancode runs")
    return text


class NotRunningError(UnavailableError):
    """No coordinator runs on this home."""

    code = "not_running"


class FleetDownError(NotRunningError):
    """No coordinator runs, because a person has taken the fleet down: nobody who only looks starts it."""

    code = "fleet_down"
    retryable = False


def place_of(environ: Mapping[str, str]) -> Place:
    """The coordinator that a command speaks with. ConfigError as `home_of` and for a bad address."""
    return remote_of(environ) or home_here(environ)


def home_of(environ: Mapping[str, str]) -> Path:
    """The coordinator's home, for what reads or writes its files. UsageError: it is on another machine."""
    there = remote_of(environ)
    if there is not None:
        raise there.refuse(
            "this command reads or writes files in the coordinator's home, which is on another machine",
            f"{there.address.by_hand('pancode ...')}, or for this machine: env -u {VARIABLE} pancode ...",
        )
    return home_here(environ)


def home_here(environ: Mapping[str, str]) -> Path:
    """`$PANCODE_HOME` or `~/.pancode`, absolute. ConfigError for one that no file system takes."""
    given = environ.get("PANCODE_HOME")
    user = Path(environ.get("HOME") or Path.home())
    home = Path(given).expanduser() if given else user / ".pancode"
    if given and not home.is_absolute():
        raise ConfigError(
            f"PANCODE_HOME is no absolute path: {given}",
            why="in each folder where you stand it would be another fleet",
            fix=f"export PANCODE_HOME={home.absolute()}",
            code="home_relative",
        )
    home = home.absolute()
    long = next((part for part in home.parts if len(os.fsencode(part)) > _LONGEST_NAME), None)
    if long is not None or len(os.fsencode(home)) > _LONGEST_HOME:
        what = f"a part of {len(os.fsencode(long))} bytes" if long else f"{len(os.fsencode(home))} bytes"
        raise ConfigError(
            f"{'PANCODE_HOME' if given else 'HOME'} is too long: it has {what}",
            why=f"file systems take names of {_LONGEST_NAME} bytes, and we need room below {_LONGEST_HOME}",
            fix="set PANCODE_HOME to a shorter path",
            code="home_too_long",
        )
    return home


@contextmanager
def reachable(folder: Path, name: str) -> Iterator[str]:
    """The socket's path, through an open folder where it would be too long for a socket's address."""
    path = str(folder / name)
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, or through the login on the machine where the coordinator is.

    `starts`, `works`: what another machine may do there that this one does itself, as for `Client`.
    """

    def __init__(self, place: Place, timeout_s: float, *, starts: bool = False, works: bool = True) -> None:
        super().__init__("pancode", timeout=timeout_s)
        self.place = place
        self._wanted = (starts, works)

    def connect(self) -> None:
        if isinstance(self.place, Path):
            self._connect_here(self.place)
            return
        try:
            self.sock = self.place.open(*self._wanted)
        except ApiError as refused:
            raise _not_running(refused) from refused
        self.sock.settimeout(self.timeout)

    def _connect_here(self, home: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            with reachable(home, SOCKET) as path:
                self.sock.connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            self.close()
            raise NotRunningError(
                f"no coordinator runs on {home}", why=str(exc), fix="pancode fleet up"
            ) from exc
        except NotADirectoryError as exc:
            self.close()
            raise ConfigError(
                f"{home} cannot be a folder",
                why=f"a part of its path is a file: {exc.strerror}",
                fix="set PANCODE_HOME to a folder of your own",
            ) from exc
        except OSError as exc:
            self.close()
            raise UnavailableError(
                f"the coordinator's socket in {home} cannot be used",
                why=str(exc),
                fix="run as the user whose home this is, or set PANCODE_HOME",
            ) from exc


def _not_running(refused: ApiError) -> PancodeError:
    """Callers tell by the class that none runs there."""
    kinds = {NotRunningError.code: NotRunningError, FleetDownError.code: FleetDownError}
    kind = kinds.get(refused.code)
    return refused if kind is None else kind(str(refused), why=refused.why, fix=refused.fix)


def until_answered(
    connection: UnixConnection, wait_s: float, told: Callable[[Json], None] | None, note: Note = unheard
) -> None:
    """Until the answer to what was asked on it begins, or it ends; TimeoutError after `wait_s`.

    With `told`, which gets what snapshots are under way, for as long as others are answered. In any case no
    longer than SILENT_S while nobody is answered; `note` hears of that.
    """
    step, waited, silent, noted = min(LOOK_S, wait_s / 4), 0.0, 0.0, False
    while not select.select([connection.sock], [], [], step)[0]:
        seen = ask(connection.place, "/v1/snapshots", step)
        waited += step
        silent = 0.0 if seen is not None else silent + step
        if seen is not None and told is not None:
            told(seen)
        if silent * 2 >= NOTE_S and not noted:  # each look waits twice: for our answer, and for its own
            noted = True
            note(f"waiting for the coordinator, pid {pid_of(connection) or 'unknown'}")
        if silent * 2 >= min(wait_s, SILENT_S):
            raise TimeoutError(f"for {silent * 2:g} s nobody was answered")
        if told is None and waited >= wait_s:
            raise TimeoutError(f"nothing came for {wait_s:g} s")


def pid_of(connection: UnixConnection) -> int | None:
    """The process at the other end, as the system knows it; None for one of another machine."""
    if not isinstance(connection.place, Path):
        return None
    try:
        raw = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (OSError, AttributeError):  # it is gone, or this system does not tell
        return None
    pid: int = struct.unpack("3i", raw)[0]
    return pid or None


def silence(error: TimeoutError, pid: int | None) -> tuple[str, str, str]:
    """Message, why and fix of the error for a coordinator that did not answer."""
    fix = "look before you repeat: pancode runs"
    if pid is not None:
        fix += f"; where that is not answered either: kill {pid} (else kill -9 {pid}), runs on nodes go on"
    message = f"the coordinator{f', pid {pid},' if pid else ''} did not answer in time"
    return message, f"{error}; it may still be at work on this", fix


def ask(place: Place, path: str, timeout_s: float) -> Json | None:
    """The coordinator's answer to that question; None when it cannot be read."""
    connection = UnixConnection(place, timeout_s)
    try:
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
        return answer if isinstance(answer, dict) else None
    except (OSError, http.client.HTTPException, UnavailableError, ApiError, ValueError):
        return None
    finally:
        connection.close()
