"""This machine as a node: PanCode's SSH server on 127.0.0.1, one per (simulated) node, key login only."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh
import psutil

from pancode.fleet.ssh.connection import as_host_key
from pancode.fleet.ssh.credentials import SshLogin
from pancode.fleet.ssh.home import LoopbackKeys
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.target import Target

CHUNK = 64 << 10
SHELL = "/bin/sh"
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class LoopbackPlace:
    """The folder and the user for the commands of the SSH server."""

    home: Path
    user: str
    environ: Mapping[str, str]
    serving: set[asyncio.Task[object]] = field(default_factory=set)
    """The running commands, which must be ended when the server stops."""

    def environment(self) -> dict[str, str]:
        base = {"PATH": PATH, "SHELL": SHELL, "LANG": "C.UTF-8"}
        return {**base, **self.environ, "HOME": str(self.home), "USER": self.user, "LOGNAME": self.user}


async def serve(place: LoopbackPlace, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run a channel's command as sshd does: by the shell, in the home folder, in its own session."""
    if process.command is None:
        process.stderr.write(b"this server runs commands only\n")
        process.exit(1)
        return
    task = asyncio.current_task()
    assert task is not None
    place.serving.add(task)
    try:
        await _serve(place, process, process.command)
    finally:
        place.serving.discard(task)


async def _serve(place: LoopbackPlace, process: asyncssh.SSHServerProcess[bytes], command: str) -> None:
    try:
        child = await asyncio.create_subprocess_exec(
            SHELL,
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=place.home,
            env=place.environment(),
            start_new_session=True,
        )
    except OSError as error:
        process.stderr.write(f"cannot start: {error}\n".encode())
        process.exit(126)
        return
    await _serve_process(child, process)


async def _serve_process(
    child: asyncio.subprocess.Process, process: asyncssh.SSHServerProcess[bytes]
) -> None:
    """Copy until both outputs end and the child is reaped, then report its exit."""
    assert child.stdout is not None and child.stderr is not None
    feed = asyncio.ensure_future(_feed(child, process))
    pumps = asyncio.gather(
        _pump_output(child.stdout, process.stdout), _pump_output(child.stderr, process.stderr)
    )
    try:
        await pumps
        code = await child.wait()
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)
    except (OSError, asyncssh.Error):
        await child.wait()
    except asyncio.CancelledError:
        pumps.cancel()
        _end_session(child.pid)  # processes that the command detached have their own session and continue
        await child.wait()
        raise
    finally:
        feed.cancel()
        await asyncio.gather(feed, pumps, return_exceptions=True)


