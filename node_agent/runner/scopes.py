"""Puts each shim into its own systemd scope if the node agent runs under its user's systemd manager.

`systemd-run` makes the scope and becomes the shim: the same process in another control group. Without such a
manager there is no `Scopes`; if making a scope fails, the shim starts without one, with an error report.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from node_agent.shim import process
from node_agent.shim.spool import PhaseLimits

if TYPE_CHECKING:
    from node_agent.wire.clock import Clock

TRIAL_S = 10
RETRY_MS = 60_000
"""The pause after a failure before a scope is requested again: a hanging manager must not slow every start.
"""
FLAGS = (
    *("--user", "--scope", "--quiet", "--collect", "--no-ask-password", "--slice-inherit"),
    # otherwise a shutdown would look like a user's stop request; as the node's own stop, the run is retried
    "--property=KillSignal=SIGKILL",
)
PROPERTIES = (("--property=OOMPolicy=continue",), ())
"""Tried in this order: out of memory an attempt should lose what the kernel killed, not its shim. Some
versions of systemd do not support the first for scopes."""
NO_LIMITS = PhaseLimits()
FIX = "systemctl --user status; meanwhile attempts run in the node agent's own control group"


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope to be made: the beginning of the shim's argument list, and its environment."""

    words: tuple[str, ...]
    env: Mapping[str, str]


class Scopes:
    """The systemd scopes of a fleet's attempts, next to the node agent's unit. Thread-safe; never raises."""

    def __init__(self, fleet: str, siblings: Path, environ: Mapping[str, str], clock: Clock) -> None:
        """`siblings`: the folder of the slice that contains the node agent's control group."""
        self._prefix, self._siblings, self._clock = f"pancode-{fleet}", siblings, clock
        path = f"{environ.get('PATH', '')}:/usr/bin:/bin"
        self._program = shutil.which("systemd-run", path=path)
        self._env = {"LANG": "C.UTF-8", "PATH": path, "XDG_RUNTIME_DIR": environ["XDG_RUNTIME_DIR"]}
        self._lock = threading.Lock()
        self._properties: tuple[str, ...] | None = None
        self._trouble, self._not_before = "", 0

    @property
    def trouble(self) -> str:
        """Return the error of the last try to make a scope; empty if the try succeeded."""
        return self._trouble

    def scope(self, marker: str, phase: str, limits: PhaseLimits = NO_LIMITS) -> Scope | None:
        """Return a scope with limits for one phase of one attempt; None: start the shim without a scope."""
        with self._lock:
            if self._clock.mono_ms() < self._not_before or not self._try_scope():
                return None
        name = f"{self._make_stem(marker)}{_escape_text(phase)}.scope"
        # the limits as properties for systemd; empty without limits
        properties = []
        if limits.memory_bytes is not None:
            properties += [f"--property=MemoryMax={limits.memory_bytes}", "--property=MemorySwapMax=0"]
        if limits.processes is not None:
            properties.append(f"--property=TasksMax={limits.processes}")
        words = self._make_argv(name, (*(self._properties or ()), *properties))
        return Scope(words, {**self._env, process.SCOPE: name})

    def made(self) -> None:
        """Record that the last scope was made."""
        self._trouble = ""

    def failed(self, why: str) -> None:
        """Record that the last scope failed; no scope is requested for some time."""
        self._trouble = f"could not make a scope for an attempt: {' '.join(why.split())[-300:]}"
        self._not_before = self._clock.mono_ms() + RETRY_MS

    def folders(self, marker: str) -> list[str]:
        """Return the existing control groups of an attempt."""
        stem = self._make_stem(marker)
        try:
            names = os.listdir(self._siblings)
        except OSError:
            return []
        return [
            str(self._siblings / name) for name in names if name.startswith(stem) and name.endswith(".scope")
        ]

    def having(self, markers: Collection[str]) -> set[str]:
        """Return the attempts among these that now have a control group."""
        try:
            names = os.listdir(self._siblings)
        except OSError:
            return set()
        there = {name.split(":")[1] for name in names if name.startswith(f"{self._prefix}:")}
        return {marker for marker in markers if _escape_text(marker) in there}

    # -- inside ----------------------------------------------------------------------------------

    def _make_stem(self, marker: str) -> str:
        """Return the beginning of a unit's name. Fleet and attempt contain no colons, so colons end both
        parts."""
        return f"{self._prefix}:{_escape_text(marker)}:"

    def _make_argv(self, name: str, properties: Sequence[str]) -> tuple[str, ...]:
        assert self._program is not None
        return (self._program, *FLAGS, f"--unit={name}", *properties, "--")

    def _try_scope(self) -> bool:
        """Whether the systemd manager makes suitable scopes; tested once, and again after a failure."""
        if self._properties is not None:
            return True
        if self._program is None:
            self.failed("systemd-run not found")
            return False
        stderr = ""
        for properties in PROPERTIES:
            name = f"{self._make_stem('trial')}{os.getpid()}.scope"
            here, stderr = _output_of(
                (*self._make_argv(name, properties), "cat", "/proc/self/cgroup"), self._env
            )
            if process.folder_of(here) == str(self._siblings / name):
                self._properties = properties
                return True
        self.failed(stderr or "the scope is not in the same slice as the node agent's unit")
        return False


def find(fleet: str, environ: Mapping[str, str], clock: Clock) -> Scopes | None:
    """Return the scopes; None unless this process's unit is under a user's systemd with cgroups v2."""
    own = process.control_group()
    above = f"/user@{os.getuid()}.service/"
    if above not in own or not environ.get("XDG_RUNTIME_DIR"):
        return None
    return Scopes(fleet, Path(own).parent, environ, clock)


def _escape_text(text: str) -> str:
    """Return the text, escaped as part of a unit's name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def _output_of(argv: tuple[str, ...], env: Mapping[str, str]) -> tuple[bytes, str]:
    """Run the command; return its standard output and its error output."""
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return b"", str(exc)
    return done.stdout, done.stderr.decode("utf-8", "replace").strip()
