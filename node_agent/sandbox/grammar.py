"""Parses shell scripts in a separate small process, since the parser is C code and agents write the scripts.

`Grammar` is the node agent's side. The program (`grammar.py CPU_S IDLE_S FOLDER...`) reads scripts on
standard input and answers each on standard output. It ends with its parent or after IDLE_S seconds without a
script. The kernel ends it when one script takes more than CPU_S seconds of CPU time, or too much memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from node_agent.policy.commands import tree
from node_agent.policy.commands.tree import UNREADABLE, ParsedScript, Redirect, ShellCommand, ShellWord

CPU_S, IDLE_S = 1.0, 60.0
WAIT_MS = 20_000
"""Milliseconds until the process counts as hung; far more than its CPU limit, for busy nodes."""
MEMORY_BYTES = 512 << 20
"""The process's limit of address space; unlike agents' programs, the parser reserves no more than it uses."""
LENGTH_BYTES = 4
MOST_REPLY = 16 << 20
MOST_REMEMBERED = 1_000
ENV: Mapping[str, str] = {"LANG": "C.UTF-8"}


class Grammar:
    """The process that parses scripts. A script starts it if it is not running. Thread-safe."""

    def __init__(self, python: str, cpu_s: float = CPU_S, wait_ms: int = WAIT_MS, idle_s: float = IDLE_S):
        self._argv = [python, "-I", "-S", os.path.abspath(__file__), str(cpu_s), str(idle_s)]
        self._wait_ms = wait_ms
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._deadly: dict[bytes, None] = {}

    @property
    def pid(self) -> int | None:
        """The process id of the running parser, or None."""
        return None if self._child is None or self._child.poll() is not None else self._child.pid

    def take_apart(self, raw: bytes) -> ParsedScript:
        """Return the parsed script. Never raises: a script that ended the process counts as unreadable and is
        not parsed again, since its author may submit it many times."""
        mark = hashlib.sha256(raw).digest()
        with self._lock:
            if mark in self._deadly:
                return UNREADABLE
            try:
                parsed = self._ask_child(raw)
            except OSError:  # a failure to start the process now says nothing about the script
                return UNREADABLE
            if parsed is None:
                if len(self._deadly) >= MOST_REMEMBERED:
                    del self._deadly[next(iter(self._deadly))]
                self._deadly[mark] = None
            return parsed or UNREADABLE

    def ready(self) -> None:
        """Start the process if it is not running, so that the parser is loaded before the first script."""
        with self._lock, contextlib.suppress(OSError):
            self._ensure_child()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ensure_child(self) -> subprocess.Popen[bytes]:
        """Return the parser process; start a new one if the last one has ended."""
        if self._child is not None and self._child.poll() is not None:
            self._end()
        self._child = self._child or self._start_child()
        return self._child

    def _ask_child(self, raw: bytes) -> ParsedScript | None:
        """Return the parsed script; None if it ended the process. Retry if the process exited by itself."""
        self._ensure_child()
        parsed = self._exchange_script(raw)
        return self._exchange_script(raw) if parsed is None and self._end() == 0 else parsed

    def _exchange_script(self, raw: bytes) -> ParsedScript | None:
        child = self._child = self._child or self._start_child()
        assert child.stdin is not None and child.stdout is not None
        try:
            message = len(raw).to_bytes(LENGTH_BYTES, "big") + raw
            os.write(child.stdin.fileno(), message)  # the pipe has room for the whole script
            size = int.from_bytes(_read(child.stdout.fileno(), LENGTH_BYTES, self._wait_ms), "big")
            data = _read(child.stdout.fileno(), min(size, MOST_REPLY), self._wait_ms)
            return from_plain(json.loads(data))
        except (OSError, EOFError, ValueError, RecursionError):  # RecursionError: an answer nested too deeply
            return None

    def _start_child(self) -> subprocess.Popen[bytes]:
        folders = [os.path.abspath(folder) for folder in sys.path if folder and os.path.exists(folder)]
        return subprocess.Popen(
            [*self._argv, *folders], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=ENV, cwd="/", bufsize=0, start_new_session=True,
        )  # fmt: skip

    def _end(self) -> int:
        """End the process, unless it is ending by itself, and return its status."""
        child, self._child = self._child, None
        if child is None:
            return 0
        assert child.stdin is not None and child.stdout is not None
        if child.poll() is None and not _has_ended(child.stdout.fileno()):
            child.kill()
        child.stdin.close()
        child.stdout.close()
        return child.wait()


def _has_ended(fd: int) -> bool:
    """Whether the pipe is empty and its other end closed, which means that the process is exiting."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(event & select.POLLHUP and not event & select.POLLIN for _, event in poll.poll(0))


def _read(fd: int, size: int, wait_ms: int | None = None) -> bytes:
    """Read exactly `size` bytes. EOFError at the end; TimeoutError when nothing arrives for `wait_ms`."""
    parts, left = [], size
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while left:
        if not poll.poll(wait_ms):
            raise TimeoutError
        part = os.read(fd, min(left, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


# -- what goes over the pipe -----------------------------------------------------------------------


def to_plain(script: ParsedScript) -> list[Any]:
    calls = [_call_to_plain(call) for call in script.calls]
    return [script.whole, calls, script.literals, script.sums]


def from_plain(raw: Any) -> ParsedScript:
    """Return the parsed script from plain JSON data. Raises ValueError for invalid data."""
    try:
        calls = tuple(_call_from_plain(call) for call in raw[1])
        return ParsedScript(calls, raw[0] is True, tuple(map(str, raw[2])), raw[3] is True)
    except (TypeError, IndexError, KeyError) as exc:
        raise ValueError("the data is not a parsed script") from exc


def _call_to_plain(call: ShellCommand) -> list[Any]:
    return [
        [[word.text, word.glob] for word in call.words],
        [[name, word.text, word.glob] for name, word in call.sets],
        [[one.op, one.target.text, one.target.glob] for one in call.redirects],
        call.fed,
    ]


def _call_from_plain(raw: list[Any]) -> ShellCommand:
    words, sets, redirects, fed = raw
    return ShellCommand(
        tuple(ShellWord(text, glob) for text, glob in words),
        tuple((name, ShellWord(text, glob)) for name, text, glob in sets),
        tuple(Redirect(op, ShellWord(text, glob)) for op, text, glob in redirects),
        fed is True,
    )


# -- the program -----------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Answer scripts until the input ends or no script arrived for too long."""
    cpu_s, idle_s = float(argv[1]), float(argv[2])
    sys.path.extend(argv[3:])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tree.take_apart(b"true")  # load the grammar before the first script
    # With Landlock, a script that exploits the parser cannot open a file or a connection.
    from node_agent.sandbox import landlock  # only this program needs it, not the node agent's side

    with contextlib.suppress(OSError):  # a kernel without Landlock
        landlock.restrict_process([], [], [])
    while select.select([0], [], [], idle_s)[0]:
        try:
            raw = _read(0, int.from_bytes(_read(0, LENGTH_BYTES), "big"))
        except EOFError:
            break
        # the signal of this timer ends the process, even inside C code
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        data = json.dumps(to_plain(tree.take_apart(raw)), separators=(",", ":")).encode("ascii")
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write_all(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    return 0


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
