"""Runs one phase of one attempt from its plan folder, and outlives its parent: `shim.py PLAN_FOLDER`.

Standard library only; started as `python3 -I -S .../shim/shim.py FOLDER`, needs nothing installed.

The shim writes `spawned` (its identity; exclusive, durable) before it executes anything, then `records`,
whose last record tells how the phase ended. It signs nothing and reads only its plan. SIGTERM to the shim is
a request to stop, SIGUSR1 a hint to look for the `stop` file; SIGINT and SIGHUP are ignored.

Exit status: 0 the exit record is written · 65 the plan cannot be read · 73 another shim had this folder,
nothing was done · 74 the folder cannot be written. stdout: one line, `spawned` on success, else the error.
"""

from __future__ import annotations

import os
import sys
import time

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from node_agent.files.durable import create_exclusive, from_json, preallocate, to_json, write_framed
from node_agent.shim import limits, process, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # without `enum`, which costs 4 ms at each start

ENDED, BAD_PLAN, TAKEN, NO_SPACE = 0, 65, 73, 74
PLAN, SPAWNED, RECORDS, STOP = "plan.json", "spawned", "records", step.STOP_FILE
PATIENCE = "patience"
"""While this file exists, a user's answer is pending and the idle limit does not apply."""
LOG = "shim.log"  # the shim's own messages: empty unless the shim failed
# bytes per step in `records`: for both of the step's records, and for the first one alone
STEP_BYTES, START_BYTES = 4096, 1024
EXIT_BYTES = 4096  # bytes for the exit record after them, and as many again for each step
PLAN_FIELDS = {"id", "phase", "marker", "cwd", "env", "steps", "limits", "grace", "go_on", "below"}
STEP_FIELDS = {"name", "kind", "argv", "stdin", "stdout", "stderr", "walled", "wall", "calls", "joins"}


