"""Decides whether a step exceeds its limits of time, output, memory, processes and threads, or disk.

If the step has a control group, the kernel enforces the limits and counts refusals in the group's files.
Otherwise the step's processes are measured, more often when they are close to a limit.

Disk quotas of the kernel need root. So the free space is checked each second, which is cheap; files are
counted when it has fallen, and from time to time. Standard library only: the shim imports this.
"""

from __future__ import annotations

import os

from node_agent.shim import memory_files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

LOOK_MS, NEAR_MS, NAMELESS_MS = 1_000, 100, 4_000
"""Milliseconds between two checks; the same when over half of a limit is used, or output grows; and between
checks of the files that the processes hold open, which are many."""
MEMORY, PROCESSES = "memory", "processes"
FAIR_GAME = 500
"""The value that makes the kernel end an attempt's processes first when the node has no memory left."""
_SCORE = "/proc/self/oom_score_adj"
_OWN_OOM = (b"oom", b"oom_kill")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_THREADS, _RESIDENT = 17, 21  # fields of /proc/PID/stat, counted from the state field


class StepLimits:
    """Decides when a step must end, and for which limit. None: no such limit."""

    def __init__(self, plan: dict[str, Any], wall_deadline: int | None, patience: str = "") -> None:
        """`patience`: a file; while it exists, a user's answer is pending and the idle limit is suspended."""
        self.wall_deadline, self._patience = wall_deadline, patience
        self.idle_ms: int | None = plan["idle_ms"]
        self.output_bytes: int | None = plan["output_bytes"]
        self._size, self._grown, self._awake = 0, 0, 0

    def start(self, now: int) -> None:
        """Begin to count at `now`. `_awake`: since when the step is not idle, by output or by patience."""
        self._size, self._grown, self._awake = 0, now, now

    def broken(self, now: int, size: int) -> str:
        """Return the exceeded limit: `wall`, `idle` or `output`; else empty. `size`: bytes of output."""
        if size != self._size:
            self._size, self._grown, self._awake = size, now, now
        if self.wall_deadline is not None and now >= self.wall_deadline:
            return "wall"
        if self.output_bytes is not None and size > self.output_bytes:
            return "output"
        if self.idle_ms is not None and now - self._awake >= min(self.idle_ms, LOOK_MS):
            if self._patience and os.path.exists(self._patience):
                self._awake = now
            elif now - self._awake >= self.idle_ms:
                return "idle"
        return ""

    def wait_ms(self, now: int) -> int:
        """Return the time until the next check: short while output grows, at most until the next deadline."""
        if now - self._grown < LOOK_MS:
            return NEAR_MS
        ends = [at for at in (self.wall_deadline, self.idle_ms and self._awake + self.idle_ms) if at]
        return max(1, min([LOOK_MS, *(at - now for at in ends)]))

    def at_the_end(self, size: int) -> str:
        """Return `output` if the step's `size` bytes passed that limit since the last check, else `none`."""
        return "output" if self.output_bytes is not None and size > self.output_bytes else "none"