async def _pump_output(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    """Copy to the end. If the sink is closed, still read the source, so that the child does not block."""
    gone = False
    while chunk := await source.read(CHUNK):
        if gone:
            continue
        try:
            sink.write(chunk)
            await sink.drain()
        except (OSError, asyncssh.Error):
            gone = True


async def _feed(child: asyncio.subprocess.Process, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Pass the client's input and signals to the child's session."""
    assert child.stdin is not None
    while True:
        try:
            chunk = await process.stdin.read(CHUNK)
            if not chunk:
                break
            child.stdin.write(chunk)
            await child.stdin.drain()
        except asyncssh.SignalReceived as received:
            _send_signal(child, received.signal)
        except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
            continue
        except (OSError, asyncssh.Error):
            break
    child.stdin.close()


def _send_signal(child: asyncio.subprocess.Process, name: str) -> None:
    number = getattr(signal, f"SIG{name}", None)
    if number is None or child.returncode is not None:
        return
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def _end_session(session: int) -> None:
    """Kill every process of the session, not just one group: `timeout`, for example, makes its own group."""
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


LOOPBACK = "127.0.0.1"
_LOCAL = frozenset({"127.0.0.1", "localhost", ""})


def default_path() -> str:
    """Return the standard PATH and this Python's folder: a node bundle for its version needs no network."""
    return f"{PATH}:{sys.base_prefix}/bin"


def environ_here(environ: Mapping[str, str], prefix: str, base: str) -> dict[str, str]:
    """Return the coordinator's environment for a node on this machine, without PanCode's own variables.

    `prefix`, `base`: `sys.prefix` and `sys.base_prefix`. The README puts PanCode's virtual environment first
    in PATH; it is removed, since runs would use PanCode's libraries in their gates and could write into it.
    VIRTUAL_ENV is removed, too.
    """
    kept = {name: environ[name] for name in ("PATH", "LANG", "XDG_RUNTIME_DIR") if name in environ}
    ours = os.path.realpath(f"{prefix}/bin") if prefix != base else None
    parts = [part for part in kept.get("PATH", "").split(":") if os.path.realpath(part or "/") != ours]
    # Add the Python of this process, wherever it is: a node bundle for it needs no network.
    return {**kept, "PATH": ":".join(parts) or default_path(), "PANCODE_PYTHON_BIN": f"{base}/bin"}


@dataclass(frozen=True, slots=True)
class LoopbackNode:
    """The environment of one server's commands: `home` is their HOME; PanCode's own files are not in it."""

    name: str
    user: str
    home: Path
    keys: LoopbackKeys
    environ: Mapping[str, str] = field(default_factory=lambda: {"PATH": default_path()})
    """Variables that are added to the commands' environment."""


class _Server(asyncssh.SSHServer):
    """Accepts only the key that PanCode made; forwards only to addresses on this machine."""

    def __init__(
        self, node: LoopbackNode, allowed: asyncssh.SSHKey, live: set[asyncssh.SSHServerConnection]
    ) -> None:
        self.node, self.allowed, self.live = node, allowed, live
        self.conn: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn
        self.live.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.conn is not None:
            self.live.discard(self.conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return False

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self.node.user and key == self.allowed

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return False

    def unix_server_requested(self, listen_path: str) -> bool:
        return listen_path.startswith("/")

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return listen_host in _LOCAL


class LoopbackServer:
    """PanCode's own SSH server; `start` returns its port. Belongs to one event loop."""

    def __init__(self, node: LoopbackNode) -> None:
        self.node = node
        self._host_key = asyncssh.import_private_key(node.keys.host)
        self._allowed = asyncssh.import_private_key(node.keys.client).convert_to_public()
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._live: set[asyncssh.SSHServerConnection] = set()
        self._place = LoopbackPlace(node.home, node.user, dict(node.environ))
        self.port = 0

    def use(self, environ: Mapping[str, str]) -> None:
        """Start the next commands with these variables."""
        self._place = replace(self._place, environ=dict(environ))

    @property
    def host_key(self) -> HostKey:
        return as_host_key(self._host_key.convert_to_public())

    @property
    def target(self) -> Target:
        """Return the SSH target of this node, in the same form as that of any other node."""
        return Target(self.node.name, LOOPBACK, self.port, self.node.user)

    @property
    def login(self) -> SshLogin:
        """Return the login with the key for this node; the user's own keys and agent are not used."""
        return SshLogin(keys=(self.node.keys.client,), own_only=True)

    async def start(self, port: int = 0) -> int:
        """Listen on 127.0.0.1 (port 0: any free port) and return the port. OSError if the port is in use."""
        self.node.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._acceptor = await asyncssh.listen(LOOPBACK, port, config=None, **self._make_options())
        self.port = self._acceptor.get_port()
        return self.port

    def _make_options(self) -> dict[str, Any]:
        return {
            "server_factory": lambda: _Server(self.node, self._allowed, self._live),
            "server_host_keys": [self._host_key],
            "process_factory": lambda process: serve(self._place, process),
            "sftp_factory": lambda channel: _Sftp(channel, self.node.home),
            "encoding": None,
            "keepalive_interval": 0,
            "login_timeout": 20,
            "allow_pty": False,
            "agent_forwarding": False,
            "x11_forwarding": False,
        }

    async def drop(self) -> None:
        """Drop every connection abruptly, as if a cable were cut; the listener stays."""
        for conn in tuple(self._live):
            conn.abort()
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Close listener and connections, and end running commands; detached processes continue."""
        if self._acceptor is not None:
            self._acceptor.close()
            await self.drop()
            serving = tuple(self._place.serving)
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            await self._acceptor.wait_closed()
            self._acceptor = None


class _Sftp(asyncssh.SFTPServer):
    """Uses absolute paths as they are, and resolves relative paths against the node's home."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], home: Path) -> None:
        super().__init__(channel)
        self._home = os.fsencode(home)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)

    def reverse_map_path(self, path: bytes) -> bytes:
        return path

    def realpath(self, path: bytes) -> bytes:
        return os.path.normpath(self.map_path(path))
