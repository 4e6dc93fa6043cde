"""Runs the gates of a landing on this machine: an agent wrote what they execute, so they get little."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from pancode.adapters.git.land import LOOK_S, CalledOff, GateResult, never

HANDED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE")
"""Of our environment; never an SSH agent, a token or a model's key."""
TAIL = 2_000
"""Bytes of a failed gate's output that are told."""


def gate_env(outer: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """What gates see of `outer`; `more`: variables that the run's owner let its repository have."""
    return {name: outer[name] for name in (*HANDED_ON, *more) if name in outer}


def run_gates(
    folder: Path,
    gates: Sequence[Sequence[str]],
    env: Mapping[str, str],
    timeout_s: float,
    called_off: CalledOff = never,
) -> GateResult:
    """Each gate in the merged tree; the first that fails decides. Nothing that it started is left running."""
    for argv in gates:
        words = " ".join(argv)
        try:
            status, tail = _run(folder, argv, env, (timeout_s, called_off))
        except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
            return GateResult(False, f"{words}: {exc}")
        if status != 0:
            return GateResult(False, f"{words}: exit {status}: {tail}")
    return GateResult(True, "; ".join(" ".join(argv) for argv in gates))


def _run(
    folder: Path, argv: Sequence[str], env: Mapping[str, str], until: tuple[float, CalledOff]
) -> tuple[int, str]:
    """Exit status (negative: signal) and the end of what it said, in memory that does not grow with it."""
    process = subprocess.Popen(
        list(argv),
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    kept = bytearray()
    assert process.stdout is not None
    reader = threading.Thread(target=_keep_tail, args=(process.stdout, kept), name="gate", daemon=True)
    reader.start()
    try:
        status = _waited(process, *until)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(1)  # one that left the group may hold the pipe for ever; its words are not waited for
    return status, bytes(kept).decode("utf-8", "replace").strip()


def _waited(process: subprocess.Popen[bytes], timeout_s: float, called_off: CalledOff) -> int:
    """Its exit status; TimeoutExpired also when it is called off."""
    left = timeout_s
    while True:
        try:
            return process.wait(min(LOOK_S, left))
        except subprocess.TimeoutExpired:
            left -= LOOK_S
            if left <= 0 or called_off():
                raise subprocess.TimeoutExpired(process.args, timeout_s) from None


def _keep_tail(pipe: IO[bytes], kept: bytearray) -> None:
    with suppress(OSError, ValueError), pipe:
        while chunk := os.read(pipe.fileno(), 65_536):
            kept += chunk
            del kept[:-TAIL]
