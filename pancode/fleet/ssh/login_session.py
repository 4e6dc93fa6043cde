"""Keeps what users' login sessions provide and later ones change: SSH agent, variables, PATH, proxies."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from node_agent.wire.clock import Clock
from pancode.fleet.ssh.target import AGENT
from pancode.kernel.host.files import write_durable
from pancode.runs.views import format_iso

PROXIES = tuple(
    name for word in ("http", "https", "all", "no") for name in (f"{word}_proxy", f"{word}_proxy".upper())
)
_SESSION = ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XAUTHORITY", "SSH_ASKPASS")
_RUNTIME = "XDG_RUNTIME_DIR"
_APART = frozenset({"HOME", "USER", "LOGNAME", "PATH", _RUNTIME, AGENT, *PROXIES})
"""Variables that belong to the process, or have a rule of their own."""
_REFUSED = re.compile(r"(LD_|DYLD_|GIT_|PYTHON|PERL|RUBY|NODE_|PANCODE_).*|BASH_ENV|ENV|IFS|SHELL")
"""Variables that could make a program of the coordinator run other code; no caller sets them."""
_NAMED = re.compile(
    r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|identityagent[\s=]+\$([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE
)
MOST_AGENTS = 4
LOGIN = "run/login.json"
"""The file in the home for the next start, which has no caller."""


class LoginSession:
    """The variables of the newest caller. Thread-safe. `own`: the process's environment, which is changed.

    A value that only an older caller had remains, except a proxy. `file`: stores, for the next start, what is
    not secret; None: nothing is stored. `borrowed`: this process was started by a caller, whose proxies its
    environment contains.
    """

    def __init__(
        self,
        own: MutableMapping[str, str] | None = None,
        clock: Clock | None = None,
        file: Path | None = None,
        borrowed: bool = False,
    ) -> None:
        self._own: MutableMapping[str, str] = {} if own is None else own
        self.own: Mapping[str, str] = self._own
        """The variables that apply now, as a live view."""
        self._clock, self._file, self._lock = clock, file, threading.Lock()
        self._proxies = {} if borrowed else {name: self._own[name] for name in PROXIES if name in self._own}
        self._newest, self._whole = 0, dict[str, str]()
        self._agents, self._alive_ms = list[str](), dict[str, int]()
        self.changed: Callable[[], object] = lambda: None
        """Called after the SSH agent or a variable of the SSH settings has changed; must not block."""
        self._stored = dict[str, str]()
        with suppress(OSError, ValueError):
            found = json.loads(file.read_bytes()) if file is not None else {}
            self._stored = {str(name): str(value) for name, value in found.items()}
        stored = self._stored
        self._path = ":".join((self._own.get("PATH", ""), stored.get("PATH", "")))
        self._see({**stored, **self._own}, stored)

    def note(self, pid: int, start: str) -> None:
        """Take over the environment of a calling process, unless a caller that started later was noted."""
        with suppress(OSError, ValueError):
            if int(start) < self._newest:
                return
            raw = Path(f"/proc/{pid}/environ").read_bytes()
            rows = (os.fsdecode(row).partition("=") for row in raw.split(b"\0") if b"=" in row)
            found = {name: value for name, _, value in rows if not name.startswith("PANCODE_")}
            self._newest = int(start)
            self.see(found, whole=True)

    def see(self, environ: Mapping[str, str], *, whole: bool = False) -> None:
        """Take over a caller's variables. `whole`: all are given, so a proxy that is not given is not set."""
        with self._lock:
            # A request may come from another machine: it names neither the files to read nor programs.
            home = environ.get("HOME", "") if whole else ""
            names = find_variables(Path(home or Path.home()))
            before = {name: self._own.get(name) for name in (AGENT, *names)}
            self._see(environ if whole else {**environ, "PATH": ""}, names)
            if whole:
                self._whole = dict(environ)
                given = {name: environ[name] for name in PROXIES if environ.get(name)} or self._proxies
                # An empty one is not used; a name that vanishes would fail the copies of other threads.
                names_set = [name for name in PROXIES if name in given or name in self._own]
                self._own.update({name: given.get(name, "") for name in names_set})
            is_changed = {name: self._own.get(name) for name in (AGENT, *names)} != before
            kept = {name: self._own[name] for name in (AGENT, _RUNTIME, "PATH", *names) if name in self._own}
            if self._file is not None and kept != self._stored:
                with suppress(OSError):
                    write_durable(self._file, json.dumps(kept).encode())
                    self._stored = kept
        if is_changed:
            self.changed()

    def environ(self) -> dict[str, str]:
        """Return the variables that apply now; the SSH agent is the newest one that exists."""
        with self._lock:
            self._choose_agent()
            return {**self._whole, **self._own}

    def date(self, why: str) -> str:
        """Return the reason, with the time at which each SSH agent in it last existed."""
        with self._lock:
            alive_ms = dict(self._alive_ms)
        for path, seen in alive_ms.items():
            why = why.replace(
                f"{path} does not exist", f"{path} does not exist (it did at {format_iso(seen)})"
            )
        return why

    def _see(self, environ: Mapping[str, str], names: Iterable[str]) -> None:
        if agent := environ.get(AGENT):
            self._agents = [agent, *(one for one in self._agents if one != agent)][:MOST_AGENTS]
        taken = {name for name in (*names, *_SESSION) if name not in _APART and not _REFUSED.fullmatch(name)}
        self._own.update({name: environ[name] for name in taken if environ.get(name)})
        folder = environ.get(_RUNTIME, "")
        with suppress(OSError):
            if folder and os.stat(folder).st_uid == os.getuid():
                self._own[_RUNTIME] = folder
        # The coordinator's own folders come first: a caller's may be in a checkout that agents change.
        parts = [*self._path.split(":"), *environ.get("PATH", "").split(":")]
        if found := list(dict.fromkeys(part for part in parts if part.startswith("/"))):
            self._own["PATH"] = ":".join(found)
        self._choose_agent()

    def _choose_agent(self) -> None:
        there = [path for path in self._agents if os.path.exists(path)]
        if self._clock is not None:
            self._alive_ms.update(dict.fromkeys(there, self._clock.wall_ms()))
        if self._agents:
            self._own[AGENT] = (there or self._agents)[0]


def find_variables(home: Path) -> list[str]:
    """Return the names of the variables in the SSH settings of the user and the system."""
    files = [Path("/etc/ssh/ssh_config"), home / ".ssh/config"]
    for folder in (Path("/etc/ssh/ssh_config.d"), home / ".ssh/config.d", home / ".ssh/conf.d"):
        with suppress(OSError):
            files += sorted(folder.iterdir())
    found = dict[str, None]()
    for file in files:
        with suppress(OSError):
            text = file.read_text(errors="replace")
            found |= dict.fromkeys(match[1] or match[2] for match in _NAMED.finditer(text))
    return [name for name in found if name not in _APART and not _REFUSED.fullmatch(name)]