class Consumption:
    """One step's use of memory and processes. Create it before the start, to exclude earlier steps' refusals.
    `members`: the step's processes; `scope`: the folder of its control group, or empty."""

    def __init__(
        self, limits: dict[str, Any], members: Callable[[], Iterable[process.Proc]], scope: str
    ) -> None:
        self._memory: int | None = limits.get("memory_bytes")
        self._processes: int | None = limits.get("processes")
        self._members, self._scope = members, scope
        self._next = self._next_nameless = 0
        self._nameless = 0
        self._by_kernel = {MEMORY: _is_set(f"{scope}/memory.max"), PROCESSES: _is_set(f"{scope}/pids.max")}
        self._before = {what: self._read_counters(what) for what in self._by_kernel}

    def start(self, now: int) -> None:
        """Begin measuring. Refusals by the kernel count from the creation of this object."""
        self._next = now + NEAR_MS

    def wait_ms(self, now: int) -> int:
        """Return the time until the next check is due."""
        return max(1, self._next - now)

    def over(self, now: int) -> str:
        """Return the exceeded limit: `memory` or `processes`; empty if there is none."""
        refusal = self.refused()
        if refusal or now < self._next:
            return refusal
        memory = None if self._by_kernel[MEMORY] else self._memory
        processes = None if self._by_kernel[PROCESSES] else self._processes
        self._next = now + LOOK_MS
        if memory is None and processes is None:
            return ""
        pids = [pid for pid, _ in self._members()]
        # Each thread counts as a process; shared memory counts once for each process.
        threads = resident = 0
        for pid in pids:
            fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            if len(fields) > _RESIDENT:
                threads += int(fields[_THREADS])
                resident += int(fields[_RESIDENT]) * _PAGE
        files = 0 if memory is None else self._measure_files(pids, now)
        if processes is not None and threads >= processes:
            return PROCESSES
        # The first sum counts shared pages once per process, so the second sum, which is expensive, decides.
        resident += files
        if memory is not None and resident > memory and _measure_shared(pids, files) > memory:
            return MEMORY
        near = threads * 2 > (processes or threads * 3) or resident * 2 > (memory or resident * 3)
        self._next = now + (NEAR_MS if near else LOOK_MS)
        return ""

    def _measure_files(self, pids: list[int], now: int) -> int:
        """Return the bytes in files of these processes that exist only in memory."""
        if now >= self._next_nameless:
            self._nameless, self._next_nameless = memory_files.measure_nameless(pids), now + NAMELESS_MS
        return memory_files.in_folders(pids) + self._nameless

    def refused(self) -> str:
        """Return the limit at which the kernel has refused a request since the start; empty if none."""
        for what, enforced in self._by_kernel.items():
            counts = zip(self._read_counters(what), self._before[what], strict=True)
            if (
                enforced
                and all(now > before for now, before in counts)
                and (what == MEMORY or self._is_full())
            ):
                return what
        return ""

    def _read_counters(self, what: str) -> tuple[int, ...]:
        """Return the counters that rise at the group's own limit. `oom_kill` alone would also count a process
        that ended because the node, or a parent group, had no memory."""
        name, keys = ("memory.events", _OWN_OOM) if what == MEMORY else ("pids.events", (b"max",))
        text = _read(f"{self._scope}/{name}") if self._by_kernel[what] else b""
        counts = dict(line.split()[:2] for line in text.splitlines())
        return tuple(int(counts.get(key, 0)) for key in keys)

    def _is_full(self) -> bool:
        """Whether the group itself reached its process limit: older kernels also count parents' refusals."""
        most, had = _read(f"{self._scope}/pids.max"), _read(f"{self._scope}/pids.peak")
        had = had or _read(f"{self._scope}/pids.current")  # `pids.peak` exists since Linux 6.1
        return most.strip().isdigit() and had.strip().isdigit() and int(had) >= int(most)


