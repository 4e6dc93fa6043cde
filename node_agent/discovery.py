"""Finds out what this machine is: sizes, load, free disk, and which runtimes are ready on it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent import process
from node_agent.ceiling import Ceiling, limits_told
from node_agent.owner import OwnersFiles
from node_agent.programs import installed_version
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.vendors import how_logged_in
from node_agent.wire.clock import Clock
from node_agent.wire.endpoint import EndpointFact
from node_agent.wire.node import Allowed, NodeFacts, Problem, RuntimeFact
from node_agent.wire.policy import Isolation

PROBE_S = 10
PROBE_EVERY_MS = 600_000
USUAL = ("/usr/local/bin", "/usr/bin", "/bin")


def search_path(configured: str | None, environ: Mapping[str, str]) -> str:
    """PATH of agents: as configured, else our own with the folders where a user's tools usually lie."""
    if configured:
        return configured
    home = environ.get("HOME", "")
    own = [f"{home}/{name}" for name in (".local/bin", "bin", ".npm-global/bin")] if home else []
    every = [*environ.get("PATH", "").split(":"), *own, *USUAL]
    return ":".join(dict.fromkeys(part for part in every if part))


@dataclass(frozen=True, slots=True)
class Others:
    """What other parts of the node agent found out: what stands around an agent here, and what is wrong."""

    isolation: Isolation = Isolation.NONE
    problems: tuple[Problem, ...] = ()
    endpoints: tuple[EndpointFact, ...] = ()


class Machine:
    """The Facts port. Runtimes are probed at the first look, and then in the background now and then.

    They are also probed when one of their programs has come or gone, or what logs one in has changed.
    `values`: the node's variables and secrets by name, as now. `others`: what they found out.
    """

    def __init__(
        self,
        home: Path,
        path: str,
        clock: Clock,
        disk_reserve: int,
        values: Callable[[], Mapping[str, str]] = dict,
        others: Callable[[], Others] = lambda: Others(),
    ) -> None:
        self._home, self._path, self._clock = home, path, clock
        self._reserve, self._values, self._others = disk_reserve, values, others
        self._owner = OwnersFiles(home)
        self._seen: object = None
        self._found: tuple[RuntimeFact, ...] | None = None
        self._probed = 0
        self._probing = threading.Lock()

    def boot_id(self) -> str:
        return process.boot_id()

    def look(self) -> NodeFacts:
        others = self._others()
        return NodeFacts(
            hostname=platform.node(),
            os=f"{platform.system()} {platform.release()}",
            arch=platform.machine(),
            python=platform.python_version(),
            cpus=os.cpu_count() or 1,
            memory=_memory(),
            disk_free=self._free() or 0,
            load_1m=round(os.getloadavg()[0], 2),
            isolation=others.isolation,
            runtimes=self._runtimes(),
            endpoints=others.endpoints,
            problems=(*others.problems, *self._problems()),
            shut=self._shut(),
            allows=self.ceiling().told(),
            wall_ms=self._clock.wall_ms(),
        )

    def disk_ok(self) -> bool:
        free = self._free()
        return free is not None and free >= self._reserve

    def ceiling(self) -> Ceiling:
        return self._owner.ceiling()

    def version(self, name: str) -> str | None:
        """Of a runtime, as last found."""
        return next((one.version for one in self._found or () if one.name == name), None)

    def _free(self) -> int | None:
        try:
            seen = os.statvfs(self._home)
        except OSError:
            return None
        return seen.f_bavail * seen.f_frsize

    def _problems(self) -> list[Problem]:
        told: list[Problem] = []
        shut, ceiling = self._shut(), self.ceiling()
        if shut is not None:
            told.append(shut)
        if ceiling.closed:
            told.append(Problem(what=ceiling.closed, fix="mend or remove that file"))
        elif ceiling.told() != Allowed():
            file = self._home / "ceiling.json"
            told.append(Problem(what=limits_told(ceiling.told()), fix=f"its owner may change {file}"))
        return told

    def _shut(self) -> Problem | None:
        if self.disk_ok():
            return None
        return Problem(what=f"less than {self._reserve >> 20} MB free in {self._home}", fix="free disk there")

    def _runtimes(self) -> tuple[RuntimeFact, ...]:
        seen = self._surroundings()
        if self._found is None:
            self._seen = seen
            self._probe()
        elif (self._due() or seen != self._seen) and not self._probing.locked():
            self._seen = seen
            threading.Thread(target=self._probe, name="probe", daemon=True).start()
        return self._found or ()

    def _due(self) -> bool:
        return self._clock.mono_ms() - self._probed >= PROBE_EVERY_MS

    def _surroundings(self) -> object:
        """What a probe's answer hangs on, as far as it can be seen without asking the programs."""
        programs = {argv[0] for runtime in RUNTIMES.values() for argv in runtime.probe.argvs}
        found = {name: shutil.which(name, path=self._path) for name in programs}
        values = self._values()
        return found, {runtime.name: _logins(runtime, values) for runtime in RUNTIMES.values()}

    def _probe(self) -> None:
        """All at once: most of a probe's time is waiting for a program to start."""
        with self._probing:
            self._probed = self._clock.mono_ms()
            values, found = self._values(), dict[str, RuntimeFact]()

            def ask(runtime: Runtime) -> None:
                found[runtime.name] = self._one(runtime, _logins(runtime, values))

            asked = [
                threading.Thread(target=ask, args=(one,), name="probe", daemon=True)
                for one in RUNTIMES.values()
            ]
            for thread in asked:
                thread.start()
            for thread in asked:
                thread.join()
            self._found = tuple(found[name] for name in RUNTIMES)

    def _one(self, runtime: Runtime, logins: Mapping[str, str]) -> RuntimeFact:
        try:
            with tempfile.TemporaryDirectory(prefix="pancode-probe-", ignore_cleanup_errors=True) as home:
                env = {"PATH": self._path, "HOME": home, "LANG": "C.UTF-8", "NO_COLOR": "1", **logins}
                fact = runtime.probe.read([self._ask(runtime, argv, env) for argv in runtime.probe.argvs])
                can = () if fact.state == "missing" else runtime.capabilities.flags
                return fact.model_copy(update={"can": can, "login": how_logged_in(runtime.name, logins)})
        except Exception as exc:  # one runtime's surprise must not hide the others
            return RuntimeFact(
                name=runtime.name, state="unknown_version", fix=f"the probe failed: {exc}"[:300]
            )

    def _ask(self, runtime: Runtime, argv: tuple[str, ...], env: Mapping[str, str]) -> tuple[int | None, str]:
        """Its version is read where it is written, if that can be; else it is asked."""
        program = runtime.program
        if program is not None and argv == program.asks_version:
            version = installed_version(argv[0], program.package, self._path)
            if version is not None:
                return 0, version
        return _run(argv, env)


def _logins(runtime: Runtime, values: Mapping[str, str]) -> dict[str, str]:
    return {name: values[name] for name in runtime.credentials if name in values}


def _run(argv: tuple[str, ...], env: Mapping[str, str]) -> tuple[int | None, str]:
    """As a run has it: with a HOME of its own, so that only what a run will have logs it in."""
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False,
            cwd="/", start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None, ""
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
