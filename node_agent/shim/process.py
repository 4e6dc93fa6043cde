"""Identifies processes (boot id, pid, start time), and finds and kills those of one attempt. Standard library
only, with few imports: the shim loads this at every start."""

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
"""The key in a plan's environment with the names of variables that set-up and gates do not get. No program
sees it."""
MARKER = "PANCODE_ATTEMPT"
"""The environment variable that every process of an attempt inherits."""
SCOPE = "PANCODE_SCOPE"
"""The key in a shim's own environment with the name of its systemd scope. No program sees it."""

Proc = tuple[int, int]
"""(pid, start time in clock ticks since boot): unique for each process of one boot."""

_PR_SET_CHILD_SUBREAPER = 36
_KEYCTL, _JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1


class Stat:
    """The needed fields of one line of /proc/PID/stat."""

    __slots__ = ("pid", "ppid", "start", "state")

    def __init__(self, pid: int, line: bytes) -> None:
        fields = line[line.rindex(b")") + 2 :].split()  # the name before it may contain anything, even ")"
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
    """Return this boot's identity, which changes at each start of the node."""
    global _boot
    _boot = _boot or _read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
    return _boot


def read_stat(pid: int) -> Stat | None:
    """Return the kernel's line on `pid`, also for a zombie; None if there is no such process."""
    try:
        return Stat(pid, _read(f"/proc/{pid}/stat", whole=False))
    except (OSError, ValueError, IndexError):
        return None


def is_alive(boot: str, pid: int, start: int) -> bool:
    """Whether exactly this process still runs. False for a zombie or another boot's process."""
    if boot != boot_id():
        return False
    found = read_stat(pid)
    return found is not None and found.start == start and not found.gone


def become_reaper() -> bool:
    """Make orphans below this process its children, not init's: none leaves the tree. False if refused."""
    return _call_libc("prctl", (_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


def leave_keyring() -> bool:
    """Give this process, and those that it starts from now on, an empty session keyring. False if refused.
    The login's keyring may contain its owner's tickets, and a run could leave keys there for the next run."""
    number = _KEYCTL.get(os.uname().machine)
    return number is not None and _call_libc("syscall", (number, _JOIN_SESSION_KEYRING, None)) > 0


def _call_libc(name: str, words: tuple[int | None, ...]) -> int:
    """Call a function of the C library; return -1 if it is missing or failed."""
    try:
        import _ctypes  # `ctypes` itself would cost 2 ms more at each start
    except ImportError:
        return -1
    try:
        own = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None: this very program
        done: int = _ctypes.call_function(_ctypes.dlsym(own, name), words)
    except (AttributeError, OSError):
        return -1
    return done


def folder_of(lines: bytes) -> str:
    """Return a control group's folder from /proc/PID/cgroup; empty without cgroup version 2."""
    for line in lines.splitlines():
        if line.startswith(b"0::/"):
            return "/sys/fs/cgroup" + os.fsdecode(line[3:])
    return ""


def control_group() -> str:
    """Return this process's control group folder; empty if there is none or it cannot be read."""
    try:
        folder = folder_of(_read("/proc/self/cgroup"))
    except OSError:
        return ""
    return folder if os.access(f"{folder}/cgroup.procs", os.R_OK) else ""


def own_scope() -> str:
    """Return the control group made for this process and those it starts; empty if there is none."""
    name = os.environ.get(SCOPE)
    folder = control_group() if name else ""
    return folder if name and folder.endswith(f"/{name}") else ""


class Birth:
    """The start of this process, as its pid: lets a search skip hundreds of older processes."""

    def __init__(self) -> None:
        self._pid, self._forks = os.getpid(), _count_forks()

    def since(self) -> tuple[int, int]:
        """Return the first and the last pid assigned since the start; from 0 on when that is not certain.

        The kernel assigns pids in a circle: the range is certain while less than half a circle was assigned
        and the last pid is the greater one.
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

    Their descendants are included. `since`: processes started before this tick cannot carry the marker and
    are not examined closely; nor are those older than `birth`. This process itself is never included.
    """
    found = {entry.pid: entry for entry in _yield_processes(birth)}
    wanted = {marker.encode()}
    ours = {pid for pid, entry in found.items() if entry.start >= since and _find_marker(pid, wanted)}
    for folder in groups:
        ours |= (_list_group_pids(folder) & found.keys()) - {os.getpid()}
    ours.add(root or -1)
    while more := {pid for pid, entry in found.items() if entry.ppid in ours and pid not in ours}:
        ours |= more
    ours -= {root, os.getpid()}
    return [(pid, found[pid].start) for pid in sorted(ours) if pid in found and not found[pid].gone]


def find_marked(markers: Collection[str]) -> set[str]:
    """Return the markers that a living process carries, in one scan of all processes."""
    wanted = {marker.encode() for marker in markers}
    return {found.decode() for entry in _yield_processes(None) if (found := _find_marker(entry.pid, wanted))}


def is_inside(pid: int) -> bool:
    """Whether the process is in a pid namespace below this one, as in a sandbox."""
    try:
        lines = _read(f"/proc/{pid}/status").splitlines()
    except OSError:
        return False
    return any(line.startswith(b"NSpid:") and len(line.split()) > 2 for line in lines)


def signal_exact(proc: Proc, number: int) -> bool:
    """Send a signal to exactly this process, never to a later owner of its pid; False if not delivered."""
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
    """Return a pidfd; None before Linux 5.3, if a filter forbids it, or in a Python built without it."""
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
    # Read after the listing, so that the range covers all listed processes.
    first, last = birth.since() if birth else (0, sys.maxsize)
    for name in names:
        if name.isdigit() and first <= int(name) <= last:
            entry = read_stat(int(name))
            if entry is not None:
                yield entry


def _find_marker(pid: int, markers: Collection[bytes]) -> bytes:
    """Return the one of these markers that the process carries; empty if none."""
    start = f"{MARKER}=".encode()
    try:
        words = _read(f"/proc/{pid}/environ").split(b"\0")
        found = [word[len(start) :] for word in words if word.startswith(start)]
    except PermissionError:  # another user's process, or a protected one of this user that contains a key
        # It must belong to this user and have a path of that attempt among its arguments.
        try:
            words = _read(f"/proc/{pid}/cmdline").split(b"\0") if _find_owner(pid) == os.getuid() else []
        except (OSError, ValueError, IndexError):
            return b""
        found = [part for word in words for part in word.split(b"/")]
    except OSError:  # ended
        return b""
    return next((one for one in found if one in markers), b"")


def _find_owner(pid: int) -> int:
    """Return the owner, also of a protected process whose files in /proc belong to root."""
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
