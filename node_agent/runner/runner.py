"""Starts a shim for each phase, reports its state, stops it and cleans up after it; adopts running shims. The
phase's folder is the only state, so any runner, in any process of this node, returns the same answers."""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from node_agent.attempt.ports import Activity
from node_agent.files import durable
from node_agent.runner.scopes import Scope
from node_agent.shim import process
from node_agent.shim.shim import (
    LOG,
    PLAN,
    RECORDS,
    SPAWNED,
    START_BYTES,
    STEP_BYTES,
    STOP,
    exit_offset,
    reserve_space,
)
from node_agent.shim.spool import (
    Ended,
    ExitRecord,
    Look,
    NotStarted,
    PhasePlan,
    RunnerError,
    Running,
    Spawned,
    SpoolError,
    StepRecord,
    StepStart,
    Vanished,
)

MOST_FILES = 10_000
"""The maximum number of files in a folder that are checked; changes of further files are not detected."""
_SKIPPED = (".git", "node_modules", ".venv")
# fields of /proc/PID/stat, counted from the state: CPU time of the process and of its ended children
_CPU = slice(11, 15)
_TICK_MS = 1_000 // os.sysconf("SC_CLK_TCK")


def cpu_ms(pids: Iterable[int]) -> int:
    """Return the CPU time in milliseconds of these processes and of their ended children."""
    total = 0
    for pid in pids:
        try:
            line = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:  # the process has ended
            continue
        total += sum(map(int, line.rpartition(b")")[2].split()[_CPU]))
    return total * _TICK_MS


def changed_ms(folder: str) -> int:
    """Return the wall-clock time of the newest change of a file or folder below; 0 if nothing is readable."""
    newest, left, folders = 0, MOST_FILES, [folder]
    while folders and left > 0:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    left -= 1
                    newest = max(newest, entry.stat(follow_symlinks=False).st_mtime_ns)
                    if entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:  # the file was removed, or is not readable for this user
            continue
    return newest // 1_000_000


if TYPE_CHECKING:
    from node_agent.runner.scopes import Scopes
    from node_agent.wire.clock import Clock

POLL_MS = 50


def read_start(pipe: int, ms: int) -> str:
    """Return `spawned` or the shim's error message; an empty string if the shim died or took too long."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return os.read(pipe, 1024).decode("utf-8", "replace") if poll.poll(ms) else ""


def await_end(pid: int, ms: int, wake: int | None = None) -> bool:
    """Wait until a process has ended, `wake` is readable or the time is over. Return whether `wake`
    may be readable."""
    try:
        fd = os.pidfd_open(pid)
    except (OSError, AttributeError) as exc:
        if not isinstance(exc, ProcessLookupError):  # the kernel or the interpreter has no pidfd
            time.sleep(min(ms, POLL_MS) / 1000)
        return wake is not None
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        return any(ready == wake for ready, _ in poll.poll(ms))
    finally:
        os.close(fd)


def read_phase(folder: Path) -> Look:
    """Return the state of a phase. Raises OSError, SpoolError."""
    spawned = spawned_in(folder)
    if spawned is None:
        return NotStarted()
    ended = _exit_record(folder)
    if ended is not None:
        return ended
    if process.is_alive(spawned.boot, spawned.pid, spawned.start):
        step = _read_steps(folder)[1]
        return Running(step.name if step else None, step.pid if step else 0, spawned.pid)
    ended = _exit_record(folder)  # the shim may have ended between the two reads
    if ended is not None:
        return ended
    rebooted = spawned.boot != process.boot_id()
    reason = "the node was restarted" if rebooted else _watcher_gone(spawned.pid)
    return Vanished(reason, rebooted, _read_steps(folder)[0])


def _watcher_gone(pid: int) -> str:
    """Return the reason in plain words, because few users know what a shim is."""
    return f"the process that supervised it there (shim, pid {pid}) was killed or has crashed"


def _exit_record(folder: Path) -> Ended | None:
    path = f"{folder}/{RECORDS}"
    data = durable.read_framed(path, exit_offset(os.stat(path).st_size)) if os.path.exists(path) else None
    if data is None:
        return None
    record = ExitRecord.from_json(data)
    return Ended(record, record.boot != process.boot_id())


_FORGOTTEN = Spawned("", 0, 0)
"""The shim of a phase that `forget` has emptied; no boot has this id."""


def spawned_in(folder: Path) -> Spawned | None:
    """Return the record of the shim that has claimed the folder, or None. Raises OSError, SpoolError."""
    data = read_part(folder / SPAWNED)
    return None if data is None else Spawned.from_json(data) if data else _FORGOTTEN


def _read_steps(folder: Path) -> tuple[tuple[StepRecord, ...], StepStart | None]:
    """Return (the steps that have ended, the step in progress)."""
    ended: list[StepRecord] = []
    path = f"{folder}/{RECORDS}"
    count = exit_offset(os.stat(path).st_size) // STEP_BYTES if os.path.exists(path) else 0
    while len(ended) < count:
        record = durable.read_framed(path, len(ended) * STEP_BYTES + START_BYTES)
        if record is None:
            started = durable.read_framed(path, len(ended) * STEP_BYTES)
            return tuple(ended), None if started is None else StepStart.from_json(started)
        ended.append(StepRecord.from_json(record))
    return tuple(ended), None


def read_part(path: str | Path, offset: int = 0, limit: int = 1 << 24) -> bytes | None:
    """Return up to `limit` bytes from `offset`; None if the file is absent. Follows no link. Raises OSError.
    A negative offset counts from the file's end."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return os.pread(fd, limit, offset if offset >= 0 else max(0, os.fstat(fd).st_size + offset))
    finally:
        os.close(fd)


