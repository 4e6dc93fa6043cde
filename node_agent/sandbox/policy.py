"""Decides what a phase of an attempt may see and write, as arguments of bubblewrap or Landlock. No I/O.

This is an allow-list: a path that is not named does not exist in the sandbox. Paths are the same inside and
outside, because sessions, events and git's own files name them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from node_agent.sandbox import landlock

INSIDE_UID = 1000
"""The agent's user id in the sandbox, whatever it is outside: some programs refuse to run as root."""
TMP_BYTES = 512 << 20
STATUS_FD = 3
"""The descriptor on which bubblewrap reports whether the program ran: its own failure is not the agent's."""
FILTER_FD = 4
"""The descriptor from which bubblewrap reads the system call filter."""
STAGE = "/mnt"
ETC = (
    *("/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/alternatives", "/etc/ld.so.cache"),
    *("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/nsswitch.conf", "/etc/localtime", "/etc/mime.types"),
)
NET_ETC = ("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf")
_NAMES = ("passwd", "group", "hosts")
NO_PORT = 0
_ACCOUNTS = ("/etc/passwd", "/etc/group")
_DEVICES = tuple(f"/dev/{name}" for name in "null zero full random urandom tty ptmx pts shm".split())
FILTER = "syscalls.bpf"
"""The file with the system call filter."""
BLANK = "blank"
"""An empty, unreadable file, which is mounted over a file that a rule hides."""


class Network(StrEnum):
    """The network of a phase: none, only the model gateway, or the node's own network."""

    NONE = "none"
    MODEL = "model"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class System:
    """Where this node's programs are: `folders`, and top-level folders that are links into one of them
    (`links`). `etc`: files of /etc that the programs need and that all users may read."""

    folders: tuple[str, ...] = ("/usr",)
    links: Mapping[str, str] = field(default_factory=dict)
    etc: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Covers:
    """The paths that path rules hide from a phase (`folders`, `files`) or make read-only (`kept`).

    `left`: too many paths of the checkout match, or the search was incomplete. `lost`: a file that an earlier
    phase had covered was not found again.
    """

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What one phase can see. All paths are absolute and normalized; `below` is the start folder in `tree`.

    `etc`: a folder with the sandbox's passwd, group and hosts. `shown`: read-only paths, with the repository.
    `hidden`: paths covered if a shown path contains them. `gate`: the folder of the gateway's socket.
    """

    tree: str
    home: str
    writable: bool
    network: Network
    etc: str
    system: System = System()
    shown: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    gate: str = ""
    below: str = ""
    covers: Covers = Covers()
    devices: tuple[tuple[str, str], ...] = ()
    """Device files, such as those of a GPU, each with its path in the sandbox."""

    def __post_init__(self) -> None:
        if self.network is Network.MODEL and not self.gate:
            raise ValueError("network `model` requires the folder of the gateway's socket")
        gate, covers = (self.gate,) if self.gate else (), self.covers
        covered = (*covers.folders, *covers.files, *covers.kept)
        for path in (self.tree, self.home, self.etc, *self.shown, *self.hidden, *gate, *covered):
            if not path.startswith("/") or path == "/" or {"..", "."} & set(path.split("/")):
                raise ValueError(f"path must be absolute and normalized: {path!r}")
        if self.below and not {"", ".", ".."}.isdisjoint(self.below.split("/")):
            raise ValueError(f"path is not in the checkout: {self.below!r}")


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that build the sandbox. `setpriv` and `uid`: for a node agent that runs as root.
    `prlimit`: set only if it can limit the processes of one sandbox alone."""

    bwrap: str
    setpriv: str = ""
    uid: int | None = None
    prlimit: str = ""


Mount = tuple[str, str]
"""A mount of bubblewrap: (flag, path)."""


def build_prefix(
    view: View,
    tools: Tools,
    status: int = STATUS_FD,
    processes: int | None = None,
    calls: int | None = None,
    as_first: bool = False,
) -> tuple[str, ...]:
    """Return the arguments before a command, without the environment, since all users can read arguments.

    `processes`: the maximum number in the sandbox, including threads, if `tools` can limit it. `calls`: the
    descriptor of the system call filter. `as_first`: the command is the first process of the sandbox, instead
    of bubblewrap, which would expose the sandbox's descriptors and environment to all other processes.
    """
    mounts = _list_mounts(view)
    most = (tools.prlimit, f"--nproc={processes}:{processes}", "--") if tools.prlimit and processes else ()
    begin = (*most, tools.bwrap, "--json-status-fd", str(status))
    begin = begin if calls is None else (*begin, "--seccomp", str(calls))
    begin = (*begin, "--as-pid-1") if as_first else begin
    if tools.uid is None:
        # The kernel counts a user's processes per namespace: an outer one counts only this sandbox's.
        apart = (tools.bwrap, "--die-with-parent", "--unshare-user", "--dev-bind", "/", "/", "--")
        return (*(apart if most else ()), *begin, *_make_argv(view, mounts, {}), "--")
    # With root's user id the agent could access all of root's files; with another id it could not enter
    # root's folders. So root mounts those folders in this attempt's mount namespace where all users may
    # enter, and then drops its privileges.
    own = (*_own_files(view), f"{view.etc}/{BLANK}", *(path for flag, path in mounts if flag != "--tmpfs"))
    staged = {path: f"{STAGE}/{number}" for number, path in enumerate(dict.fromkeys(own))}
    stage = [word for path, at in staged.items() for word in ("--bind", path, at)]
    uid = str(tools.uid)
    return (
        *(tools.bwrap, "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", STAGE, *stage, "--"),
        *(tools.setpriv, "--reuid", uid, "--regid", uid, "--clear-groups", "--pdeathsig", "KILL", "--"),
        *(*begin, *_make_argv(view, mounts, staged), "--"),
    )


