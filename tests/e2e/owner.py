"""A user with a terminal: own home, own fleet, the real command line, and hosts that only SSH reaches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import PancodeError
from tests.crowd import crowded
from tests.crowd import until as until
from tests.lab import Lab
from tests.lab.state import dns_name

SEES = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Said:
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


class Owner:
    """Drives one fleet through `pancode` alone. `root` must be short: it holds sockets."""

    def __init__(self, root: Path, time_factor: float, extra: Mapping[str, str] | None = None) -> None:
        self.home = root / "home"
        self.fleet_home = root / "p"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.env = {
            "HOME": str(self.home),
            "PANCODE_HOME": str(self.fleet_home),
            "PANCODE_TIME_FACTOR": str(time_factor),
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            **(extra or {}),
        }
        self.factor = time_factor
        self._seeing: tuple[str, ...] = ()
        self._begun: list[subprocess.Popen[str]] = []

    def know(self, lab: Lab, named: Collection[int] = ()) -> None:
        """The lab's hosts as aliases of the user's own SSH configuration. `named`: these by DNS names."""
        config, text = self.home / ".ssh" / "config", lab.render("ssh_config")
        for k in named:
            text = text.replace(f"HostName {lab.hosts[k]['addr']}\n", f"HostName {dns_name(k)}\n")
        config.write_text(text)
        config.chmod(0o600)
        if named:  # only this user's commands, and what they start, see these names
            hosts = self.home.parent / "hosts"
            hosts.write_text(lab.hosts_file())
            seeing = self.home.parent / "seeing"  # a program, since some tests type the command line
            seeing.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{SEES}' sh {hosts} \"$@\"\n")
            seeing.chmod(0o700)
            self._seeing = (str(seeing),)

    # -- commands ---------------------------------------------------------------------------------

    def argv(self, *words: str) -> list[str]:
        return [*self._seeing, sys.executable, "-m", "pancode", *words]

    def run(self, *words: str, cwd: Path | None = None, timeout_s: float = 90, stdin: str = "") -> Said:
        done = subprocess.run(
            self.argv(*words),
            cwd=cwd or self.home,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s * crowded(),
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def ask(self, *words: str, cwd: Path | None = None, timeout_s: float = 90) -> Any:
        """The command's JSON; it must end with 0."""
        return self.run(*words, "--json", cwd=cwd, timeout_s=timeout_s).ok().json()

    def begin(self, *words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """A command that continues while the test does something else; the caller ends it."""
        process = subprocess.Popen(
            self.argv(*words),
            cwd=cwd or self.home,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._begun.append(process)
        return process

    def end_begun(self) -> None:
        """What a failed test has begun and not awaited would be the fault of the next one. Idempotent."""
        for process in self._begun:
            if process.returncode is None:
                process.kill()
                process.communicate()
        self._begun.clear()

    # -- work -------------------------------------------------------------------------------------

    def needs(self) -> list[dict[str, Any]]:
        """What needs a user, as `pancode inbox` lists it."""
        return [need for group in self.ask("inbox")["groups"] for need in group["needs"]]

    def items(self) -> list[dict[str, Any]]:
        """The questions and approvals among it."""
        return [need["item"] for need in self.needs() if need["item"]]

    def dispatch(self, *words: str, cwd: Path | None = None) -> str:
        """Queue a run and return its id at once."""
        return str(self.ask("dispatch", "--detach", *words, cwd=cwd)["run"])

    def show(self, run: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.ask("runs", "show", run)
        return shown

    def look(self, run: str) -> dict[str, Any]:
        """As `show`, without a command's start: for waiting. One that is gone is started by the command."""
        try:
            seen: dict[str, Any] = Client(self.fleet_home, starts=False).get(path_of("runs", run))
        except PancodeError:
            return self.show(run)
        return seen

    def ended(self, run: str, timeout_s: float = 60) -> dict[str, Any]:
        """The run once it has an outcome."""
        until(lambda: self.look(run)["outcome"] is not None, f"{run} ends", timeout_s, lambda: self.show(run))
        return self.show(run)

    def running(self, run: str, timeout_s: float = 40) -> dict[str, Any]:
        """The run once its processes run."""
        until(
            lambda: (seen := self.look(run))["state"] == "running" and seen["started_at"],
            f"{run} runs",
            timeout_s,
            lambda: self.show(run),
        )
        return self.show(run)

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {n["name"]: n for n in self.ask("fleet", "status")["nodes"]}

    def state(self, node: str) -> str:
        return str(self.nodes()[node]["state"])

    def seen(self, node: str) -> str:
        """As `state`, without a command's start: for waiting."""
        try:
            nodes = Client(self.fleet_home, starts=False).get("/v1/fleet")["nodes"]
        except PancodeError:
            return self.state(node)
        return next(str(n["state"]) for n in nodes if n["name"] == node)

    def missed(self, node: str, timeout_s: float = 30) -> None:
        """Once it has not been heard for a while; a look may come late."""
        until(lambda: self.seen(node) in ("suspect", "unreachable"), f"{node} is missed", timeout_s)

    def repository(self, name: str = "project", files: Mapping[str, str] | None = None) -> Path:
        """A small real repository with one commit; where its name is taken, it gets a number."""
        names = (name, *(f"{name}-{number}" for number in range(2, 100)))
        top = next(self.home / one for one in names if not (self.home / one).exists())
        top.mkdir()
        for path, text in (files or {"README.md": "# demo\n", "app.py": "print('hello')\n"}).items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(text)
        for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "first")):
            self.git(top, *words)
        return top

    def git(self, top: Path, *words: str) -> str:
        argv = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words]
        return subprocess.run(argv, cwd=top, env=self.env, check=True, capture_output=True, text=True).stdout

    def down(self) -> None:
        """End the fleet, whatever state it is in, and all of it that still runs on this machine then."""
        self.end_begun()
        pid = self.coordinator_pid()
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self.run("fleet", "down", "--now")
        for left in self._running_here():
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)

    def _running_here(self) -> list[int]:
        """Processes that name our folder, which nobody else has, in their words or their environment."""
        ours, found = f"{self.fleet_home.parent}/".encode(), []
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError):
                place = Path("/proc", entry)
                if ours in (place / "cmdline").read_bytes() + (place / "environ").read_bytes():
                    found.append(int(entry))
        return found

    def log(self) -> str:
        """The end of the coordinator's own log, for a failure to tell."""
        return (self.fleet_home / "run/coordinator.log").read_text()[-3000:]

    def coordinator_pid(self) -> int | None:
        try:
            pid = int(json.loads((self.fleet_home / "run/coordinator.pid").read_text())["pid"])
            os.kill(pid, 0)
        except (OSError, ValueError, KeyError):
            return None
        return pid


def script(*acts: str) -> str:
    """A task for the scripted double."""
    return "#!scripted\n" + "\n".join(acts) + "\n"