LAUNCH_MS = 30_000  # a loaded node may take seconds to start an interpreter
SCOPE_MS = 15_000  # start the shim without a scope
SWEEP_MS = 10_000
NO_SCOPE = Scope((), {})
_DISK = (errno.ENOSPC, errno.EDQUOT)
_DEFAULTS = tuple(
    number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)
)


class Runner:
    """Starts, stops and monitors shims. Thread-safe; every method may be repeated with the same arguments."""

    def __init__(self, python: str, shim: Path, clock: Clock, scopes: Scopes | None = None) -> None:
        """`scopes`: makes a systemd scope for each shim; None: shims have no scope."""
        self._scopes = scopes
        self._python, self._shim, self._clock = python, shim, clock
        self._plans: dict[str, PhasePlan] = {}
        """The plans that this process has written or read, until they are forgotten."""
        self._ended: dict[str, Ended] = {}
        """The ends of phases that were read, until they are forgotten: an end is final."""
        self._mine: set[int] = set()  # child processes, not yet reaped
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the runner; the shims continue."""
        self.reap()

    def prepare(self, folder: Path, plan: PhasePlan, stdin: bytes = b"") -> None:
        """Write the plan and `stdin`, and reserve the space of all records; `start` also does so. Raises
        RunnerError."""
        try:
            durable.make_folder(folder)
            if not os.path.exists(f"{folder}/{PLAN}"):
                reserve_space(str(folder), len(plan.steps))
                for path in {step.stdin for step in plan.steps if stdin and step.stdin}:
                    durable.write_atomic(path, stdin, sync=False)
                self._put(folder, plan)
        except OSError as exc:
            raise _convert_error(f"cannot prepare {folder}", exc) from exc
        if self.planned(folder) != plan:
            raise RunnerError(f"{folder} contains another plan")

    def planned(self, folder: Path) -> PhasePlan | None:
        """Return the plan that `prepare` wrote; None if there is none, or it was forgotten."""
        path = f"{folder}/{PLAN}"
        try:
            known = self._plans.get(path)
            if known is None:
                known = self._plans[path] = PhasePlan.from_json(read_part(path) or b"")
            return known
        except SpoolError:
            return None
        except OSError as exc:
            raise _convert_error(f"cannot read {folder}", exc) from exc

    def _put(self, folder: Path, plan: PhasePlan) -> None:
        path = f"{folder}/{PLAN}"
        # after a power failure nothing is started from this plan
        durable.write_atomic(path, plan.to_json(), sync=False)
        self._plans[path] = plan

    def discard(self, folder: Path) -> None:
        """Discard a phase that no shim took: a power failure may have left any part of it. RunnerError."""
        if _is_claimed(folder):
            raise RunnerError(f"the phase in {folder} has been started, so it cannot be discarded")
        self._plans.pop(f"{folder}/{PLAN}", None)
        try:
            for name in (PLAN, RECORDS, STOP):
                (folder / name).unlink(missing_ok=True)
        except OSError as exc:
            raise _convert_error(f"cannot clear {folder}", exc) from exc

    def forget(self, folder: Path) -> None:
        """Remove the plan, whose environment may contain secrets, and the records from the disk. An empty
        `spawned` stays, so that the phase is never started again."""
        self._plans.pop(f"{folder}/{PLAN}", None)
        self._ended.pop(str(folder), None)
        for name in (PLAN, RECORDS):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # there never was such a phase, or the disk is full and no shim has begun
            durable.empty_file(folder / SPAWNED)

    def amend(self, folder: Path, plan: PhasePlan) -> None:
        """Replace a prepared plan before its start. Raises RunnerError."""
        try:
            if self.planned(folder) != plan:
                self._put(folder, plan)
        except OSError as exc:
            raise _convert_error(f"cannot prepare {folder}", exc) from exc

    def start(self, folder: Path, plan: PhasePlan) -> None:
        """Start a shim; return when a shim has taken the folder, now or earlier. Raises RunnerError if none
        could."""
        self.reap()
        if _is_claimed(folder):
            return
        if self.planned(folder) != plan:
            self.prepare(folder, plan)
        if self._in_scope(folder, plan):
            return
        report = self._begin(folder, lambda at: _with_pipe(at, self._spawn_cold))
        if not _is_claimed(folder):
            raise _make_runner_error(folder, report or "the shim reported nothing")

    def look(self, folder: Path) -> Look:
        """Return the phase's state from the folder and the process table. RunnerError for an unreadable
        record."""
        known = self._ended.get(str(folder))
        if known is not None:
            return known
        self.reap()
        try:
            seen = read_phase(folder)
            if isinstance(seen, Ended):
                self._ended[str(folder)] = seen
        except (OSError, SpoolError) as exc:
            raise _convert_error(f"cannot read {folder}", exc) from exc
        return seen

    def wait(self, folder: Path, timeout_s: float, wake: int | None = None) -> Look:
        """Return as `look` does, but wait for the shim's end, `wake` or the timeout. Uses no CPU."""
        deadline = self._clock.mono_ms() + int(timeout_s * 1000)
        while True:
            seen = self.look(folder)
            left = deadline - self._clock.mono_ms()
            if not isinstance(seen, Running) or left <= 0 or await_end(seen.shim, left, wake):
                return seen

    def stop(self, folder: Path, reason: str) -> None:
        """Request a clean end of the phase, before or after its start, by the shim. The first reason stays.

        On a full disk a running shim gets a signal. RunnerError if the request could not be delivered.
        """
        hint = signal.SIGUSR1
        try:
            durable.make_folder(folder)
            durable.create_exclusive(folder / STOP, durable.to_json({"reason": reason}))
        except OSError as exc:
            if exc.errno not in _DISK or isinstance(self.look(folder), NotStarted):
                raise _convert_error(f"cannot write a stop request in {folder}", exc) from exc
            hint = signal.SIGTERM
        try:
            spawned = spawned_in(folder)
        except (OSError, SpoolError) as exc:
            raise _convert_error(f"cannot read {folder}", exc) from exc
        if spawned is not None and spawned.boot == process.boot_id():
            process.signal_exact((spawned.pid, spawned.start), hint)

    def sweep(self, marker: str) -> int:
        """Send SIGKILL to every process with that marker until none is left; return their number. For
        processes of a dead shim. Raises RunnerError if some survive."""
        struck: set[process.Proc] = set()
        deadline = self._clock.mono_ms() + SWEEP_MS
        clear = 0
        while clear < 2:  # checked twice, because a child between fork and exec does not have the marker yet
            targets = self.members(marker)
            clear = 0 if targets else clear + 1
            struck.update(proc for proc in targets if process.signal_exact(proc, signal.SIGKILL))
            if self._clock.mono_ms() > deadline:
                raise RunnerError(f"{len(targets)} processes of {marker} survived SIGKILL")
            time.sleep(0.01)
        return len(struck)

    def end_leftovers(self, markers: Collection[str]) -> dict[str, int]:
        """Kill the remaining processes of these ended attempts; return their number by marker. Raises
        RunnerError as `sweep` does."""
        alive = process.find_marked(markers) | (self._scopes.having(markers) if self._scopes else set())
        ended = {marker: self.sweep(marker) for marker in sorted(alive)}
        return {marker: count for marker, count in ended.items() if count}

    def members(self, marker: str) -> list[process.Proc]:
        """Return the running processes of an attempt: those with its marker, and all in its scope."""
        return process.find_members(marker, groups=self._scopes.folders(marker) if self._scopes else ())

    def lived(self, folder: Path, outputs: tuple[Path, ...], seen_wall_ms: int) -> int:
        """Return the milliseconds from the start to the last known activity; 0 if the phase never started."""
        began = _read_written_ms(folder / SPAWNED) if _is_claimed(folder) else None
        if began is None:
            return 0
        return max(0, seen_wall_ms - began, *((_read_written_ms(path) or 0) - began for path in outputs))

    def activity(self, folder: Path, outputs: tuple[Path, ...]) -> Activity:
        """Return the activity of the running phase, as `RunnerPort` defines it."""
        try:
            plan = self.planned(folder)
        except RunnerError:  # the next call checks this file again
            plan = None
        if plan is None:
            return Activity()
        cpu = cpu_ms(pid for pid, _ in self.members(plan.marker))
        wrote = max(_read_written_ms(path) or 0 for path in outputs)
        return Activity(cpu, wrote, changed_ms(plan.cwd))

    def tail(self, path: Path, offset: int, limit: int) -> bytes:
        """Return part of an output, as `RunnerPort` defines it; it must be small compared to memory. Raises
        OSError."""
        return read_part(path, offset, limit) or b""

    def keep(self, path: Path, data: bytes) -> None:
        """Write an output of the node agent, as `RunnerPort` defines it. Raises RunnerError."""
        try:
            durable.write_atomic(path, data, sync=False)
        except OSError as exc:
            raise RunnerError(f"{path.name} cannot be written: {exc}") from exc

    def _in_scope(self, folder: Path, plan: PhasePlan) -> bool:
        """Whether a shim took the folder in a scope. False: no scope was made and nothing was started."""
        scope = self._scopes.scope(plan.marker, plan.phase, plan.limits) if self._scopes else None
        if self._scopes is None or scope is None:
            return False
        try:
            report = self._begin(
                folder, lambda at: _with_pipe(at, partial(self._spawn_cold, scope=scope)), SCOPE_MS
            )
        except RunnerError as exc:  # systemd-run was removed, or there is no space for either way to start
            self._scopes.failed(str(exc))
            return False
        if _is_claimed(folder):
            self._scopes.made()
            return True
        if not report:  # otherwise the shim itself reported the error, and would report it again
            self._scopes.failed(_log(folder) or "systemd-run printed nothing")
        return False

    def _begin(
        self, folder: Path, launch: Callable[[Path], tuple[process.Proc, int]], patience_ms: int = LAUNCH_MS
    ) -> str:
        """Start a process that becomes a shim; return its first report, or empty if it died or took too
        long."""
        try:
            proc, ready = launch(folder)
        except OSError as exc:
            raise _convert_error("cannot start a shim", exc) from exc
        try:
            report = read_start(ready, patience_ms)
        finally:
            os.close(ready)
        if not report:
            self._put_down(proc)  # the process must not start after it was reported as not started
        return report

    def _spawn_cold(self, folder: str, files: tuple[int, int, int], scope: Scope = NO_SCOPE) -> process.Proc:
        argv = [*scope.words, self._python, "-I", "-S", str(self._shim), folder]
        pid = os.posix_spawn(
            argv[0],
            argv,
            {"LANG": "C.UTF-8", **scope.env},
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(files)],
            setsigmask=(),
            setsigdef=_DEFAULTS,
        )
        with self._lock:
            self._mine.add(pid)
        found = process.read_stat(pid)
        return pid, found.start if found else 0

    def _put_down(self, proc: process.Proc) -> None:
        if process.signal_exact(proc, signal.SIGKILL):
            await_end(proc[0], SWEEP_MS)
        self.reap()

    def reap(self) -> None:
        """Reap the child processes that have ended."""
        with self._lock:
            self._mine = {pid for pid in self._mine if not _reap_child(pid)}


