"""The stage of the demo: one folder with a complete fleet, and the code that removes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

import psutil

from node_agent.wire.clock import Clock, Ids, SystemIds
from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.host.single_instance import holder_of
from pancode.kernel.processes import ProcessId

PREFIX = "pancode-demo-"
NODES = ("alder", "birch")
FACTOR = 0.1
"""The factor by which the product's waits and deadlines are shortened."""
LOOK_S = 0.05
LOOKS, CALM_LOOKS = 100, 6
"""The maximum number of checks for running processes, and how many in a row must find none."""
COMMAND_S = 120
# Other fleets' settings and the user's keys, session bus and git configuration are not passed on.
_DROPPED = ("PANCODE_", "GIT_", "XDG_", "SSH_", "DBUS_")
_SETTINGS = f"timing: {{factor: {FACTOR}}}\nredis: {{url: null}}\nledger: {{url: null}}\n"
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class CommandDone:
    """The exit status and output of a command."""

    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        return self.err + self.out


class Stage:
    """The folder of one demo: `desk` is the coordinator's home; each node's home is next to it."""

    def __init__(self, root: Path, environ: Mapping[str, str], clock: Clock) -> None:
        self.root = root
        self.home = root / "desk"
        self.project = root / "project"
        self.client = Client(self.home, starts=False)
        self._clock = clock
        kept = {name: value for name, value in environ.items() if not name.startswith(_DROPPED)}
        own = {"HOME": str(root / "home"), "PANCODE_HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}
        self.environ = {**kept, **own, "NO_COLOR": "1"}

    def furnish(self, files: Mapping[str, str], keep: bool) -> None:
        """Create the folders, the fleet's settings, and the project as a git repository with one commit."""
        for folder in (self.root, self.root / "home", self.home, self.project):
            folder.mkdir(mode=0o700)
        note = {**asdict(ProcessId.me()), "keep": keep}
        (self.root / "demo.json").write_text(json.dumps(note) + "\n")
        (self.home / "pancode.yaml").write_text(_SETTINGS)
        for name, text in files.items():
            (self.project / name).write_text(text)
        for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "first")):
            self.git(*words)

    # -- commands ------------------------------------------------------------------------------------

    def pancode(self, *words: str) -> CommandDone:
        """Run the command line as a process in the project. UnavailableError if it takes too long."""
        return self.run([sys.executable, "-m", "pancode", *words])

    def git(self, *words: str) -> str:
        """Run git in the project. UnavailableError, with git's output, if it fails."""
        who = ("-c", "user.name=demo", "-c", "user.email=demo@localhost")
        done = self.run(["git", *who, *words])
        if done.code != 0:
            raise UnavailableError(f"git {words[0]} failed", why=done.err.strip()[-300:], fix="check git")
        return done.out

    def run(self, argv: list[str]) -> CommandDone:
        """Run a program in the project. UnavailableError if it is missing or takes too long."""
        try:
            done = subprocess.run(
                argv,
                cwd=self.project,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_S,
                check=False,
            )
        except FileNotFoundError as exc:
            raise UnavailableError(f"{argv[0]} not found", why=str(exc), fix="pancode doctor") from exc
        except subprocess.TimeoutExpired as exc:
            raise UnavailableError(
                f"{' '.join(argv[1:4])} did not finish within {COMMAND_S} s",
                why="this machine is overloaded, or a process hangs",
                fix="run pancode fleet demo --keep, then read its coordinator's log",
            ) from exc
        return CommandDone(done.returncode, done.stdout, done.stderr)

    def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition is true; False if it is not within that time."""
        deadline = self._clock.mono_ms() + seconds * 1000
        while not holds():
            if self._clock.mono_ms() > deadline:
                return False
            time.sleep(LOOK_S)
        return True

    # -- what runs -------------------------------------------------------------------------------------

    def node_home(self, node: str) -> Path:
        """Return the node's home, once the node is up."""
        return next((self.root / node / ".pancode-node").glob("f-*"))

    def agent_pid(self, node: str) -> int:
        """Return the process id of the node agent."""
        return int((self.node_home(node) / "run/agent.pid").read_text().split()[0])

    def processes(self, place: Path | None = None) -> dict[int, str]:
        """Return pid and command line of live processes with their HOME in `place` (None: in the demo).

        The fleet's processes have their HOME in the demo's folder; a user's own processes do not. Redis
        overwrites its environment with its title, so it is recognized by the socket path in the title.
        """
        where, found = f"{place or self.root}/", dict[int, str]()
        for one in psutil.process_iter(["cmdline", "environ"]):
            words, home = " ".join(one.info["cmdline"] or ()), (one.info["environ"] or {}).get("HOME", "")
            if words and (f"{home}/".startswith(where) or f"unixsocket:{where}" in words):
                found[one.pid] = words.strip()
        return found

    # -- the end -----------------------------------------------------------------------------------------

    def take_down(self) -> list[str]:
        """Remove each node as `pancode node rm` does, and stop the coordinator; return the failures."""
        problems: list[str] = []
        if holder_of(self.home) is None:
            return problems
        threads = [Thread(target=self._remove, args=(node, problems)) for node in NODES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            self.client.post(path_of("shutdown"), {"by": "demo"})
        except PancodeError as error:
            problems.append(f"the coordinator: {error}")
        self.until(lambda: not self.processes(), 20)
        return problems

    def _remove(self, node: str, problems: list[str]) -> None:
        try:
            events = self.client.events("POST", path_of("nodes", node, "remove"), {"by": "demo"})
            results = [event.data for event in events if event.kind == "result"]
        except PancodeError as error:
            problems.append(f"{node}: {error}")
            return
        problems += [f"{node}: {problem['what']}" for result in results for problem in result["problems"]]

    def sweep(self) -> list[str]:
        """Kill remaining processes and delete the folder; return the killed processes' command lines.

        One check that finds no process is not enough: a process during exec briefly has no command line or
        environment, and a new process may be missing from the list.
        """
        ended: list[str] = []
        calm = 0
        for _ in range(LOOKS):
            left = self.processes()
            calm = 0 if left else calm + 1
            if calm == CALM_LOOKS:
                break
            ended += [words for words in left.values() if words not in ended]
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(LOOK_S)
        shutil.rmtree(self.root, ignore_errors=True)
        return ended


def new_stage(environ: Mapping[str, str], clock: Clock, ids: Ids | None = None) -> Stage:
    """Return a stage in a new folder; its path is short, since it will contain sockets."""
    place = tempfile.gettempdir()
    short = place if len(place) < _LONGEST else "/tmp"
    return Stage(Path(short) / f"{PREFIX}{(ids or SystemIds()).short(6)}", environ, clock)


def list_unused(environ: Mapping[str, str], clock: Clock, *, kept: bool) -> list[Stage]:
    """Return this user's demos that are not running; `kept`: including those kept with --keep."""
    found = []
    for place in {tempfile.gettempdir(), "/tmp"}:
        for root in sorted(Path(place).glob(f"{PREFIX}*")):
            if _is_abandoned(root, kept):
                found.append(Stage(root, environ, clock))
    return found


def _is_abandoned(root: Path, kept: bool) -> bool:
    try:
        if root.is_symlink() or root.stat().st_uid != os.getuid():
            return False
        note = json.loads((root / "demo.json").read_text())
        stays = bool(note.pop("keep"))
        return not ProcessId(**note).alive() and (kept or not stays)
    except (OSError, ValueError, KeyError, TypeError):
        return False