class KernelClock:
    """The node's own clocks, read here because the shim imports no other module for them."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def reserve_space(folder: str, steps: int) -> None:
    """Reserve space for all records of a phase; existing ones stay. Raises OSError if the disk is full."""
    preallocate(f"{folder}/{RECORDS}", EXIT_BYTES + 2 * steps * STEP_BYTES)


def exit_offset(size: int) -> int:
    """Return the offset of the exit record in a records file of `size` bytes."""
    return max(0, size - EXIT_BYTES) // 2


class Phase:
    """The steps of one plan, in order, and their records."""

    def __init__(self, folder: str, plan: dict[str, Any], clock: KernelClock, reaper: bool) -> None:
        self.folder, self.plan, self.clock, self.reaper = folder, plan, clock, reaper
        self.keeper = step.Keeper(clock, folder, plan["marker"], reaper)
        self.records: list[dict[str, Any]] = []
        self.swept, self.left = 0, 0
        self.began = (clock.wall_ms(), clock.mono_ms())

    def run(self) -> dict[str, Any]:
        """Run all steps, end remaining processes; return the exit record, also after an internal error."""
        try:
            ended, reason = self._run_steps()
        # on any error, remaining processes must be ended and the phase's end recorded
        except Exception as exc:
            ended, reason = "error", f"{type(exc).__name__}: {exc}"[:500]
        self._sweep_processes(thorough=True)
        if self.left:
            ended, reason = "error", f"{self.left} processes survive SIGKILL"
        return {
            "id": self.plan["id"],
            "phase": self.plan["phase"],
            "boot": process.boot_id(),
            "ended": ended,
            "reason": reason,
            "reaper": self.reaper,
            "swept": self.swept,
            "left": self.left,
            **_make_times(self.began, self.clock),
            "steps": self.records,
        }

    def _run_steps(self) -> tuple[str, str]:
        wall = self.plan["limits"]["wall_ms"]
        until = None if wall is None else self.began[1] + wall
        allowed = limits.StepLimits(self.plan["limits"], until, f"{self.folder}/{PATIENCE}")
        ended, reason = "done", ""
        for index, spec in enumerate(self.plan["steps"]):
            if self.keeper.stop_asked():
                return "stopped", f"before step {spec['name']}"
            record = self._run_step(index, spec, allowed)
            if record["ended_by"] == "stop":
                return "stopped", f"in step {spec['name']}"
            if record["ended_by"] != "none" or record["exit_code"] != 0:
                ended, reason = "failed", f"step {spec['name']}"
                if not self.plan["go_on"] or record["ended_by"] == "wall" or self.left:
                    break
        return ended, reason

    def _run_step(self, index: int, spec: dict[str, Any], allowed: limits.StepLimits) -> dict[str, Any]:
        began, one = (
            (self.clock.wall_ms(), self.clock.mono_ms()),
            step.StepRun(index, spec, self.plan, self.keeper),
        )
        why, error, path, at = "none", None, f"{self.folder}/{RECORDS}", index * STEP_BYTES
        try:
            write_framed(path, to_json(one.start()), at, False)
            why = one.watch(allowed)
        except step.CannotStart as exc:
            error = exc.record
        if spec["walled"]:
            self.keeper.fade()
        swept = self._sweep_processes()  # also after a normal end: no process of a step may outlive it
        out, err = one.written()
        code, number = one.result()
        if (broken := one.sandbox_error()) is not None:
            error, code = broken, None
        one.close()
        record = {
            "index": index,
            "name": spec["name"],
            "kind": spec["kind"],
            "pid": one.pid,
            "start": one.start_ticks,
            "exit_code": code,
            "signal": number,
            "exec_error": error,
            "ended_by": why,
            **_make_times(began, self.clock),
            "out_bytes": out,
            "err_bytes": err,
            "max_rss_kb": self.keeper.max_rss_kb,
            "cpu_ms": int(self.keeper.cpu_ms),
            "swept": swept,
        }
        write_framed(path, to_json(record), at + START_BYTES, False)
        self.records.append(record)
        return record

    def _sweep_processes(self, thorough: bool = False) -> int:
        swept, self.left = self.keeper.sweep(thorough)
        self.swept += swept
        return swept


def main(argv: list[str]) -> int:
    """Run a shim from start to end and return its exit status."""
    folder = os.path.abspath(argv[1])
    # detach: a session of its own, and only three open files
    os.umask(0o077)
    os.chdir("/")
    # otherwise this process already leads a session or a shell's job, and cannot create a session
    if os.getpgid(0) != os.getpid():
        os.setsid()
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            _close(int(name))
    _to_null(*(fd for fd in (0, 1, 2) if not _is_open(fd)))
    reaper = process.become_reaper()
    # Signals are blocked and fetched one by one, so that no signal handler interrupts this code.
    signal.pthread_sigmask(signal.SIG_SETMASK, (*step.WAKE, signal.SIGINT, signal.SIGHUP))
    try:
        with open(f"{folder}/{PLAN}", "rb") as file:
            plan = _check_version(from_json(file.read()))
    except (OSError, ValueError) as exc:
        return _report_failure(folder, BAD_PLAN, f"plan: {exc}")
    found = process.read_stat(os.getpid())
    identity = to_json({"boot": process.boot_id(), "pid": os.getpid(), "start": found.start if found else 0})
    try:
        reserve_space(folder, len(plan["steps"]))
        if not create_exclusive(f"{folder}/{SPAWNED}", identity):
            return _report_failure(folder, TAKEN, "another shim has this folder")
    except OSError as exc:
        return _report_failure(folder, NO_SPACE, f"folder: {exc}")
    return _work(folder, identity, plan, reaper)


def _work(folder: str, identity: bytes, plan: dict[str, Any], reaper: bool) -> int:
    _tell(1, f"{SPAWNED}\n")
    _to_null(0, 1)
    record = Phase(folder, plan, KernelClock(), reaper).run()
    try:
        if not os.path.lexists(f"{folder}/{SPAWNED}"):  # a program of the phase may have deleted the file
            create_exclusive(f"{folder}/{SPAWNED}", identity)
        reserve_space(folder, len(plan["steps"]))  # likewise for the reserved space of the record
        write_framed(f"{folder}/{RECORDS}", to_json(record), len(plan["steps"]) * STEP_BYTES)
    except (OSError, ValueError) as exc:
        return _report_failure(folder, NO_SPACE, f"exit record: {exc}")
    return ENDED


def _check_version(plan: Any) -> dict[str, Any]:
    """Return the plan if its fields are known; the runner that wrote the plan has checked its content."""
    if not isinstance(plan, dict) or {"below", *plan} != PLAN_FIELDS:
        raise ValueError("the plan has missing or unknown fields")
    if any({"walled", "wall", "calls", "joins", *spec} != STEP_FIELDS for spec in plan["steps"]):
        raise ValueError("a step has missing or unknown fields")
    if not isinstance(plan["env"], dict):
        raise ValueError("the plan's environment was already removed")
    # a plan of an earlier version, as below: its run continued during an upgrade
    plan.setdefault("below", "")
    for spec in plan["steps"]:
        spec.setdefault("walled", False)
        spec.setdefault("wall", [])
        spec.setdefault("calls", "")
        spec.setdefault("joins", "")
    return plan


def _make_times(began: tuple[int, int], clock: KernelClock) -> dict[str, int]:
    return {
        "began_wall_ms": began[0],
        "began_mono_ms": began[1],
        "ended_wall_ms": clock.wall_ms(),
        "ended_mono_ms": clock.mono_ms(),
    }


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:  # the descriptor of the folder listing itself
        return


def _to_null(*fds: int) -> None:
    """Replace these descriptors with /dev/null."""
    for fd in fds:
        null = os.open(os.devnull, os.O_RDWR)
        if null != fd:
            os.dup2(null, fd)
            os.close(null)


def _tell(fd: int, text: str) -> None:
    try:
        os.write(fd, text.encode("utf-8", "replace"))
    except OSError:  # the reader has closed the pipe, but the work continues
        return


def _report_failure(folder: str, status: int, why: str) -> int:
    """Report the failure on stdout, where the starter reads it, and in a file for later. Return `status`."""
    _tell(1, f"shim: {why}\n")
    try:
        fd = os.open(f"{folder}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        return status
    _tell(fd, f"shim: {why}\n")
    os.close(fd)
    return status


if __name__ == "__main__":
    os._exit(main(sys.argv))  # skip the interpreter's shutdown, which takes milliseconds
