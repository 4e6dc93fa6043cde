"""Decides whether a step uses more time, output, memory, processes and threads, or disk than it may.

In a control group of its own the kernel holds it to that, and says so in the group's files. Elsewhere its
processes are looked at, often only when it comes near.

No quota of the kernel's for disks is at hand without root. So the free space is looked at each second, which
is cheap, and the files are counted when it has fallen, or now and then. Standard library only: the shim
imports this.
"""

from __future__ import annotations

import os

from node_agent.shim import memory_files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

LOOK_MS, NEAR_MS, NAMELESS_MS = 1_000, 100, 4_000
"""The milliseconds between two looks at the processes; the same once half of a limit is used; and between
looks at the files that they hold open, which are many."""
MEMORY, PROCESSES = "memory", "processes"
FAIR_GAME = 500
"""Makes the kernel end an attempt's processes first when the machine has no memory left."""
_SCORE = "/proc/self/oom_score_adj"
_OWN_OOM = (b"oom", b"oom_kill")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_THREADS, _RESIDENT = 17, 21  # of /proc/PID/stat, counted from the state


class StepLimits:
    """Decides when a step has to end, and why. None = no such limit."""

    def __init__(self, plan: dict[str, Any], wall_deadline: int | None, patience: str = "") -> None:
        """`patience`: while this file exists, a user is being asked, and silence breaks no limit."""
        self.wall_deadline, self._patience = wall_deadline, patience
        self.idle_ms: int | None = plan["idle_ms"]
        self.output_bytes: int | None = plan["output_bytes"]
        self._size, self._grown = 0, 0

    def start(self, now: int) -> None:
        self._size, self._grown = 0, now

    def broken(self, now: int, size: int) -> str:
        """Return the broken limit: `wall`, `idle`, `output`, or an empty text."""
        if size != self._size:
            self._size, self._grown = size, now
        if self.wall_deadline is not None and now >= self.wall_deadline:
            return "wall"
        if self.output_bytes is not None and size > self.output_bytes:
            return "output"
        if self.idle_ms is not None and now - self._grown >= min(self.idle_ms, LOOK_MS):
            if self._patience and os.path.exists(self._patience):
                self._grown = now
            elif now - self._grown >= self.idle_ms:
                return "idle"
        return ""

    def at_the_end(self, size: int) -> str:
        """Return `output` if that limit was passed between two looks, else `none`: speed is not an excuse."""
        return "output" if self.output_bytes is not None and size > self.output_bytes else "none"


class Consumption:
    """The use of memory and processes by one step. Made before the start, as earlier refusals are another
    step's.

    `members`: its processes; `scope`: the folder of its control group, or empty.
    """

    def __init__(
        self, limits: dict[str, Any], members: Callable[[], Iterable[process.Proc]], scope: str
    ) -> None:
        self._memory: int | None = limits.get("memory_bytes")
        self._processes: int | None = limits.get("processes")
        self._members, self._scope = members, scope
        self._next = self._next_nameless = 0
        self._nameless = 0
        self._by_kernel = {MEMORY: _is_set(f"{scope}/memory.max"), PROCESSES: _is_set(f"{scope}/pids.max")}
        self._before = {what: self._counters(what) for what in self._by_kernel}

    def start(self, now: int) -> None:
        """Begin. The kernel's refusals count since the object was made, so the first moment's count, too."""
        self._next = now + NEAR_MS

    def over(self, now: int) -> str:
        """Return the limit that is passed: `memory`, `processes`, or an empty text."""
        refusal = self.refused()
        if refusal or now < self._next:
            return refusal
        memory = None if self._by_kernel[MEMORY] else self._memory
        processes = None if self._by_kernel[PROCESSES] else self._processes
        self._next = now + LOOK_MS
        if memory is None and processes is None:
            return ""
        pids = [pid for pid, _ in self._members()]
        # Threads count as processes do, and memory that is shared counts for each.
        threads = resident = 0
        for pid in pids:
            fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            if len(fields) > _RESIDENT:
                threads += int(fields[_THREADS])
                resident += int(fields[_RESIDENT]) * _PAGE
        files = 0 if memory is None else self._files(pids, now)
        if processes is not None and threads >= processes:
            return PROCESSES
        # Shared pages are in the first sum once for each process: only the second, which is dear, decides.
        resident += files
        if memory is not None and resident > memory and _apportioned(pids, files) > memory:
            return MEMORY
        near = threads * 2 > (processes or threads * 3) or resident * 2 > (memory or resident * 3)
        self._next = now + (NEAR_MS if near else LOOK_MS)
        return ""

    def _files(self, pids: list[int], now: int) -> int:
        """Return the bytes in files that lie only in memory."""
        if now >= self._next_nameless:
            self._nameless, self._next_nameless = memory_files.measure_nameless(pids), now + NAMELESS_MS
        return memory_files.in_folders(pids) + self._nameless

    def refused(self) -> str:
        """Return the limit that the kernel has refused to pass since the begin, if the kernel enforces it."""
        for what, enforced in self._by_kernel.items():
            counts = zip(self._counters(what), self._before[what], strict=True)
            if enforced and all(now > before for now, before in counts) and (what == MEMORY or self._full()):
                return what
        return ""

    def _counters(self, what: str) -> tuple[int, ...]:
        """Return the counters that rise when the group's own limit is reached.

        The kernel also counts as `oom_kill` a process that ended because the machine, or a group above, had
        no memory.
        """
        name, keys = ("memory.events", _OWN_OOM) if what == MEMORY else ("pids.events", (b"max",))
        text = _read(f"{self._scope}/{name}") if self._by_kernel[what] else b""
        counts = dict(line.split()[:2] for line in text.splitlines())
        return tuple(int(counts.get(key, 0)) for key in keys)

    def _full(self) -> bool:
        """Whether the group had all that it may: older kernels count the refusals of a group above, too."""
        most, had = _read(f"{self._scope}/pids.max"), _read(f"{self._scope}/pids.peak")
        had = had or _read(f"{self._scope}/pids.current")  # before Linux 6.1 there is no peak
        return most.strip().isdigit() and had.strip().isdigit() and int(had) >= int(most)


