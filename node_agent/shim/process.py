"""Identifies processes (boot id, pid, start time), and finds and kills those of one attempt. Standard library
only, with few imports, since the shim loads this module at every start."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Collection, Iterator, Sequence
else:
    import _signal as signal  # without `enum`, which costs 4 ms at each start

AGENT_ONLY = "PANCODE_AGENT_ONLY"
"""The key in a plan's environment with the names of variables that set-up and gates do not get. Removed
before a program starts."""
MARKER = "PANCODE_ATTEMPT"
"""The environment variable that every process of an attempt inherits."""
SCOPE = "PANCODE_SCOPE"
"""The key in a shim's own environment with the name of its systemd scope. Removed before a program starts."""

Proc = tuple[int, int]
"""(pid, start time in clock ticks since boot): unique among the processes of one boot."""

_PR_SET_CHILD_SUBREAPER = 36
_KEYCTL, _JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1


class Stat:
    """The fields of a line of /proc/PID/stat that PanCode needs."""

    __slots__ = ("pid", "ppid", "start", "state")

    def __init__(self, pid: int, line: bytes) -> None:
        # the name before these fields may contain any character, even ")"
        fields = line[line.rindex(b")") + 2 :].split()
        self.pid = pid
        self.state = fields[0]
        self.ppid = int(fields[1])
        self.start = int(fields[19])

    @property
    def gone(self) -> bool:
        """Whether the process has ended, though its parent may not have reaped it yet."""
        return self.state in (b"Z", b"X", b"x")


_boot = ""


def boot_id() -> str:
    """Return this boot's id, which changes each time the node boots."""
    global _boot
    _boot = _boot or _read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
    return _boot


def read_stat(pid: int) -> Stat | None:
    """Return the kernel's fields for `pid`, also for a zombie; None if there is no such process."""
    try:
        return Stat(pid, _read(f"/proc/{pid}/stat", whole=False))
    except (OSError, ValueError, IndexError):
        return None


def is_alive(boot: str, pid: int, start: int) -> bool:
    """Whether exactly this process still runs. False for a zombie or a process of another boot."""
    if boot != boot_id():
        return False
    found = read_stat(pid)
    return found is not None and found.start == start and not found.gone