def _make_argv(view: View, mounts: Iterable[Mount], staged: Mapping[str, str]) -> list[str]:
    words = [*_make_namespace_args(view.network), *_make_system_args(view)]
    for name, path in zip(_NAMES, _own_files(view), strict=True):
        if name != "hosts" or view.network is not Network.FULL:
            words += ["--ro-bind", staged.get(path, path), f"/etc/{name}"]
    for flag, path in mounts:
        words += [flag, path] if flag == "--tmpfs" else [flag, staged.get(path, path), path]
    words += _make_cover_args(view, staged)
    for path in [path for flag, path in mounts if flag == "--tmpfs"] + ["/run", "/dev", "/"]:
        words += ["--remount-ro", path]
    return [*words, "--chdir", f"{view.tree}/{view.below}" if view.below else view.tree]


def _make_cover_args(view: View, staged: Mapping[str, str]) -> list[str]:
    """Return mounts for the paths that path rules name, outermost first; they must come after all others."""
    made = {path: ["--perms", "0000", "--tmpfs", path, "--remount-ro", path] for path in view.covers.folders}
    blank = f"{view.etc}/{BLANK}"
    made |= {path: ["--ro-bind", staged.get(blank, blank), path] for path in view.covers.files}
    for path in view.covers.kept:  # in the checkout, which root mounts elsewhere while it builds the sandbox
        made[path] = ["--ro-bind", f"{staged.get(view.tree, view.tree)}{path.removeprefix(view.tree)}", path]
    return [word for _, words in sorted(made.items(), key=lambda item: item[0].count("/")) for word in words]


def _make_namespace_args(network: Network) -> list[str]:
    """Return the arguments for separate namespaces, without capabilities or a way to gain them."""
    uid = str(INSIDE_UID)
    words = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--disable-userns", "--die-with-parent"]
    words += ["--new-session", "--hostname", "sandbox", "--cap-drop", "ALL", "--uid", uid, "--gid", uid]
    return words if network is Network.FULL else [*words, "--unshare-net"]


def _make_system_args(view: View) -> list[str]:
    words: list[str] = []
    for folder in view.system.folders:
        words += ["--ro-bind", folder, folder]
    for link, target in view.system.links.items():
        words += ["--symlink", target, link]
    for path in (*ETC, *view.system.etc, *(NET_ETC if view.network is Network.FULL else ())):
        words += ["--ro-bind-try", path, path]
    # /proc/sys belongs to the outer root user; bubblewrap leaves it writable for a process with that id.
    words += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    for path, inside in view.devices:
        words += ["--dev-bind-try", path, inside]
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        words += ["--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", folder]
    return [*words, "--tmpfs", "/run"]


def _own_files(view: View) -> tuple[str, ...]:
    return tuple(f"{view.etc}/{name}" for name in _NAMES)


def _list_mounts(view: View) -> list[Mount]:
    """Return the mounts, the outermost first: a deeper mount must come later to stay visible."""
    shown = dict.fromkeys((*view.shown, *((view.gate,) if view.gate else ())), "--ro-bind")
    hidden = {path: "--tmpfs" for path in view.hidden if any(is_within(path, above) for above in shown)}
    own = {view.home: "--bind", view.tree: "--bind" if view.writable else "--ro-bind"}
    every = {**shown, **hidden, **own}
    return [(flag, path) for path, flag in sorted(every.items(), key=lambda item: item[0].count("/"))]


def build_fence(view: View, port: int = 0) -> tuple[str, ...]:
    """Return the arguments before a command for Landlock. `port`: the model gateway's port on the node."""
    read = [*view.system.folders, *ETC, *NET_ETC, *_ACCOUNTS, *view.system.etc, "/proc", *view.shown]
    # Landlock rules only add access, so a path that contains a hidden path is not shown.
    read = [path for path in read if not any(is_within(one, path) for one in view.hidden)]
    write = [view.home, *_DEVICES, *(path for path, _ in view.devices)]
    (write if view.writable else read).append(view.tree)
    words = [word for path in dict.fromkeys(read) for word in ("--read", path)]
    words += [word for path in write for word in ("--write", path)]
    if view.network is not Network.FULL:
        words += ["--tcp", str(port if view.network is Network.MODEL else NO_PORT)]
    words += ["--calls", f"{view.etc}/{FILTER}"]
    return (os.path.realpath(sys.executable), "-I", "-S", landlock.__file__, *words, "--")


def is_within(path: str, above: str) -> bool:
    """Whether the path is `above` or below it, compared by name only."""
    return path == above or path.startswith(f"{above.rstrip('/')}/")
