"""Runs one command on a node in this terminal, passing on window size, Ctrl-C and exit status."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
import signal
import struct
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncssh

from pancode.fleet.ssh.connection import Session
from pancode.fleet.ssh.errors import LinkLost, RemoteFailed, translate_ssh_errors

CHUNK = 64 << 10
Size = tuple[int, int, int, int]
"""The size of a terminal: columns, rows, and both in pixels."""


async def attach(session: Session, argv: Sequence[str], near: int, far: int, kind: str) -> int:
    """Run `argv` in this terminal. Returns its exit status, or 128 plus the number of the signal.

    `near`, `far`: this terminal's file descriptors for input and output. Raises LinkLost if the connection is
    lost, RemoteFailed if the node refuses a terminal.
    """
    with translate_ssh_errors():
        process = await _open(session, shlex.join(argv), kind, size_of(near))
    try:
        with _set_raw(near), _follow_resizes(near, process):
            feed = asyncio.create_task(_feed(near, process))
            try:
                while chunk := await process.stdout.read(CHUNK):
                    while chunk:
                        chunk = chunk[os.write(far, chunk) :]
                await process.wait_closed()
            finally:
                feed.cancel()
                await asyncio.gather(feed, return_exceptions=True)
    except (OSError, asyncssh.Error) as error:
        raise LinkLost(str(error) or type(error).__name__) from error
    finally:
        process.close()
    if process.exit_signal is not None:
        return 128 + getattr(signal, f"SIG{process.exit_signal[0]}", 0)
    if process.exit_status is None:
        raise LinkLost("the connection ended before the command finished")
    return process.exit_status


async def _open(session: Session, command: str, kind: str, size: Size) -> asyncssh.SSHClientProcess[bytes]:
    try:
        return await session.conn.create_process(command, encoding=None, term_type=kind, term_size=size)
    except asyncssh.ChannelOpenError as error:
        if session.conn.is_closed():
            raise
        raise RemoteFailed(
            "the node refused a terminal",
            status=None,
            why=error.reason,
            fix="set PermitTTY yes in the node's sshd_config, or log in by hand (ssh -t)",
        ) from error


async def _feed(near: int, process: asyncssh.SSHClientProcess[bytes]) -> None:
    """Send typed bytes unchanged; the remote terminal turns the character Ctrl-C into a signal."""
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            piece = os.read(near, CHUNK)
        except OSError:  # this process's terminal was closed
            piece = b""
        if not piece:
            loop.remove_reader(near)
        typed.put_nowait(piece)

    loop.add_reader(near, read)
    try:
        while piece := await typed.get():
            process.stdin.write(piece)
            await process.stdin.drain()
        process.stdin.write_eof()
    finally:
        loop.remove_reader(near)


@contextmanager
def _set_raw(near: int) -> Iterator[None]:
    """Put this terminal in raw mode, so that every key reaches the remote one, and restore it afterwards."""
    before = termios.tcgetattr(near)
    tty.setraw(near)
    try:
        yield
    finally:
        termios.tcsetattr(near, termios.TCSADRAIN, before)


@contextmanager
def _follow_resizes(near: int, process: asyncssh.SSHClientProcess[bytes]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, lambda: process.change_terminal_size(*size_of(near)))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


def size_of(terminal: int) -> Size:
    rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))
    return columns or 80, rows or 24, width, height