def become_reaper() -> bool:
    """Make orphaned descendants children of this process, not init. Return False if the kernel refuses."""
    return _call_libc("prctl", (_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


def leave_keyring() -> bool:
    """Give this process, and those it starts later, an empty session keyring. False if the kernel refuses.
    The login's keyring may contain its owner's tickets, and a run could leave keys for the next run."""
    number = _KEYCTL.get(os.uname().machine)
    return number is not None and _call_libc("syscall", (number, _JOIN_SESSION_KEYRING, None)) > 0


def _call_libc(name: str, words: tuple[int | None, ...]) -> int:
    """Call a function of the C library. Return -1 if the function is missing or failed."""
    try:
        import _ctypes  # importing `ctypes` itself would cost 2 ms more at each start
    except ImportError:
        return -1
    try:
        own = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None: this very program
        done: int = _ctypes.call_function(_ctypes.dlsym(own, name), words)
    except (AttributeError, OSError):
        return -1
    return done


def folder_of(lines: bytes) -> str:
    """Return a control group's folder from the lines of /proc/PID/cgroup; empty without cgroup version 2."""
    for line in lines.splitlines():
        if line.startswith(b"0::/"):
            return "/sys/fs/cgroup" + os.fsdecode(line[3:])
    return ""


def control_group() -> str:
    """Return the folder of this process's control group; empty if there is none or it cannot be read."""
    try:
        folder = folder_of(_read("/proc/self/cgroup"))
    except OSError:
        return ""
    return folder if os.access(f"{folder}/cgroup.procs", os.R_OK) else ""


def own_scope() -> str:
    """Return the folder of the control group made for this process and those it starts; empty if none."""
    name = os.environ.get(SCOPE)
    folder = control_group() if name else ""
    return folder if name and folder.endswith(f"/{name}") else ""


class Birth:
    """The start of this process: its pid, with which a search can skip hundreds of older processes."""

    def __init__(self) -> None:
        self._pid, self._forks = os.getpid(), _count_forks()

    def since(self) -> tuple[int, int]:
        """Return the first and last pid assigned since the start; (0, sys.maxsize) if the range is uncertain.

        The kernel assigns pids in a circle: the range is certain while less than half the circle was assigned
        and the last pid is not below the first.
        """
        count = _count_forks() - self._forks
        last, most = _read_number("/proc/loadavg", -1), _read_number("/proc/sys/kernel/pid_max", 0)
        if self._forks and 0 <= count < most // 2 and last >= self._pid:
            return self._pid, last
        return 0, sys.maxsize


def _count_forks() -> int:
    """Return the number of processes and threads started since boot; 0 if unknown."""
    try:
        return int(_read("/proc/stat").partition(b"\nprocesses ")[2].split(None, 1)[0])
    except (OSError, ValueError, IndexError):
        return 0


def _read_number(path: str, word: int) -> int:
    try:
        return int(_read(path).split()[word])
    except (OSError, ValueError, IndexError):
        return 0


def find_members(
    marker: str, root: int = 0, since: int = 0, groups: Sequence[str] = (), birth: Birth | None = None
) -> list[Proc]:
    """Return live processes that carry the marker, descend from `root`, or are in one of the control groups.
    With an empty marker only the last two count.

    Their descendants are included. `since`: processes started before this tick cannot carry the marker and
    are not examined closely, and neither are those older than `birth`. This process itself is never included.
    """
    found = {entry.pid: entry for entry in _yield_processes(birth)}
    wanted = {marker.encode()}
    newer = [pid for pid, entry in found.items() if marker and entry.start >= since]
    ours = {pid for pid in newer if _find_marker(pid, wanted)}
    for folder in groups:
        ours |= (_list_group_pids(folder) & found.keys()) - {os.getpid()}
    ours.add(root or -1)
    while more := {pid for pid, entry in found.items() if entry.ppid in ours and pid not in ours}:
        ours |= more
    ours -= {root, os.getpid()}
    return [(pid, found[pid].start) for pid in sorted(ours) if pid in found and not found[pid].gone]


def find_descendants(root: int) -> list[Proc] | None:
    """Return the live descendants of `root` without a look at other processes; None if the kernel lists no
    children. A process that starts or ends meanwhile may be missing, so this serves for measuring only."""
    if not os.path.exists(f"/proc/{root}/task/{root}/children"):
        return None
    found: list[Proc] = []
    left = [root]
    while left:
        parent, numbers = left.pop(), b""
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:  # the process has just ended
            continue
        for thread in threads:
            try:
                numbers += _read(f"/proc/{parent}/task/{thread}/children")
            except OSError:  # the thread has just ended
                continue
        for pid in map(int, numbers.split()):
            child = read_stat(pid)
            if child is not None and child.ppid == parent:  # or its pid was reused meanwhile
                left.append(pid)  # also if its first thread has ended: others may have children
                found += [] if child.gone else [(pid, child.start)]
    return found


def find_marked(markers: Collection[str]) -> set[str]:
    """Return those of the markers that a living process carries, in one scan of all processes."""
    wanted = {marker.encode() for marker in markers}
    return {found.decode() for entry in _yield_processes(None) if (found := _find_marker(entry.pid, wanted))}


def is_inside(pid: int) -> bool:
    """Whether the process is in a pid namespace below this process's, as in a sandbox."""
    try:
        lines = _read(f"/proc/{pid}/status").splitlines()
    except OSError:
        return False
    return any(line.startswith(b"NSpid:") and len(line.split()) > 2 for line in lines)


def signal_exact(proc: Proc, number: int) -> bool:
    """Send a signal to exactly this process, never to a later one with its pid. False if not delivered."""
    pid, start = proc
    fd = open_pidfd(pid)
    try:
        found = read_stat(pid)
        if found is None or found.start != start:
            return False
        if fd is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        if fd is not None:
            os.close(fd)
    return True


def open_pidfd(pid: int) -> int | None:
    """Return a pidfd. None before Linux 5.3, if a filter forbids it, or if this Python lacks the call."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _list_group_pids(folder: str) -> set[int]:
    """Return the pids in a control group and in the groups below it."""
    pids: set[int] = set()
    for at, _, _ in os.walk(folder):
        try:
            pids.update(int(word) for word in _read(f"{at}/cgroup.procs").split())
        except OSError:  # the group has been removed
            continue
    return pids


def _yield_processes(birth: Birth | None) -> Iterator[Stat]:
    names = os.listdir("/proc")
    # Read this after the listing, so that the range covers all listed processes.
    first, last = birth.since() if birth else (0, sys.maxsize)
    for name in names:
        if name.isdigit() and first <= int(name) <= last:
            entry = read_stat(int(name))
            if entry is not None:
                yield entry


def _find_marker(pid: int, markers: Collection[bytes]) -> bytes:
    """Return the marker that the process carries, out of `markers`; empty if there is none."""
    start = f"{MARKER}=".encode()
    try:
        words = _read(f"/proc/{pid}/environ").split(b"\0")
        found = [word[len(start) :] for word in words if word.startswith(start)]
    # a process of another user, or a protected process of this user that contains a key
    except PermissionError:
        # The process must belong to this user and have a path of that attempt among its arguments.
        try:
            words = _read(f"/proc/{pid}/cmdline").split(b"\0") if _find_owner(pid) == os.getuid() else []
        except (OSError, ValueError, IndexError):
            return b""
        found = [part for word in words for part in word.split(b"/")]
    except OSError:  # the process has ended
        return b""
    return next((one for one in found if one in markers), b"")


def _find_owner(pid: int) -> int:
    """Return the process's owner, also for a protected process, whose files in /proc belong to root."""
    return int(_read(f"/proc/{pid}/status").partition(b"\nUid:")[2].split(None, 1)[0])


def _read(path: str, whole: bool = True) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(fd, 4096)]
        while whole and parts[-1]:
            parts.append(os.read(fd, 65536))
    finally:
        os.close(fd)
    return b"".join(parts)
