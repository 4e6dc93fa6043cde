"""Finds facts about the node: sizes, load, heat, free memory and disk, and which runtimes are ready."""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.attempt.accept import Ceiling, limits_text
from node_agent.machine.gpus import Gpus
from node_agent.machine.owner import OwnersFiles
from node_agent.machine.programs import RECORD, file_of, read_choices, written_version
from node_agent.runtimes.base import Program, Runtime
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.vendors import how_logged_in
from node_agent.shim import process
from node_agent.vault.vault import read_stamp
from node_agent.wire.clock import Clock
from node_agent.wire.endpoint import EndpointFact
from node_agent.wire.node import TOOL_FOLDERS, Allowed, GpuLoad, NodeFacts, NodeProblem, RoomFact, RuntimeFact
from node_agent.wire.policy import Isolation

FOLDERS = ("work", "mirrors", "cache", "sessions", "salvage", "journal", "bundles")
EVERY_MS, MOST_S = 900_000, 600.0
MOST_COPIES = 64
MOST_TOLD = 16
_ATTEMPT = re.compile(r"work/r-[a-z0-9.-]{1,80}")


def list_mirrors(home: Path) -> tuple[str, ...]:
    """Return the repositories with a mirror in this home, the most recently used first."""
    used = list[tuple[int, str]]()
    with suppress(OSError), os.scandir(home / "mirrors") as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                used.append((-entry.stat().st_mtime_ns, entry.name))
    return tuple(name for _, name in sorted(used)[:MOST_COPIES])


def set_ups(home: Path) -> tuple[str, ...]:
    """Return the repositories for which this home has a stored result of set-up."""
    found = set[str]()
    for about in (home / "cache").glob("*/about.json"):
        with suppress(OSError, ValueError, AttributeError):
            found.add(str(json.loads(about.read_bytes()).get("repository") or ""))
    return tuple(sorted(found - {""})[:MOST_COPIES])


