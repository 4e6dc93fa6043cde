"""Runs one command for PanCode's own SSH server; copies the streams explicitly, so that nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import psutil

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
