"""Reads an OpenSSH ProxyCommand as an argument list, and runs it as the connection to a server."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pancode.fleet.ssh.errors import ConnectError, LinkFault, TargetError

_QUOTED = re.compile(r"'[^']*'|\"[^\"$`]*\"")
_FOR_A_SHELL = re.compile(r"[$`;&|<>()]")
_PLAIN = re.compile(r"[A-Za-z0-9_.:%@+][A-Za-z0-9_.:%@+-]*")
_KEPT = 400
"""How many characters of the command's last output are stored."""


def parse_command(text: str, alias: str, tokens: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """Return the ProxyCommand of `alias` as arguments, tokens filled in; empty: none. Raises TargetError.

    OpenSSH passes the line to the user's shell, but PanCode does not; a line that needs a shell must name the
    shell: `sh -c '...'`.
    """
    if _FOR_A_SHELL.search(_QUOTED.sub("", text)):
        raise TargetError(
            f"the ProxyCommand of {alias} needs a shell: {text}",
            why="PanCode runs the command directly, without a shell",
            fix=f"write it as ProxyCommand sh -c {shlex.quote(text)}",
        )
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise TargetError(f"the ProxyCommand of {alias}: {error}", fix="close the quote") from error
    filled = [_fill(word, tokens, alias) for word in words]
    return tuple(str(home) + word[1:] if word.startswith("~/") else word for word in filled)


def _fill(word: str, tokens: Mapping[str, str], alias: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] not in ("h", "n", "p", "r"):
            raise TargetError(
                f"the ProxyCommand of {alias} uses the unsupported token %{match[1]}",
                fix="use %h, %n, %p or %r",
            )
        found = tokens[match[1]]
        if not _PLAIN.fullmatch(found):  # OpenSSH refuses these characters, too: the command may be a shell
            raise TargetError(f"{found!r} cannot be used for %{match[1]} in the ProxyCommand of {alias}")
        return found

    return re.sub(r"%(.)", value, word)


class ProxyCommand:
    """One running ProxyCommand; `socket` connects to the server through its standard input and output."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket, name: str) -> None:
        self.socket = ours
        self._process = process
        self._name = name
        self._stderr = b""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: tuple[str, ...], environ: Mapping[str, str]) -> ProxyCommand:
        """Start the command with these variables added; the caller ends it. Raises ConnectError if the
        program does not exist."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **environ},
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise ConnectError(
                LinkFault.UNREACHABLE,
                f"cannot start the ProxyCommand {command[0]}",
                why=str(error),
                fix="install the program, or set its full path in ~/.ssh/config",
            ) from error
        finally:
            theirs.close()
        return cls(process, ours, command[0])

    async def _read(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._stderr = (self._stderr + data)[-_KEPT:]

    async def why(self) -> str:
        """Return the command's last output, as the reason why a connection failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.shield(self._reading)
        output = " ".join(self._stderr.decode(errors="replace").split())
        return f"the ProxyCommand {self._name} " + (f"said: {output}" if output else "said nothing")

    def end(self) -> None:
        """End the command and the processes that it started; idempotent."""
        self.socket.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)

    async def close(self) -> None:
        """End the command and wait until it has ended."""
        self.end()
        try:
            async with asyncio.timeout(2):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        self._reading.cancel()
        await asyncio.wait([self._reading])