class DiskUse:
    """The disk use as last measured. `du` runs in a thread, because reading all files may take long."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home, self._clock = home, clock
        self._measures = threading.Thread()
        self._due_ms = 0
        self._known: tuple[RoomFact, ...] = ()

    def look(self) -> tuple[RoomFact, ...]:
        """Return the folders, largest first, then those of attempts; empty before the first result. Never
        waits."""
        if not self._measures.is_alive() and self._clock.mono_ms() >= self._due_ms:
            self._due_ms = self._clock.mono_ms() + EVERY_MS
            self._measures = threading.Thread(target=self._measure, daemon=True)
            self._measures.start()
        return self._known

    def _measure(self) -> None:
        there = [name for name in FOLDERS if (self._home / name).is_dir()]
        with suppress(OSError, subprocess.TimeoutExpired):  # `du` is not installed: report nothing
            done = subprocess.run(
                ("du", "-kd1", "--", *there),
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=MOST_S,
            )
            self._known = _read(done.stdout) if there else ()


def _read(text: str) -> tuple[RoomFact, ...]:
    rows = (line.partition("\t") for line in text.splitlines())
    known = ((int(kib), name) for kib, _, name in rows if kib.isdigit())
    found = [
        RoomFact(what=name, bytes=kib * _KIB)
        for kib, name in known
        if name in FOLDERS or _ATTEMPT.fullmatch(name)
    ]
    return tuple(sorted(found, key=lambda one: ("/" in one.what, -one.bytes))[:MOST_TOLD])


PROBE_S = 10
"""The seconds of silence after which a program counts as not answering."""
FIRST_S = 0.5
"""Seconds to wait in the first look: most answers arrive in this time, and it does not delay a heartbeat."""
PROBE_EVERY_MS = 600_000
MOST_FIX = 300
_MEMORY, _ZONES = Path("/proc/meminfo"), Path("/sys/class/thermal")
_KIB = 1024
_HOTTEST = 150.0
"""The temperature in degrees above which a sensor is ignored."""


class Finder:
    """Finds the facts of each runtime, and updates them regularly and when a program or its login changes."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        values: Callable[[], Mapping[str, str]],
        first_s: float = FIRST_S,
        probe_s: float = PROBE_S,
        others: Callable[[], Mapping[str, Runtime]] = dict,
    ) -> None:
        """`others`: returns the runtimes that the owner has currently chosen, by name."""
        self._path, self._clock, self._values = path, clock, values
        self._first_s, self._probe_s, self._others = first_s, probe_s, others
        self._lock = threading.Lock()
        self._known: dict[str, RuntimeFact] = {}
        self._asked: dict[str, tuple[int, object]] = {}
        self._asking: set[str] = set()
        self._quiet = threading.Event()
        self._news = False

    def look(self) -> tuple[RuntimeFact, ...]:
        """Return all runtimes; one whose program has not answered yet is `looking`, or as it was before."""
        first = not self._asked
        self._ask_due()
        if first:
            self._quiet.wait(self._first_s)
        with self._lock:
            self._news = False
            known = dict(self._known)
        return tuple(
            known.get(name) or RuntimeFact(name=name, state="looking") for name in self._list_runtimes()
        )

    def _list_runtimes(self) -> dict[str, Runtime]:
        return {**RUNTIMES, **self._others()}

    def news(self) -> bool:
        """Whether the next `look` would return another result."""
        return self._news

    def version(self, name: str) -> str | None:
        """Return the version of a runtime as found by the last `look`."""
        fact = self._known.get(name)
        return None if fact is None else fact.version

    # -- inside

    def _ask_due(self) -> None:
        now, values = self._clock.mono_ms(), self._values()
        for runtime in self._list_runtimes().values():
            logins = {name: values[name] for name in runtime.credentials if name in values}
            names = [argv[0] for argv in runtime.probe.argvs]
            names += [runtime.adapter.name] if runtime.adapter else []
            programs = {name: file_of(name, self._path) for name in names}
            around = (programs, logins, runtime.probe.argvs)
            if self._is_due(runtime.name, now, around):
                probe_thread = threading.Thread(
                    target=self._ask, args=(runtime, logins), name="probe", daemon=True
                )
                probe_thread.start()

    def _is_due(self, name: str, now: int, around: object) -> bool:
        """Return whether the runtime is due for a check; if so, record the check. Checks never overlap."""
        with self._lock:
            then, before = self._asked.get(name, (now - PROBE_EVERY_MS, None))
            due = name not in self._asking and (now - then >= PROBE_EVERY_MS or around != before)
            if due:
                self._asked[name] = (now, around)
                self._asking.add(name)
                self._quiet.clear()
        return due

    def _ask(self, runtime: Runtime, logins: Mapping[str, str]) -> None:
        fact = self._find_runtime(runtime, logins)
        with self._lock:
            self._news = self._news or self._known.get(runtime.name) != fact
            self._known[runtime.name] = fact
            self._asking.discard(runtime.name)
            if not self._asking:
                self._quiet.set()

    def _find_runtime(self, runtime: Runtime, logins: Mapping[str, str]) -> RuntimeFact:
        try:
            with tempfile.TemporaryDirectory(prefix="pancode-probe-", ignore_cleanup_errors=True) as home:
                env = {"PATH": self._path, "HOME": home, "LANG": "C.UTF-8", "NO_COLOR": "1"}
                # the program runs outside a sandbox here, so it must not get a key
                env |= {} if runtime.chosen else logins
                probe = runtime.probe
                outputs = [
                    self._read_output(runtime.program, one, env, probe.patience_s) for one in probe.argvs
                ]
                fact = probe.read(outputs)
                if fact.state == "missing":
                    names = [argv[0] for argv in probe.argvs]
                    fix = advise_path(names, self._path, os.path.expanduser("~")) or fact.fix
                    fact = fact.model_copy(update={"fix": fix[:MOST_FIX]})
                can = fact.can or (() if fact.state == "missing" else runtime.capabilities.flags)
                facts = {"can": can, "login": how_logged_in(runtime.name, logins)}
                return fact.model_copy(update={**facts, "no_turns": self._no_turns(runtime, fact, env)})
        except _Silent as silent:
            return RuntimeFact(name=runtime.name, state="unknown_version", fix=str(silent)[:300])
        except Exception as exc:  # one runtime's error must not hide the others
            return RuntimeFact(
                name=runtime.name, state="unknown_version", fix=f"the probe failed: {exc}"[:300]
            )

    def _no_turns(self, runtime: Runtime, fact: RuntimeFact, env: Mapping[str, str]) -> str:
        """Return what the runtime lacks for interactive runs; empty also if its program is missing."""
        if runtime.adapter is None or fact.state == "missing":
            return ""
        return runtime.adapter.lack(self._read_output(runtime.adapter, runtime.adapter.asks_version, env))

    def _read_output(
        self, program: Program | None, argv: tuple[str, ...], env: Mapping[str, str], patience_s: float = 0
    ) -> tuple[int | None, str]:
        """Return exit status and output: the version stored on disk, if readable, or else those of a run."""
        if program is not None and argv == program.asks_version:
            version = written_version(program, self._path)
            if version is not None:
                return 0, version
        return _run(argv, env, patience_s or self._probe_s)


