"""The tool bash: one command in a process group of its own, with a time-out and an output limit."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from node_agent.native.children import CHILDREN
from node_agent.native.tools.box import Box, clipped, count_arg, text_arg
from node_agent.wire.clock import Clock

USUAL_S, MOST_S = 120, 1_800
HEAD, TAIL = 256 << 10, 256 << 10
MOST_PRINTED = 64 << 20
"""Beyond that it is ended: nobody reads so much."""
LATE_MS = 500
"""The wait for a pipe after a command's end; its child processes may hold the pipe open."""


def bash(box: Box, given: Mapping[str, Any]) -> str:
    """Standard output and error as they come, and how it ended."""
    command = text_arg(given, "command")
    wait_s = count_arg(given, "timeout_s", USUAL_S, MOST_S)
    judgement = box.judge.command(command)
    box.commands += 0 if judgement.only_looks else 1
    cwd = os.path.join(box.tree.top, box.tree.folder)
    argv = [shutil.which("bash", path=box.env.get("PATH")) or "/bin/sh", "-c", command]
    process = CHILDREN.start(
        argv, cwd=cwd, env=dict(box.env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        kept, why = _watched(process, box.clock, wait_s)
    finally:
        CHILDREN.over(process)
    text = clipped(kept.text(), box.most_chars, "print less: use grep, head or tail")
    return f"{text}\n[{_ended(process, why, wait_s)}]".lstrip("\n")


class _Kept:
    """Beginning and end of what was printed."""

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


def _watched(process: subprocess.Popen[bytes], clock: Clock, wait_s: int) -> tuple[_Kept, str]:
    """Watch the command until it is over: its output, and the reason if we ended it."""
    assert process.stdout is not None
    kept, until = _Kept(), clock.mono_ms() + wait_s * 1000
    fd = process.stdout.fileno()
    handle = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(handle, select.POLLIN)
    try:
        while (left := until - clock.mono_ms()) > 0:
            ready = dict(poll.poll(left))
            if fd in ready:
                data = os.read(fd, 1 << 16)
                if not data:
                    poll.unregister(fd)
                kept.add(data)
                if kept.size > MOST_PRINTED:
                    return kept, "output"
            elif handle in ready:
                _late(fd, kept, clock)
                return kept, ""
        return kept, "time"
    finally:
        os.close(handle)


def _late(fd: int, kept: _Kept, clock: Clock) -> None:
    """The rest of the pipe; a process that was left behind cannot print for ever."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    until = clock.mono_ms() + LATE_MS
    while clock.mono_ms() < until and poll.poll(0) and (data := os.read(fd, 1 << 16)):
        kept.add(data)


def _ended(process: subprocess.Popen[bytes], why: str, wait_s: int) -> str:
    if why == "time":
        return f"ended after {wait_s} s; timeout_s may be up to {MOST_S}"
    if why == "output":
        return f"ended after {MOST_PRINTED >> 20} MB of output"
    code = process.returncode
    return f"exit {code}" if code >= 0 else f"ended by signal {-code}"
