"""Runs `pancode` commands as forks of a process that has read their modules: a seventh of the processor time.

`run` is `subprocess.run([python, "-m", "pancode", *words])` with the output captured. Where the start itself
may matter (another Python path, another locale, the marks of a run) it is exactly that.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 100_000
"""Bytes of one message; a longer command line is started as itself."""
USUAL = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
"""Variables that Python reads when it starts, and the values that change nothing."""
MOST_FILES = 256
READ_AT_START = ("LANG", "LC_", "PYTHON", "PANCODE_ATTEMPT", "PANCODE_RUN")


def run(
    words: Sequence[str], env: Mapping[str, str], cwd: Path, timeout_s: float, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """subprocess.TimeoutExpired where it takes longer; it is killed then."""
    argv = [sys.executable, "-m", "pancode", *words]
    told = json.dumps({"words": list(words), "env": dict(env), "cwd": str(cwd)}).encode()
    if len(told) > LONGEST or any(
        name.startswith(READ_AT_START) and USUAL.get(name) != value for name, value in env.items()
    ):
        return subprocess.run(
            argv, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, timeout=timeout_s
        )
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        mine, its = socket.socketpair()
        with mine:
            with its:
                socket.send_fds(_parent(), [told], [given.fileno(), out.fileno(), err.fileno(), its.fileno()])
            mine.settimeout(timeout_s)
            pid, status = 0, b""
            try:
                pid = int(mine.recv(16))
                status = mine.recv(16)
            except TimeoutError:
                if pid:
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(argv, timeout_s) from None
        texts = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
        return subprocess.CompletedProcess(argv, os.waitstatus_to_exitcode(int(status)), *texts)


@cache
def _parent() -> socket.socket:
    """Where to ask it: one for this process of tests, which it ends with."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LONGEST)
    with its:
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(its.fileno())],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
        )

    def end() -> None:
        mine.close()
        parent.wait()

    atexit.register(end)
    return mine


def serve(control: socket.socket) -> None:
    """Fork for each command, and tell its number and, when it has ended, its status."""
    import pancode.cli

    for module in pkgutil.walk_packages(pancode.cli.__path__, "pancode.cli."):
        importlib.import_module(module.name)
    gc.freeze()
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    tell: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(tell)
        if control.fileno() in ready:
            told, fds, _, _ = socket.recv_fds(control, 2 * LONGEST, 4)
            if not told:
                return
            if (pid := os.fork()) == 0:
                _be_command(json.loads(told), fds[:3])
            tell[pid] = fds[3]
            _say(fds[3], pid)
            for fd in fds[:3]:
                os.close(fd)


def _reap(tell: dict[int, int]) -> None:
    while tell:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _say(tell[pid], status)
        os.close(tell.pop(pid))


def _say(fd: int, number: int) -> None:
    with suppress(BrokenPipeError):  # whoever asked has not waited
        os.write(fd, str(number).encode().ljust(16))


def _be_command(told: dict[str, object], fds: Sequence[int]) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.closerange(3, MOST_FILES)
        os.environ.clear()
        os.environ.update(told["env"])  # type: ignore[call-overload]
        time.tzset()
        os.chdir(str(told["cwd"]))
        sys.argv = ["pancode", *told["words"]]  # type: ignore[misc]
        from pancode.__main__ import main

        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