class FairGame:
    """Makes the kernel end the processes started in this context first when the node has no memory left.
    Every user may raise this value of a process, and lower it to its previous value."""

    def __enter__(self) -> None:
        self._before = _read(_SCORE).strip()
        if self._before and int(self._before) < FAIR_GAME:
            self._set(b"%d" % FAIR_GAME)

    def __exit__(self, *raised: object) -> None:
        self._set(self._before)

    @staticmethod
    def _set(score: bytes) -> None:
        try:
            fd = os.open(_SCORE, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:  # the value cannot be written here
            return
        try:
            os.write(fd, score)
        except OSError:  # the old value is below the minimum that an administrator set: keep the raised value
            return
        finally:
            os.close(fd)


def _is_set(path: str) -> bool:
    """Whether the kernel enforces the limit in this file: the controller exists, and a limit is set."""
    return path[:1] == "/" and _read(path).strip() not in (b"", b"max")


def _measure_shared(pids: Iterable[int], files: int) -> int:
    """Return the bytes in memory, with each shared page divided among the processes that share it. Mapped
    memory files may also be in `files`, so only the larger of the two numbers counts."""
    total = mapped = 0
    for pid in pids:
        fields = {
            line.split()[0]: line.split()[1] for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()
        }
        total += int(fields[b"Pss:"]) * 1024 if b"Pss:" in fields else _measure_process(pid)
        mapped += int(fields.get(b"Pss_Shmem:", 0)) * 1024
    return total + max(0, files - mapped)


def _measure_process(pid: int) -> int:
    """Return all memory of a process whose shared part cannot be read; it may hide that part deliberately."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if len(fields) > 2 else 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(1 << 16) or b""
    except OSError:
        return b""


DISK = "disk"
CALM_MS = 30_000
SHARE = 50
"""Counting may use one part in this many of the elapsed time."""
_BLOCK = 512


class Filling:
    """Measures the disk use of a phase. `folders`: those it writes; `members`: its processes; `now`: ms."""

    def __init__(
        self,
        limits: dict[str, Any],
        folders: list[str],
        members: Callable[[], Iterable[process.Proc]],
        now: Callable[[], int],
    ) -> None:
        self._limit: int | None = limits.get("disk_bytes")
        self._folders, self._members, self._now = folders, members, now
        self._used = self._free = self._began = self._next = self._calm = 0

    def start(self) -> None:
        """Begin measuring. The first count includes files of earlier phases."""
        self._free, self._began = self._read_free(), self._now()
        self._next, self._calm = self._began + LOOK_MS, self._began + CALM_MS

    def over(self) -> bool:
        """Whether the phase must end because of its disk use. Files are counted only when a count is due."""
        now = self._now()
        if self._limit is None or now < self._next:
            return False
        self._next = now + LOOK_MS
        return (now >= self._calm or self._has_fallen()) and self._count_disk(now)

    def ended(self) -> bool:
        """Whether a finished phase exceeded its limit. Brief phases' files count only if free space fell."""
        if self._limit is None:
            return False
        now = self._now()
        return (now - self._began >= LOOK_MS or self._has_fallen()) and self._count_disk(now)

    def _has_fallen(self) -> bool:
        """Whether free space has fallen so far since the last count that the phase may exceed its limit."""
        return self._free - self._read_free() >= max(0, (self._limit or 0) - self._used) // 2

    def _count_disk(self, began: int) -> bool:
        before, self._free = self._free, self._read_free()
        self._used = measure_used(self._folders, [pid for pid, _ in self._members()])
        if before - self._free > 2 * self._used:  # most of the data is in folders that could not be read
            self._used = measure_used(self._folders, [pid for pid, _ in self._members()], opening=True)
        took = self._now() - began
        self._next, self._calm = began + LOOK_MS + SHARE * took, began + CALM_MS + SHARE * took
        return self._used > (self._limit or 0)

    def _read_free(self) -> int:
        try:
            seen = os.statvfs(self._folders[0])
        except OSError:
            return self._free
        return seen.f_bfree * seen.f_frsize


def measure_used(folders: Iterable[str], pids: Iterable[int], opening: bool = False) -> int:
    """Return the bytes on the disk of each file once, and of unnamed files that these processes hold open.
    `opening`: first make folders readable that their owner has made unreadable."""
    from pathlib import Path

    from node_agent.files.walk import walk_tree  # imported here, as a phase that writes little never needs it

    files: dict[tuple[int, int], int] = {}
    for folder in folders:
        try:
            for one in walk_tree(Path(folder), opening):
                _add(files, one.name, one.at)
        except OSError:  # moved away while folders were read: the next count includes it
            continue
    devices = {device for device, _ in files}
    for pid in pids:
        for path in _open_files(pid):
            _add(files, path, None, devices)
    return sum(files.values())


def _add(files: dict[tuple[int, int], int], name: str, at: int | None, only: set[int] | None = None) -> None:
    try:
        seen = os.stat(name, dir_fd=at, follow_symlinks=at is None)
    except OSError:
        return
    if only is None or (seen.st_nlink == 0 and seen.st_dev in only):
        files[seen.st_dev, seen.st_ino] = seen.st_blocks * _BLOCK


def _open_files(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:  # the process has ended or cannot be read
        return []
