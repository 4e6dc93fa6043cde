"""The tool that runs commands, and the worker's child processes, which a signal ends with the worker."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from node_agent.native.tools.files import Box, Failed, clip_middle, count_arg, text_arg
from node_agent.runtimes.workerspec import MadeTool
from node_agent.wire.clock import Clock


class Children:
    """The child processes of one thread, which must also be the thread of the signal handlers."""

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self.alive: list[subprocess.Popen[bytes]] = []
        self._leave, self._starting = leave, 0
        self._due: int | None = None

    def start(self, argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        """Start a child process. Signals are blocked until the child is on the list."""
        self._starting += 1
        try:
            process = subprocess.Popen(argv, **how)
            self.alive.append(process)
        finally:
            self._starting -= 1
            if self._due is not None:
                self.end(self._due)
        return process

    def over(self, process: subprocess.Popen[bytes]) -> None:
        """Remove an ended child from the list, and kill the rest of its process group."""
        kill_group(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self.alive.remove(process)

    def end_with_us(self) -> None:
        """Install signal handlers that end this program and all its children immediately."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self.end(128 + number))

    def end(self, status: int) -> None:
        """End all children and exit with this status. Called by a signal handler."""
        if self._starting:
            self._due = status
            return
        for process in self.alive:
            kill_group(process)
            process.kill()
        self._leave(status)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the group without waiting, because the signal may arrive during a wait. A child without a group is
    skipped."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


CHILDREN = Children()
"""The child processes of this worker."""


USUAL_S, MOST_S = 120, 1_800
HEAD, TAIL = 256 << 10, 256 << 10
MOST_PRINTED = 64 << 20
"""The bytes of output after which a command is ended, because no reader needs more."""
LATE_MS = 500
"""Milliseconds to wait for a pipe after a command's end, because child processes may keep it open."""


def bash(box: Box, given: Mapping[str, Any]) -> str:
    """Run a command; return its output and errors, interleaved, and a note on how it ended."""
    command = text_arg(given, "command")
    wait_s = count_arg(given, "timeout_s", USUAL_S, MOST_S)
    judgement = box.judge.command(command)
    box.commands += 0 if judgement.only_looks else 1
    cwd = os.path.join(box.tree.top, box.tree.folder)
    argv = [shutil.which("bash", path=box.env.get("PATH")) or "/bin/sh", "-c", command]
    kept, why, status = run_command(box, argv, cwd, box.env, wait_s)
    text = clip_middle(kept.text(), box.most_chars, "print less: use grep, head or tail")
    return f"{text}\n[{_format_end(status, why, wait_s)}]".lstrip("\n")


def run_made(box: Box, tool: MadeTool, given: Mapping[str, Any]) -> tuple[str, bool]:
    """Run a stored tool in the same way as commands, with its input as JSON on standard input; return its
    output, and whether it succeeded. Raises Failed if the arguments do not match its schema."""
    form = json.loads(tool.form)
    wrong = [*(given.keys() - form["properties"].keys()), *(set(form.get("required", ())) - given.keys())]
    if wrong:
        raise Failed(f"invalid arguments of {tool.name}: {', '.join(sorted(wrong))[:200]}")
    box.commands += 1
    cwd, fed = os.path.join(box.tree.top, box.tree.folder), os.memfd_create("input")
    with os.fdopen(fed, "w+b") as file:
        file.write(json.dumps(given).encode())
        file.seek(0)
        kept, why, status = run_command(box, [tool.run], cwd, box.env, tool.seconds, file.fileno())
    text = clip_middle(kept.text(), box.most_chars, "request less output from the tool")
    ended = f"ended after {tool.seconds} s" if why == "time" else _format_end(status, why, tool.seconds)
    return f"{text}\n[{ended}]".lstrip("\n"), not why and status == 0


def run_command(
    box: Box,
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    wait_s: int,
    fed: int = subprocess.DEVNULL,
) -> tuple[Printed, str, int]:
    """Run a command; return its output, the reason if it was ended, and its status. OSError if it cannot
    start. `fed`: its input."""
    process = CHILDREN.start(
        argv, cwd=cwd, env=dict(env), stdin=fed, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        kept, why = _watch_command(process, box, wait_s)
    finally:
        CHILDREN.over(process)
    return kept, why, process.returncode


class Printed:
    """The beginning and the end of a command's output."""

    def __init__(self) -> None:
        self._head, self._tail, self.size = bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = HEAD - len(self._head)
        self._head += data[:room]
        self._tail = (self._tail + data[room:])[-TAIL:] if len(data) > room else self._tail

    def text(self) -> str:
        left = self.size - len(self._head) - len(self._tail)
        note = f"\n[... {left} bytes left out ...]\n".encode() if left else b""
        return bytes(self._head + note + self._tail).decode("utf-8", "replace")


def _watch_command(process: subprocess.Popen[bytes], box: Box, wait_s: int) -> tuple[Printed, str]:
    """Watch the command until it ends; return its output, and the reason if the worker ended it."""
    assert process.stdout is not None
    clock = box.clock
    kept, until = Printed(), clock.mono_ms() + wait_s * 1000
    fd = process.stdout.fileno()
    handle = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(handle, select.POLLIN)
    try:
        while (left := until - clock.mono_ms()) > 0:
            ready = dict(poll.poll(left if box.heartbeat is None else min(left, box.heartbeat() * 1000)))
            if fd in ready:
                data = os.read(fd, 1 << 16)
                if not data:
                    poll.unregister(fd)
                kept.add(data)
                box.on_output(data)
                if kept.size > MOST_PRINTED:
                    return kept, "output"
            elif handle in ready:
                _read_rest(fd, kept, clock)
                return kept, ""
        return kept, "time"
    finally:
        os.close(handle)


def _read_rest(fd: int, kept: Printed, clock: Clock) -> None:
    """Read the rest of the pipe for a limited time: a child process that still runs may continue printing."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    until = clock.mono_ms() + LATE_MS
    while clock.mono_ms() < until and poll.poll(0) and (data := os.read(fd, 1 << 16)):
        kept.add(data)


def _format_end(code: int, why: str, wait_s: int) -> str:
    if why == "time":
        return f"ended after {wait_s} s; timeout_s may be up to {MOST_S}"
    if why == "output":
        return f"ended after {MOST_PRINTED >> 20} MB of output"
    return f"exit {code}" if code >= 0 else f"ended by signal {-code}"