class FairGame:
    """Processes started within it are the first that the kernel ends when the machine has no memory left.

    Anybody may raise this value for a process, and lower it to what it was.
    """

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
        except OSError:  # not for writing here
            return
        try:
            os.write(fd, score)
        except OSError:  # lower than an administrator has set it once: it stays
            return
        finally:
            os.close(fd)


def _is_set(path: str) -> bool:
    """Whether the kernel enforces a limit here: the channel exists, and somebody has set a limit."""
    return path[:1] == "/" and _read(path).strip() not in (b"", b"max")


def _apportioned(pids: Iterable[int], files: int) -> int:
    """Return the bytes in memory, with a shared page divided among the processes that share it.

    Files in memory that they have mapped may be among `files`: of both numbers, only the larger counts.
    """
    total = mapped = 0
    for pid in pids:
        fields = {
            line.split()[0]: line.split()[1] for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()
        }
        total += int(fields[b"Pss:"]) * 1024 if b"Pss:" in fields else _own(pid)
        mapped += int(fields.get(b"Pss_Shmem:", 0)) * 1024
    return total + max(0, files - mapped)


def _own(pid: int) -> int:
    """Return all memory of a process that hides the shares: it may do that on purpose, and then share."""
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
"""A count may take one part in this many of the time."""
_BLOCK = 512


class Filling:
    """The disk use of a phase. `folders`: those it writes; `members`: its processes; `now`: milliseconds."""

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
        """Begin to watch. Files of earlier phases are in the first count, too."""
        self._free, self._began = self._left(), self._now()
        self._next, self._calm = self._began + LOOK_MS, self._began + CALM_MS

    def over(self) -> bool:
        """Whether the phase must end for its disk use; counted only when a count is due."""
        now = self._now()
        if self._limit is None or now < self._next:
            return False
        self._next = now + LOOK_MS
        return (now >= self._calm or self._fallen()) and self._counted(now)

    def ended(self) -> bool:
        """Whether a phase that ended by itself was over its limit. A brief one counts if the disk fell."""
        if self._limit is None:
            return False
        now = self._now()
        return (now - self._began >= LOOK_MS or self._fallen()) and self._counted(now)

    def _fallen(self) -> bool:
        """Whether the disk lost so much since the last count that the phase may be over its limit."""
        return self._free - self._left() >= max(0, (self._limit or 0) - self._used) // 2

    def _counted(self, began: int) -> bool:
        before, self._free = self._free, self._left()
        self._used = measure_used(self._folders, [pid for pid, _ in self._members()])
        if before - self._free > 2 * self._used:  # most of it lies where we did not get in
            self._used = measure_used(self._folders, [pid for pid, _ in self._members()], opening=True)
        took = self._now() - began
        self._next, self._calm = began + LOOK_MS + SHARE * took, began + CALM_MS + SHARE * took
        return self._used > (self._limit or 0)

    def _left(self) -> int:
        try:
            seen = os.statvfs(self._folders[0])
        except OSError:
            return self._free
        return seen.f_bfree * seen.f_frsize


def measure_used(folders: Iterable[str], pids: Iterable[int], opening: bool = False) -> int:
    """Return the bytes on the disk: of each file once, and of files without a name that these processes hold
    open.

    `opening`: first open the folders that their owner has closed.
    """
    from pathlib import Path

    from node_agent.files.walk import walk_tree  # a phase that writes little never needs it

    files: dict[tuple[int, int], int] = {}
    for folder in folders:
        try:
            for one in walk_tree(Path(folder), opening):
                _add(files, one.name, one.at)
        except OSError:  # moved away while it was looked at: the next count sees it
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
    except OSError:  # it is gone, or lets nobody look
        return []