class _Silent(Exception):
    """A program was started and did not answer in time; the text is the advice."""


def _run(argv: tuple[str, ...], env: Mapping[str, str], limit_s: float) -> tuple[int | None, str]:
    """Start a program as a run does, with its own HOME, so that only a run's login counts. Raises _Silent."""
    try:
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError:
        return None, ""
    with process:
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as late:
            with suppress(ProcessLookupError):
                # also its child processes, which would keep its output open
                os.killpg(process.pid, signal.SIGKILL)
            command = " ".join(argv)
            raise _Silent(
                f"`{command}` did not end within {limit_s:g} s; try it on the node: {command}"
            ) from late
        return process.returncode, output.decode("utf-8", "replace")


USUAL = ("/usr/local/bin", "/usr/bin", "/bin")


def search_path(configured: str | None, environ: Mapping[str, str]) -> str:
    """Return the PATH of agents: as configured, or else our own with the usual folders of a user's tools.
    Relative parts are left out, because they would depend on the program's start folder, a repository."""
    if configured:
        return ":".join(_select_absolute(configured.split(":"))) or ":".join(USUAL)
    plain, managed = tool_folders(environ.get("HOME", ""))
    every = [*environ.get("PATH", "").split(":"), *plain, *USUAL, *managed]
    return ":".join(_select_absolute(every))


def tool_folders(home: str) -> tuple[list[str], list[str]]:
    """Return two lists of program folders: with fixed names, existing or not; with versions, newest first."""
    if not home:
        return [], []
    managed = [
        folder
        for pattern in TOOL_FOLDERS
        if "*" in pattern
        for folder in sorted(glob.glob(f"{glob.escape(home)}/{pattern}"), key=_parse_versions, reverse=True)
    ]
    return [f"{home}/{name}" for name in TOOL_FOLDERS if "*" not in name], managed


def _parse_versions(folder: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder)]


def advise_path(names: Iterable[str], path: str, home: str) -> str:
    """Return advice if one of the programs is in a usual folder that is not on `path`; otherwise empty."""
    plain, managed = tool_folders(home)
    for folder in (one for one in (*plain, *managed) if one not in path.split(":")):
        for name in names:
            if shutil.which(name, path=folder) is not None:
                return (
                    f"it is in {folder}, which is not on the PATH of the node agent: "
                    "pancode fleet down NODE && pancode fleet up NODE (or add it to path in node.json)"
                )
    return ""


def _select_absolute(parts: Iterable[str]) -> list[str]:
    """Return the absolute parts without duplicates."""
    return list(dict.fromkeys(part for part in parts if part.startswith("/")))


def with_local_fix(fact: RuntimeFact, home: Path, node: str, trouble: str = "") -> RuntimeFact:
    """Return the fact with this node's name and paths in its fix; the fix for a problem with the owner's
    secrets (`trouble`) comes first."""
    if fact.state == "not_logged_in" and trouble:
        return fact.model_copy(
            update={"fix": f"fix that file, because none of its values is used: {trouble}"}
        )
    fix = fact.fix.replace("~/.pancode-node/*", str(home)).replace(" NODE ", f" {node} ")
    return fact if fix == fact.fix else fact.model_copy(update={"fix": fix})


@dataclass(frozen=True, slots=True)
class OtherFacts:
    """Facts from other parts of the node agent: isolation, problems, model servers and names of variables."""

    isolation: Isolation = Isolation.NONE
    problems: tuple[NodeProblem, ...] = ()
    endpoints: tuple[EndpointFact, ...] = ()
    variables: tuple[str, ...] | None = None


