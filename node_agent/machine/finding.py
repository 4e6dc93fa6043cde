"""Finds the runtimes that are ready here: asks all programs at once, and waits for none for long."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from node_agent.machine.programs import written_version
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.vendors import how_logged_in
from node_agent.wire.clock import Clock
from node_agent.wire.node import RuntimeFact

PROBE_S = 10
"""A program that says nothing for so long is taken for one that does not answer."""
FIRST_S = 0.5
"""The first look waits so long: most answers are there by then, and nobody waits for a heartbeat."""
PROBE_EVERY_MS = 600_000


class Finder:
    """The known facts of each runtime. Asked again now and then, and when a program or its login changes."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        values: Callable[[], Mapping[str, str]],
        first_s: float = FIRST_S,
        probe_s: float = PROBE_S,
    ) -> None:
        self._path, self._clock, self._values = path, clock, values
        self._first_s, self._probe_s = first_s, probe_s
        self._lock = threading.Lock()
        self._known: dict[str, RuntimeFact] = {}
        self._asked: dict[str, tuple[int, object]] = {}
        self._asking: set[str] = set()
        self._quiet = threading.Event()
        self._news = False

    def look(self) -> tuple[RuntimeFact, ...]:
        """All runtimes; one whose program has not answered yet is `looking`, or as it was found before."""
        first = not self._asked
        self._ask_due()
        if first:
            self._quiet.wait(self._first_s)
        with self._lock:
            self._news = False
            known = dict(self._known)
        return tuple(known.get(name) or RuntimeFact(name=name, state="looking") for name in RUNTIMES)

    def news(self) -> bool:
        """Check whether another look would say something else."""
        return self._news

    def version(self, name: str) -> str | None:
        """The version at the last look."""
        fact = self._known.get(name)
        return None if fact is None else fact.version

    # -- inside

    def _ask_due(self) -> None:
        now, values = self._clock.mono_ms(), self._values()
        for runtime in RUNTIMES.values():
            logins = {name: values[name] for name in runtime.credentials if name in values}
            around = (_found(runtime, self._path), logins)
            if self._is_due(runtime.name, now, around):
                ask = threading.Thread(target=self._ask, args=(runtime, logins), name="probe", daemon=True)
                ask.start()

    def _is_due(self, name: str, now: int, around: object) -> bool:
        """If so it counts as asked. One that is being asked is not asked beside that."""
        with self._lock:
            then, before = self._asked.get(name, (now - PROBE_EVERY_MS, None))
            due = name not in self._asking and (now - then >= PROBE_EVERY_MS or around != before)
            if due:
                self._asked[name] = (now, around)
                self._asking.add(name)
                self._quiet.clear()
        return due

    def _ask(self, runtime: Runtime, logins: Mapping[str, str]) -> None:
        fact = self._one(runtime, logins)
        with self._lock:
            self._news = self._news or self._known.get(runtime.name) != fact
            self._known[runtime.name] = fact
            self._asking.discard(runtime.name)
            if not self._asking:
                self._quiet.set()

    def _one(self, runtime: Runtime, logins: Mapping[str, str]) -> RuntimeFact:
        try:
            with tempfile.TemporaryDirectory(prefix="pancode-probe-", ignore_cleanup_errors=True) as home:
                env = {"PATH": self._path, "HOME": home, "LANG": "C.UTF-8", "NO_COLOR": "1", **logins}
                fact = runtime.probe.read([self._output(runtime, argv, env) for argv in runtime.probe.argvs])
                can = () if fact.state == "missing" else runtime.capabilities.flags
                return fact.model_copy(update={"can": can, "login": how_logged_in(runtime.name, logins)})
        except _Silent as silent:
            return RuntimeFact(name=runtime.name, state="unknown_version", fix=str(silent)[:300])
        except Exception as exc:  # one runtime's surprise must not hide the others
            return RuntimeFact(
                name=runtime.name, state="unknown_version", fix=f"the probe failed: {exc}"[:300]
            )

    def _output(
        self, runtime: Runtime, argv: tuple[str, ...], env: Mapping[str, str]
    ) -> tuple[int | None, str]:
        """Its version is read where it is written, if that can be; else it is asked."""
        program = runtime.program
        if program is not None and argv == program.asks_version:
            version = written_version(program, self._path)
            if version is not None:
                return 0, version
        return _run(argv, env, self._probe_s)


class _Silent(Exception):
    """A program was asked and did not answer in time; the text says what to try."""


def _found(runtime: Runtime, path: str) -> dict[str, str | None]:
    """The paths of the programs that a probe runs; its answer depends on them."""
    return {argv[0]: shutil.which(argv[0], path=path) for argv in runtime.probe.argvs}


def _run(argv: tuple[str, ...], env: Mapping[str, str], limit_s: float) -> tuple[int | None, str]:
    """Runs a program as a run has it: with its own HOME, so that only a run's own login counts. _Silent."""
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
                os.killpg(
                    process.pid, signal.SIGKILL
                )  # with what it started, which would hold its output open
            asked = " ".join(argv)
            raise _Silent(f"`{asked}` did not end within {limit_s:g} s; try it there: {asked}") from late
        return process.returncode, output.decode("utf-8", "replace")
