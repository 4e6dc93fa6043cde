"""HTTP over the coordinator's Unix socket, or over the SSH login to its machine: one request per connection.

The standard library's client would load its parsers of mail and TLS, a tenth of the CPU of a short command.
"""

from __future__ import annotations

import io
import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pancode.interfaces.client.remote.place import RemoteCoordinator
from pancode.kernel.errors import ConfigError, UnavailableError

Place = Path | RemoteCoordinator
"""Where a coordinator is: its PANCODE_HOME on this machine, or a remote coordinator."""
SOCKET = "api.sock"
_LONGEST = 100
"""Bytes of the longest path that a socket's address can hold on every system."""
_LONGEST_LINE, _MOST_HEADERS = 65_536, 100
_UNTIL_CLOSED = -1
"""The length of a body that ends with the connection."""


class NotRunningError(UnavailableError):
    """The error that no coordinator runs for this PANCODE_HOME."""

    code = "not_running"


@contextmanager
def open_socket_path(folder: Path, name: str) -> Iterator[str]:
    """Yield a path of the socket; one too long for a socket address is replaced by one in /proc/self/fd."""
    path = str(folder / name)
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)


class Connection:
    """A connection for one request. `starts`, `works`: as for `Client`; they decide whether a remote machine
    starts its coordinator. All methods raise OSError if the connection fails, and TimeoutError after
    `timeout_s` without a byte."""

    def __init__(self, place: Place, timeout_s: float, *, starts: bool = False, works: bool = True) -> None:
        self.place = place
        self.sock: socket.socket | None = None
        self._file: io.BufferedReader | None = None
        self._timeout_s = timeout_s
        self._wanted = (starts, works)

    def connect(self) -> socket.socket:
        """Return the connected socket, and connect it first if needed. Raises NotRunningError if no
        coordinator listens, and the errors of the SSH login to another machine."""
        if self.sock is not None:
            return self.sock
        if isinstance(self.place, Path):
            self.sock = _connect_here(self.place, self._timeout_s)
        else:
            self.sock = self.place.open(*self._wanted)
            self.sock.settimeout(self._timeout_s)
        return self.sock

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send the request. `path` and `headers` are ASCII without line breaks."""
        lines = [f"{method} {path} HTTP/1.1", "Host: pancode", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [] if body is None else [f"Content-Length: {len(body)}"]
        if " " in path or any(not line.isprintable() for line in lines):
            raise ValueError("a space in the path, or a control character")
        self.connect().sendall("\r\n".join([*lines, "", ""]).encode("ascii") + (body or b""))

    def read_response(self) -> Response:
        """Return the response when its headers are there; its body can be read from it."""
        self._file = self.connect().makefile("rb")
        return Response(self._file)

    def has_answer(self, wait_s: float) -> bool:
        """Whether the answer begins, or the connection ends, within this time."""
        return self.sock is None or bool(select.select([self.sock], [], [], wait_s)[0])

    def find_peer(self) -> int | None:
        """Return the coordinator's process id; None for a remote coordinator, or if it has ended."""
        if self.sock is None or not isinstance(self.place, Path):
            return None
        try:
            raw = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except (OSError, AttributeError):  # the system may not report it
            return None
        pid: int = struct.unpack("3i", raw)[0]
        return pid or None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()  # a socket stays open while its file is
        if self.sock is not None:
            self.sock.close()
        self._file = self.sock = None


class Response:
    """A response: its status, its headers (names in lower case), and a stream of its body.

    Reading raises ConnectionError if the connection ends before the body does.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        line = file.readline(_LONGEST_LINE)
        if not line:
            raise ConnectionResetError("the coordinator closed the connection without an answer")
        version, _, status = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
            raise ConnectionError(f"not an answer in HTTP: {line[:80]!r}")
        self.status = int(status[:3])
        self.headers = dict[str, str]()
        while (line := file.readline(_LONGEST_LINE)) not in (b"\r\n", b"\n"):
            if not line.endswith(b"\n") or len(self.headers) == _MOST_HEADERS:
                raise ConnectionResetError("the answer ends within its headers, or they are too long")
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()
        is_chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        length, told = _UNTIL_CLOSED, self.headers.get("content-length")
        if told is not None:
            length = _parse_size(told.encode(), 10)
        self._body = io.BufferedReader(_Body(file, 0 if is_chunked else length, is_chunked=is_chunked))

    def read(self) -> bytes:
        """Return the rest of the body."""
        return self._body.read()

    def readline(self) -> bytes:
        """Return the next line of the body as soon as it is complete; empty at the end of the body."""
        return self._body.readline()


class _Body(io.RawIOBase):
    """The body in the connection's bytes, of this length, in chunks, or until the connection is closed."""

    def __init__(self, file: io.BufferedReader, length: int, *, is_chunked: bool) -> None:
        self._file = file
        self._is_chunked = is_chunked
        self._left = length
        """Bytes until the end of the chunk, or of the body."""
        self._is_first = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._is_chunked and not self._left:
            if not self._is_first:
                self._file.readline(_LONGEST_LINE)  # the line break after a chunk
            self._is_first = False
            self._left = _parse_size(self._file.readline(_LONGEST_LINE).partition(b";")[0], 16)
            self._is_chunked = self._left > 0  # a chunk without bytes is the end of the body
        if not self._left:
            return 0
        if self._left == _UNTIL_CLOSED:
            return self._file.readinto1(buffer)
        count = self._file.readinto1(memoryview(buffer)[: self._left])
        if not count:
            raise ConnectionResetError("the answer ends within its body")
        self._left -= count
        return count


def _parse_size(text: bytes, base: int) -> int:
    """Return a length; ConnectionError for another text, as at the end of an answer that was cut off."""
    if not text.strip().isalnum():
        raise ConnectionResetError(f"the length of the answer is missing or wrong: {text[:40]!r}")
    try:
        return int(text, base)
    except ValueError as exc:
        raise ConnectionResetError(f"the length of the answer is wrong: {text[:40]!r}") from exc


def _connect_here(home: Path, timeout_s: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        with open_socket_path(home, SOCKET) as path:
            sock.connect(path)
    except OSError as exc:
        sock.close()
        match exc:
            case FileNotFoundError() | ConnectionRefusedError():
                what = f"no coordinator is running for {home}"
                raise NotRunningError(what, why=str(exc), fix="pancode fleet up") from exc
            case NotADirectoryError():
                raise ConfigError(
                    f"{home} cannot be used as a directory",
                    why=f"part of its path is a file: {exc.strerror}",
                    fix="set PANCODE_HOME to a directory of your own",
                ) from exc
        raise UnavailableError(
            f"cannot use the coordinator's socket in {home}",
            why=str(exc),
            fix="run as the user who owns this directory, or set PANCODE_HOME to one of your own",
        ) from exc
    return sock
