"""The files of a phase's folder: the plan that the runner writes, and the records that the shim writes.
Standard library only and without input or output, so that the attempt's decision logic may import it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, cast

MAX_STEPS = 64
MAX_NAME = 64
AGENT_ONLY = "PANCODE_AGENT_ONLY"
"""The key in a plan's environment, as `process.AGENT_ONLY` is in the shim: names that only the agent gets."""


class SpoolError(ValueError):
    """Raised for a plan or record that does not have the form of its version."""


class RunnerError(Exception):
    """Raised if a phase cannot be started, checked, stopped or fully ended. `disk_full`: the disk is full."""

    def __init__(self, message: str, disk_full: bool = False) -> None:
        super().__init__(message)
        self.disk_full = disk_full


class StepKind(StrEnum):
    SETUP = "setup"
    AGENT = "agent"
    GATE = "gate"


class StepEndedBy(StrEnum):
    """The cause of a step's end: the step itself (`none`), a request to stop, or a limit."""

    NONE = "none"
    STOP = "stop"
    WALL = "wall"
    IDLE = "idle"
    OUTPUT = "output"
    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"


class PhaseEnd(StrEnum):
    """Why a phase ended: every step exited with 0, one did not, a stop, or an internal error of the shim."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    ERROR = "error"


def _require_rule(holds: bool, why: str) -> None:
    if not holds:
        raise SpoolError(why)


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and "\0" not in path


def _leads_out(path: str) -> bool:
    return bool(path) and ("\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")))


def _make_check(kind: type, words: str) -> Callable[[object], Any]:
    def parsed(value: object) -> Any:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        raise TypeError(f"{value!r} is not {words}")

    return parsed


_text, _number, _truth = (
    _make_check(str, "text"),
    _make_check(int, "a whole number"),
    _make_check(bool, "true or false"),
)


def _check_items(value: object) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    raise TypeError(f"{value!r} is not a list")


def _check_environment(value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {_text(name): _text(text) for name, text in value.items()}
    raise TypeError(f"{value!r} is not an environment (an object of names and values)")


def _to_plain(value: Any) -> Any:
    if isinstance(value, _Record):
        return value.to_dict()
    if isinstance(value, tuple):
        return tuple(_to_plain(item) for item in value)
    return dict(value) if isinstance(value, dict) else value


_LATER: dict[str, dict[str, object]] = {
    "PhasePlan": {"below": ""},
    "Step": {"walled": False, "wall": (), "calls": "", "joins": ""},
    "PhaseLimits": {"memory_bytes": None, "processes": None, "disk_bytes": None},
}
"""The defaults of fields that earlier versions did not write, since a run may continue during an upgrade."""


class _Record:
    """Converts to and from JSON strictly: exactly the declared fields, each of its declared type."""

    def to_dict(self) -> dict[str, Any]:
        return {name: _to_plain(getattr(self, name)) for name in self.__dataclass_fields__}  # type: ignore[attr-defined]

    def to_json(self) -> bytes:
        return json.dumps(self.to_dict(), separators=(",", ":")).encode("ascii")

    @classmethod
    def from_dict(cls, raw: object) -> Self:
        """Return the record that this JSON object describes. Raises SpoolError."""
        fields = {field.name: str(field.type) for field in dataclasses.fields(cast("Any", cls))}
        if isinstance(raw, Mapping):
            raw = {**_LATER.get(cls.__name__, {}), **raw}
        if not isinstance(raw, Mapping) or set(raw) != set(fields):
            given = sorted(map(str, raw)) if isinstance(raw, Mapping) else type(raw).__name__
            raise SpoolError(f"{cls.__name__}: expected the fields {sorted(fields)}, got {given}")
        try:
            return cls(**{name: _PARSE[kind](raw[name]) for name, kind in fields.items()})
        except (TypeError, ValueError) as exc:
            raise SpoolError(f"{cls.__name__}: {exc}") from exc

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record of this JSON text. Raises SpoolError."""
        try:
            return cls.from_dict(json.loads(data))
        except ValueError as exc:
            raise exc if isinstance(exc, SpoolError) else SpoolError(f"{cls.__name__}: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Step(_Record):
    """One program to run. `stdin` None: /dev/null. Paths are absolute; output is appended.

    `walled`: the command builds a sandbox around the program; descriptor 3 reports whether the program ran.
    `wall`: the arguments before `argv` that build the sandbox. `calls`: a file opened as descriptor 4.
    `joins`: the log to which standard error is copied during the step; then the step's own file is removed.
    """

    name: str
    kind: StepKind
    argv: tuple[str, ...]
    stdout: str
    stderr: str
    stdin: str | None = None
    walled: bool = False
    wall: tuple[str, ...] = ()
    calls: str = ""
    joins: str = ""

    def __post_init__(self) -> None:
        _require_rule(0 < len(self.name) <= MAX_NAME, f"a step's name must have 1 to {MAX_NAME} characters")
        _require_rule(bool(self.argv) and bool(self.argv[0]), f"step {self.name}: the command is empty")
        words = (*self.wall, *self.argv)
        _require_rule(
            all("\0" not in word for word in words), f"step {self.name}: an argument contains a NUL character"
        )
        for path in (self.stdin, self.stdout, self.stderr):
            _require_rule(
                path is None or _is_absolute(path), f"step {self.name}: {path!r} must be an absolute path"
            )


@dataclass(frozen=True, slots=True)
class PhaseLimits(_Record):
    """The limits of a phase; None: no limit. `wall_ms` applies to the whole phase, the others to each step.

    `memory_bytes` and `processes` (threads included) count all processes that run at once. `disk_bytes`
    counts the plan's folder and its HOME, including files that earlier phases left there.
    """

    wall_ms: int | None = None
    idle_ms: int | None = None
    output_bytes: int | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    disk_bytes: int | None = None

    def __post_init__(self) -> None:
        own = (self.memory_bytes, self.processes, self.disk_bytes)
        for value in (self.wall_ms, self.idle_ms, self.output_bytes, *own):
            _require_rule(value is None or value >= 0, "a limit must not be negative")


@dataclass(frozen=True, slots=True)
class Grace(_Record):
    """The milliseconds that the processes of a stopped step get after SIGINT, and then after SIGTERM."""

    int_ms: int = 15_000
    term_ms: int = 15_000

    def __post_init__(self) -> None:
        _require_rule(self.int_ms >= 0 and self.term_ms >= 0, "a grace period must not be negative")


@dataclass(frozen=True, slots=True)
class PhasePlan(_Record):
    """One phase of one attempt. The environment is exactly `env` and the marker (PANCODE_ATTEMPT).

    `below`: the folder below `cwd` in which the steps begin; the path must not contain a symbolic link.

    `env` may contain secrets: `Runner.forget` removes the plan from the disk when no phase needs it any more.
    """

    id: str
    phase: str
    marker: str
    cwd: str
    env: dict[str, str]
    steps: tuple[Step, ...]
    limits: PhaseLimits = PhaseLimits()
    grace: Grace = Grace()
    go_on: bool = False
    below: str = ""

    def __post_init__(self) -> None:
        _require_rule(bool(self.marker) and "\0" not in self.marker, "a plan requires a marker")
        _require_rule(_is_absolute(self.cwd), f"cwd {self.cwd!r} must be an absolute path")
        _require_rule(not _leads_out(self.below), f"{self.below!r} must be below cwd")
        _require_rule(0 < len(self.steps) <= MAX_STEPS, f"a plan must have 1 to {MAX_STEPS} steps")
        for name, value in self.env.items():
            _require_rule(
                bool(name) and "=" not in name and "\0" not in name + value, f"environment: {name!r}"
            )


@dataclass(frozen=True, slots=True)
class Spawned(_Record):
    """The shim process of this folder, written before anything is executed."""

    boot: str
    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class StepStart(_Record):
    """A started step; `start` is the process's start time in clock ticks since boot."""

    index: int
    name: str
    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class ExecError(_Record):
    """Why a step did not start. `what`: exec, cwd, below, stdin, stdout, stderr, wall; `errno`: ENOENT...
    With `wall` the sandbox itself failed: `path` is its error message, and its process had started."""

    what: str
    errno: str
    path: str


@dataclass(frozen=True, slots=True)
class StepRecord(_Record):
    """The end of one step: `exit_code`, `signal`, or `exec_error` (then the program never ran, and pid is 0).

    `cpu_ms` and `max_rss_kb` cover every process that was reaped below the step; `swept` is the number of
    processes that had to be killed after the step's end.
    """

    index: int
    name: str
    kind: StepKind
    pid: int
    start: int
    exit_code: int | None
    signal: int | None
    exec_error: ExecError | None
    ended_by: StepEndedBy
    began_wall_ms: int
    began_mono_ms: int
    ended_wall_ms: int
    ended_mono_ms: int
    out_bytes: int
    err_bytes: int
    max_rss_kb: int
    cpu_ms: int
    swept: int

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and self.ended_by is StepEndedBy.NONE


@dataclass(frozen=True, slots=True)
class ExitRecord(_Record):
    """The end of a phase. Steps that are not listed never ran. `left`: the processes that survived SIGKILL.

    `reaper` False: the kernel refused to make the shim a subreaper, so a process that detached from its
    parent and removed the marker may have escaped.
    """

    id: str
    phase: str
    boot: str
    ended: PhaseEnd
    reason: str
    reaper: bool
    swept: int
    left: int
    began_wall_ms: int
    began_mono_ms: int
    ended_wall_ms: int
    ended_mono_ms: int
    steps: tuple[StepRecord, ...]


@dataclass(frozen=True, slots=True)
class NotStarted:
    """No shim has started in the folder: nothing was executed."""


@dataclass(frozen=True, slots=True)
class Running:
    """The shim is running. `step` and `pid` name the step in progress; None and 0 between two steps."""

    step: str | None
    pid: int
    shim: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The phase has ended. `rebooted`: it ended before the last boot, so files that it wrote may be lost."""

    record: ExitRecord
    rebooted: bool = False


@dataclass(frozen=True, slots=True)
class Vanished:
    """A shim started in the folder and ended without an exit record. Its processes may still run and must be
    ended. `rebooted`: the node has booted since. `steps`: the steps that had ended before."""

    reason: str
    rebooted: bool = False
    steps: tuple[StepRecord, ...] = ()


Look = NotStarted | Running | Ended | Vanished


_PARSE: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _number,
    "bool": _truth,
    "str | None": lambda value: None if value is None else _text(value),
    "int | None": lambda value: None if value is None else _number(value),
    "tuple[str, ...]": lambda value: tuple(map(_text, _check_items(value))),
    "dict[str, str]": _check_environment,
    "StepKind": StepKind,
    "StepEndedBy": StepEndedBy,
    "PhaseEnd": PhaseEnd,
    "PhaseLimits": PhaseLimits.from_dict,
    "Grace": Grace.from_dict,
    "ExecError | None": lambda value: None if value is None else ExecError.from_dict(value),
    "tuple[Step, ...]": lambda value: tuple(map(Step.from_dict, _check_items(value))),
    "tuple[StepRecord, ...]": lambda value: tuple(map(StepRecord.from_dict, _check_items(value))),
}
"""The function that reads a field, by the field's annotation as written."""