class MachineProbe:
    """The facts port of a real node. `finder`: finds the runtimes; `others`: returns facts of other parts."""

    def __init__(
        self,
        home: Path,
        finder: Finder,
        clock: Clock,
        disk_reserve: int,
        others: Callable[[], OtherFacts] = lambda: OtherFacts(),
        local_fix: Callable[[RuntimeFact], RuntimeFact] = lambda fact: fact,
        news: Callable[[], bool] = lambda: False,
        gpus: Gpus | None = None,
    ) -> None:
        """`local_fix` puts this node's name and paths into a fix. `news`: whether other parts have news."""
        self._others_news, self._gpus = news, gpus or Gpus((), clock)
        self._home, self._clock, self._local_fix = home, clock, local_fix
        self._reserve, self._others = disk_reserve, others
        self._owner = OwnersFiles(home, clock)
        self._finder, self._disk_use = finder, DiskUse(home, clock)
        self._record: object = None

    def boot_id(self) -> str:
        return process.boot_id()

    def look(self) -> NodeFacts:
        self._record = self._stamp()  # the state is taken before the facts are read
        others, how = self._others(), read_choices(self._home)
        found = map(self._local_fix, self._finder.look())
        return NodeFacts(
            hostname=platform.node(),
            os=f"{platform.system()} {platform.release()}",
            arch=platform.machine(),
            python=platform.python_version(),
            cpus=os.cpu_count() or 1,
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            memory_free=memory_free(),
            heat=read_temperature(),
            disk_free=self._free() or 0,
            load_1m=round(os.getloadavg()[0], 2),
            isolation=others.isolation,
            runtimes=tuple(one.model_copy(update={"brought": how.get(one.name, "")}) for one in found),
            endpoints=others.endpoints,
            problems=(*others.problems, *self._list_problems()),
            shut=self._shut(),
            allows=self.ceiling().told(),
            repositories=list_mirrors(self._home),
            set_ups=set_ups(self._home),
            room=self._disk_use.look(),
            variables=others.variables,
            gpus=tuple(one.fact for one in self._gpus.look().gpus),
            wall_ms=self._clock.wall_ms(),
        )

    def gpu_loads(self) -> tuple[GpuLoad, ...]:
        return self._gpus.look().loads()

    def disk_ok(self) -> bool:
        free = self._free()
        return free is not None and free >= self._reserve

    def ceiling(self) -> Ceiling:
        return self._owner.ceiling()

    def news(self) -> bool:
        others = self._others_news()
        return self._finder.news() or others or self._stamp() != self._record

    def _stamp(self) -> object:
        """Return the state of the installed programs, so that a newly installed one is noticed at once."""
        return read_stamp(self._home / RECORD)

    def version(self, name: str) -> str | None:
        """Return the version of a runtime as it was last found."""
        return self._finder.version(name)

    def _free(self) -> int | None:
        try:
            seen = os.statvfs(self._home)
        except OSError:
            return None
        return seen.f_bavail * seen.f_frsize

    def _list_problems(self) -> list[NodeProblem]:
        problems: list[NodeProblem] = []
        shut, ceiling = self._shut(), self.ceiling()
        if shut is not None:
            problems.append(shut)
        if ceiling.closed:
            problems.append(NodeProblem(what=ceiling.closed, fix="correct or remove that file"))
        elif ceiling.told() != Allowed():
            file = self._home / "ceiling.json"
            problems.append(NodeProblem(what=limits_text(ceiling.told()), fix=f"edit {file} as its owner"))
        return [*problems, *self._gpus.problems()]

    def _shut(self) -> NodeProblem | None:
        if self.disk_ok():
            return None
        return NodeProblem(
            what=f"less than {self._reserve >> 20} MB are free in {self._home}", fix="free disk space there"
        )


def memory_free(path: Path = _MEMORY) -> int | None:
    """Return the bytes that a program may get without swapping others out; None if unknown."""
    with suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _KIB
    return None


def read_temperature(zones: Path = _ZONES) -> float | None:
    """Return the temperature of the hottest zone in degrees Celsius; None if there is no sensor."""
    found = []
    for zone in zones.glob("thermal_zone*/temp"):
        with suppress(OSError, ValueError):
            found.append(int(zone.read_text()) / 1000)
    return max((one for one in found if 0 < one < _HOTTEST), default=None)