def _with_pipe(
    folder: Path, begin: Callable[[str, tuple[int, int, int]], process.Proc]
) -> tuple[process.Proc, int]:
    """Start a shim; return it and the pipe on which it reports. The log is for its interpreter's errors."""
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    ready, *files = os.pipe()
    try:
        files.insert(0, os.open(os.devnull, os.O_RDONLY))
        files.append(os.open(f"{folder}/{LOG}", how, 0o600))
        return begin(str(folder.absolute()), (files[0], files[1], files[2])), ready
    except OSError:
        os.close(ready)
        raise
    finally:
        for fd in files:
            os.close(fd)


def _make_runner_error(folder: Path, report: str) -> RunnerError:
    why = f"{report.strip()} {_log(folder)}".strip()
    return RunnerError(f"the shim did not start in {folder}: {why}", f"[Errno {errno.ENOSPC}]" in report)


def _log(folder: Path) -> str:
    """Return the error output of the interpreter or of systemd; empty if there is none."""
    return (read_part(folder / LOG) or b"").decode("utf-8", "replace")[-500:].strip()


def _reap_child(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _is_claimed(folder: Path) -> bool:
    """Whether a shim has claimed the phase, now or earlier."""
    return os.path.lexists(f"{folder}/{SPAWNED}")


def _read_written_ms(path: Path) -> int | None:
    """Return the wall-clock time at which a file was written; None if the file does not exist."""
    try:
        return os.stat(path, follow_symlinks=False).st_mtime_ns // 1_000_000
    except OSError:
        return None


def _convert_error(what: str, exc: Exception) -> RunnerError:
    return RunnerError(f"{what}: {exc}", isinstance(exc, OSError) and exc.errno in _DISK)
