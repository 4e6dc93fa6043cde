"""Real phases for the shim's tests: builds plans, runs them with a real runner, leaves no process behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from node_agent.runner.runner import Runner
from node_agent.shim import process, shim
from node_agent.shim.spool import (
    Ended,
    ExitRecord,
    Grace,
    Look,
    PhasePlan,
    Running,
    Step,
    StepKind,
    StepRecord,
)
from node_agent.wire.clock import SystemClock
from tests.crowd import until as until

PYTHON = os.path.realpath(sys.executable)
SHIM = Path(shim.__file__).resolve()
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
FAST = Grace(int_ms=300, term_ms=300)
T = TypeVar("T")
PATIENCE_S = 20.0  # for a loaded machine; nothing here needs more than two


class Phases:
    """One folder of phases. Names a fresh marker for each, so that what a test left can be found."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runner = new_runner()
        self.markers: list[str] = []

    def plan(self, *argvs: list[str], **given: Any) -> tuple[Path, PhasePlan]:
        """A folder that does not exist yet, and a plan with one step for each argument list."""
        marker = f"m{os.getpid()}-{self.root.name}-{len(self.markers)}"
        self.markers.append(marker)
        base = self.root / marker
        base.mkdir()
        kind, stdin = given.pop("kind", StepKind.AGENT), given.pop("stdin", None)
        steps = tuple(
            Step(f"s{n}", kind, tuple(argv), str(base / f"out{n}"), str(base / f"err{n}"), stdin)
            for n, argv in enumerate(argvs)
        )
        known = {"cwd": str(base), "env": dict(ENV), "grace": FAST, **given}
        return base / "work", PhasePlan(id="r-test.1.1", phase="work", marker=marker, steps=steps, **known)

    def start(self, *argvs: list[str], **given: Any) -> Path:
        folder, plan = self.plan(*argvs, **given)
        self.runner.start(folder, plan)
        return folder

    def finish(self, folder: Path) -> ExitRecord:
        seen = self.runner.wait(folder, PATIENCE_S)
        assert isinstance(seen, Ended), seen
        return seen.record

    def run(self, *argvs: list[str], **given: Any) -> tuple[ExitRecord, Path]:
        folder = self.start(*argvs, **given)
        return self.finish(folder), folder.parent

    def one(self, *argv: str, **given: Any) -> tuple[StepRecord, Path]:
        """The only step's record, and the folder with out0 and err0."""
        record, base = self.run(list(argv), **given)
        assert len(record.steps) == 1
        return record.steps[0], base

    def running(self, folder: Path) -> Running:
        """Waits until a step is in progress."""

        def seen() -> Running | None:
            look: Look = self.runner.look(folder)
            return look if isinstance(look, Running) and look.pid else None

        return until(seen)

    def alive(self, folder: Path) -> list[int]:
        return [pid for pid, _ in process.find_members(folder.parent.name)]


def new_runner(shim_file: Path = SHIM) -> Runner:
    return Runner(PYTHON, shim_file, SystemClock())


def written(path: Path) -> Callable[[], str | None]:
    """Asks for the content of a file that is written once, with a newline at its end."""
    return lambda: path.read_text() if path.exists() and path.read_text().endswith("\n") else None


def phases_in(root: Path) -> Iterator[Phases]:
    """For a fixture: afterwards no process of any phase may be alive."""
    phases = Phases(root)
    try:
        yield phases
        left = {marker: process.find_members(marker) for marker in phases.markers}
    finally:
        for marker in phases.markers:
            phases.runner.stop(phases.root / marker / "work", "end of test")
            phases.runner.wait(phases.root / marker / "work", 5)
            phases.runner.sweep(marker)
        phases.runner.close()
    assert not any(left.values()), f"the test left processes: {left}"
