"""The pipes to an agent program that speaks ACP: one message of limited length per line, limited waits."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from node_agent.native.tools.shell import CHILDREN, kill_group
from node_agent.shim.process import find_members
from node_agent.wire.clock import Clock

Message = dict[str, Any]
PIECE, MOST_LINE = 1 << 16, 16 << 20
"""The bytes read at once, and the maximum of one line: a diff of a whole file is one line."""
LISTENS_MS, ENDS_MS, GONE_S = 10_000, 1_000, 10
"""How long the program may take to accept a message, and to end after its input was closed; and how long a
process that closed its output may take to exit."""
MOST_WORDS, SHOWN = 4_000, 300


class Broken(Exception):
    """An error after which no further message arrives; its text contains the program's output. `speaks`:
    whether the program had spoken ACP before."""

    def __init__(self, why: str, speaks: bool) -> None:
        super().__init__(why)
        self.speaks = speaks


class AcpPipe:
    """One process of the program, started with pipes and its own process group."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, clock: Clock) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._process, self._name, self._clock = process, name, clock
        self._in, self._out, self._err = (
            one.fileno() for one in (process.stdin, process.stdout, process.stderr)
        )
        os.set_blocking(self._in, False)
        self._listened = [self._out, self._err]
        self._rest = bytearray()
        self._messages: deque[Message] = deque()
        self._complaints = b""
        self._speaks = False

    def send(self, message: Mapping[str, object]) -> None:
        """Send a message. Broken if the program has ended or does not read."""
        left = memoryview(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        until = self._clock.mono_ms() + LISTENS_MS
        while left:
            wait_s = (until - self._clock.mono_ms()) / 1000
            if wait_s <= 0:
                raise self._make_broken_error(f"it has not read its input for {LISTENS_MS // 1000} s")
            self._hear(0.0)  # The program may be blocked until its output is read.
            if not select.select([], [self._in], [], min(wait_s, 0.05))[1]:
                continue
            try:
                left = left[os.write(self._in, left[:PIECE]) :]
            except BrokenPipeError as exc:
                raise self._make_ended_error() from exc

    def receive(self, seconds: float) -> Message | None:
        """Return the next message; None: none in time. Broken if the program ended or does not speak ACP."""
        if not self._messages:
            self._hear(seconds)
        if self._messages:
            return self._messages.popleft()
        if self._out not in self._listened:
            raise self._make_ended_error()
        return None

    def commands(self) -> set[int]:
        """Return the process groups below the program, without its own; it starts commands in groups. They
        also reveal processes that an ended command left behind."""
        found = set[int]()
        for pid, _ in find_members("", self._process.pid, sys.maxsize):
            with suppress(OSError):  # The process has exited.
                found.add(os.getpgid(pid))
        # A signal to group 0 or 1 would reach many other processes.
        return found - {0, 1, os.getpgid(0), self._process.pid}

    def end(self, gently: bool = False) -> None:
        """End the program and everything that it has started. `gently`: let it save its state first."""
        process = self._process
        if process not in CHILDREN.alive:
            return
        assert process.stdin and process.stderr
        commands = self.commands()
        with suppress(OSError):
            process.stdin.close()
        if gently:
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDS_MS / 1000)
        kill_group(process)
        kill_commands(commands)
        process.stderr.close()
        CHILDREN.over(process)

    # ---- the program's output
    def _hear(self, seconds: float) -> None:
        for fd in select.select(self._listened, [], [], seconds)[0] if self._listened else ():
            data = os.read(fd, PIECE)
            if not data:
                self._listened.remove(fd)
            elif fd == self._err:
                self._complaints = (self._complaints + data)[-MOST_WORDS:]
                os.write(2, data)
            else:
                *whole, rest = data.split(b"\n")
                for line in whole:
                    self._rest += line
                    if self._rest.strip():
                        self._messages.append(self._read(bytes(self._rest)))
                    self._rest.clear()
                self._rest += rest
                if len(self._rest) > MOST_LINE:
                    raise self._make_broken_error(f"it sent more than {MOST_LINE >> 20} MiB in one message")

    def _read(self, line: bytes) -> Message:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise self._make_broken_error(
                f"it does not speak ACP: it printed {_format_data(line)!r}"
            ) from exc
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise self._make_broken_error(f"it does not speak ACP: it printed {_format_data(line)!r}")
        self._speaks = True
        return message

    # ---- the program's end
    def _make_ended_error(self) -> Broken:
        """Return the error for a program that has closed its output and so is ending."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GONE_S)
        while self._err in self._listened and select.select([self._err], [], [], 0)[0]:
            self._hear(0)
        status = self._process.returncode
        how = "closed its output" if status is None else f"ended with signal {-status}" if status < 0 else ""
        return self._make_broken_error(how or f"ended by itself, exit status {status}")

    def _make_broken_error(self, why: str) -> Broken:
        text = _format_data(self._complaints.strip().rpartition(b"\n")[2] or self._rest)
        words = f": {text}" if text else ""
        return Broken(f"{self._name} {why.removeprefix('it ')}{words}", self._speaks)


def kill_commands(groups: Iterable[int]) -> None:
    """Kill these process groups at once, as their processes may ignore milder signals."""
    for group in groups:
        with suppress(OSError):  # The group has ended.
            os.killpg(group, signal.SIGKILL)


def _format_data(data: bytes | bytearray) -> str:
    return bytes(data[: SHOWN * 4]).decode("utf-8", "replace").strip()[:SHOWN]
