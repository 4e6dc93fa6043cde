"""Finds the sandbox that works on this node by a real trial: bubblewrap, or else the weaker Landlock.

Landlock is for nodes without bubblewrap, and never for root, which can bypass path rules. Both sandboxes have
a filter that rejects system calls that no build or agent needs and that past kernel exploits used. A call for
which programs have a fallback fails with ENOSYS, as on a kernel without it; any other with EPERM.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.files.durable import write_atomic
from node_agent.sandbox import landlock
from node_agent.sandbox.policy import (
    BLANK,
    FILTER,
    INSIDE_UID,
    Network,
    System,
    Tools,
    View,
    build_fence,
    build_prefix,
)
from node_agent.wire.node import NodeProblem, no_sandbox

"""The name of the filter file, among the node's files that build the sandbox."""
ABSENT = (
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("add_key", "request_key", "keyctl", "memfd_secret", "userfaultfd"),
)
DENIED = (
    *("bpf", "perf_event_open", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
    *("open_by_handle_at", "acct", "quotactl", "swapon", "swapoff", "syslog"),
)
FAMILIES = (1, 2, 10, 16)
"""The allowed socket families: unix, IPv4, IPv6, netlink. A virtual machine's sockets (vsock) would bypass
every network namespace."""
ATTACH = (16, 0x4206)
"""Requests of ptrace that attach to a process: a debugger may attach to processes of its own run, but never
to the sandbox's pid 1."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kernel architecture: its code, system call numbers, and the first call number of its foreign ABI."""

    audit: int
    numbers: dict[str, int]
    foreign: int = 0


_SAME = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "pidfd_getfd": 438, "memfd_secret": 447,
}  # fmt: skip
MACHINES = {
    "x86_64": Architecture(
        0xC000003E,
        {
            **_SAME, "add_key": 248, "request_key": 249, "keyctl": 250, "userfaultfd": 323, "bpf": 321,
            "perf_event_open": 298, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
            "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313,
            "delete_module": 176, "open_by_handle_at": 304, "acct": 163, "quotactl": 179, "swapon": 167,
            "swapoff": 168, "syslog": 103, "ptrace": 101, "socket": 41,
        },
        foreign=0x40000000,
    ),
    "aarch64": Architecture(
        0xC00000B7,
        {
            **_SAME, "add_key": 217, "request_key": 218, "keyctl": 219, "userfaultfd": 282, "bpf": 280,
            "perf_event_open": 241, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
            "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273,
            "delete_module": 106, "open_by_handle_at": 265, "acct": 89, "quotactl": 60, "swapon": 224,
            "swapoff": 225, "syslog": 116, "ptrace": 117, "socket": 198,
        },
    ),
}  # fmt: skip

_LOAD, _IF_EQUAL, _IF_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
ALLOW, KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_Line = tuple[int, int, int, int]
"""One instruction of the filter: (code, lines to skip if true, lines to skip if false, operand)."""


def filter_program(machine: str) -> bytes:
    """Return the filter program that the kernel runs at each system call; empty for an unknown architecture.
    A system call of another architecture, such as a 32-bit program's, ends the program."""
    known = MACHINES.get(machine)
    if known is None:
        return b""
    numbers = known.numbers
    lines: list[_Line] = [_load_word(_ARCH), (_IF_EQUAL, 1, 0, known.audit), _end(KILL), _load_word(_NUMBER)]
    if known.foreign:
        lines += [(_IF_LEAST, 0, 1, known.foreign), _make_failure(errno.ENOSYS)]
    lines += _match_any([numbers[name] for name in ABSENT], _make_failure(errno.ENOSYS))
    lines += _match_any([numbers[name] for name in DENIED], _make_failure(errno.EPERM))
    to_one = [_load_word(_ARG1), (_IF_EQUAL, 0, 1, 1), _make_failure(errno.EPERM), _end(ALLOW)]
    attach = [_load_word(_ARG0), *_match_none(ATTACH, _end(ALLOW)), *to_one]
    other = [_load_word(_ARG0), *_match_none(FAMILIES, _make_failure(errno.EAFNOSUPPORT)), _end(ALLOW)]
    for name, body in (("ptrace", attach), ("socket", other)):
        lines += [(_IF_EQUAL, 0, len(body), numbers[name]), *body]
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, _end(ALLOW)])


def _load_word(at: int) -> _Line:
    return (_LOAD, 0, 0, at)


def _end(action: int) -> _Line:
    return (_RETURN, 0, 0, action)


def _make_failure(number: int) -> _Line:
    return _end(_ERRNO | number)


def _match_any(values: list[int], then: _Line) -> list[_Line]:
    """Return filter lines that run `then` for any of `values`; for others, the filter continues."""
    last = len(values) - 1
    return [*((_IF_EQUAL, last - n, 0 if n < last else 1, value) for n, value in enumerate(values)), then]


def _match_none(values: tuple[int, ...], then: _Line) -> list[_Line]:
    """Return filter lines that run `then` except for `values`, for which the filter continues after them."""
    return [*((_IF_EQUAL, len(values) - n, 0, value) for n, value in enumerate(values)), then]


TRIAL_S = 10
UID = 60_706
"""The first user id that neither distributions nor systemd use; a trial runs under this id."""
UIDS = 478
PROCESSES = 100
COUNTS_BY_NAMESPACE = (5, 14)
"""The Linux version since which a process limit in a user namespace counts only its own processes."""
FILES = {
    "passwd": f"agent:x:{INSIDE_UID}:{INSIDE_UID}::/tmp:/bin/sh\n",
    "group": f"agent:x:{INSIDE_UID}:\n",
    "hosts": "127.0.0.1 localhost\n",
}
"""The files of /etc in the sandbox: some programs fail without an entry for their user, and `localhost` must
resolve."""
INSTALL = "sudo apt-get install bubblewrap (or your system's package of that name)"
_KNOWN = (
    (
        "setting up uid map: Permission denied",
        "AppArmor forbids user namespaces",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or add an AppArmor profile for "
        "bwrap that allows `userns,`",
    ),
    (
        "RTM_NEWADDR",
        "AppArmor forbids the sandbox's own network",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or add an AppArmor profile for "
        "bwrap that allows `userns,`",
    ),
    (
        "No permissions to creat",
        "user namespaces are disabled, or a container forbids them",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1; in a container: use a seccomp profile that "
        "allows user namespaces",
    ),
    (
        "max_*_namespaces exceeded",
        "no user namespaces are left, or the node agent itself runs in a sandbox",
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
    ("Can't mount proc", "a container hides parts of /proc", "run the node agent outside the container"),
    (
        "PR_SET_SECCOMP",
        "the kernel or the container rejects system call filters",
        "use a kernel with CONFIG_SECCOMP_FILTER, or run the node agent outside the container",
    ),
    ("Unknown option", "bubblewrap is older than 0.8", INSTALL),
)
"""Parts of bubblewrap's error messages, each with the reason and the fix."""


UNKNOWN = (
    "bubblewrap failed",
    "read its message; to reproduce it on that node: bwrap --ro-bind / / --unshare-user true",
)


@dataclass(frozen=True, slots=True)
class SandboxTools:
    """The result of the search for a sandbox. `tools`: None if there is none, for the reason in `problem`.
    `passing`: a new trial may soon succeed. `landlock`: the weaker sandbox is available instead."""

    tools: Tools | None
    problem: NodeProblem | None = None
    passing: bool = False
    landlock: bool = False


def detect_sandbox(
    path: str, folder: Path, system: System, is_root: bool, shown: Sequence[str] = ()
) -> SandboxTools:
    """Find the sandbox by a trial that runs `true` in it as a run would. Never raises. `folder`: the folder
    for the sandbox's files; `shown`: the paths that every run sees."""
    bwrap = shutil.which("bwrap", path=path)
    if bwrap is None:
        return _make_no_tools("bubblewrap is not installed", INSTALL)
    setpriv = shutil.which("setpriv", path=path) if is_root else ""
    if setpriv is None:
        return _make_no_tools(
            "setpriv is not installed, and the node agent is root", "sudo apt-get install util-linux"
        )
    tools = Tools(bwrap, setpriv, UID if is_root else None)
    # empty where the limit would count all processes of this user; as root, the agent has its own user id
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    by_namespace = release is not None and tuple(map(int, release.groups())) >= COUNTS_BY_NAMESPACE
    prlimit = (shutil.which("prlimit", path=path) or "") if is_root or by_namespace else ""
    counting = replace(tools, prlimit=prlimit)
    try:
        write_etc(folder)
        if counting != tools and not _try_tools(counting, folder, system, tuple(shown)):
            return SandboxTools(counting)
        message = _try_tools(tools, folder, system, tuple(shown))
    except subprocess.TimeoutExpired:
        found = _make_no_tools(
            f"bubblewrap did not finish within {TRIAL_S} s",
            "no action needed: the node agent tries again soon",
        )
        return replace(found, passing=True)
    except (OSError, ValueError) as exc:
        return _make_no_tools(f"cannot start bubblewrap: {exc}", INSTALL)
    return SandboxTools(tools) if not message else explain_failure(message)


def explain_failure(message: str) -> SandboxTools:
    """Return the search result for an error message of bubblewrap, with the reason and the fix."""
    last = message.strip().splitlines()[-1]
    why, fix = next(((why, fix) for part, why, fix in _KNOWN if part in last), UNKNOWN)
    return _make_no_tools(f"{why}: {last}"[:500], fix)


def write_etc(folder: Path) -> None:
    """Write the sandbox's files of /etc, readable by all users, and the system call filter. Idempotent."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    files = {name: text.encode() for name, text in FILES.items()}
    for name, data in {**files, FILTER: filter_program(os.uname().machine)}.items():
        target = folder / name
        if not target.is_file() or target.read_bytes() != data:
            write_atomic(target, data, sync=False)  # atomic, since a step may be reading the file
        target.chmod(0o644)
    blank = folder / BLANK
    if not os.path.lexists(blank):
        blank.touch()
    blank.chmod(0o000)


def _try_tools(tools: Tools, folder: Path, system: System, shown: tuple[str, ...]) -> str:
    """Try these tools; return an empty string if the trial succeeded, else the error message."""
    with tempfile.TemporaryDirectory(prefix="trial-", dir=folder) as place:
        tree, home = os.path.join(place, "tree"), os.path.join(place, "home")
        for own in (tree, home):
            os.mkdir(own)
            if tools.uid is not None:
                os.chown(own, tools.uid, tools.uid)
        view = View(tree, home, True, Network.NONE, str(folder), system, shown)
        with (folder / FILTER).open("rb") as calls:
            number = calls.fileno() if os.fstat(calls.fileno()).st_size else None
            done = subprocess.run(
                [*build_prefix(view, tools, 1, PROCESSES, number), "true"],
                env={"PATH": os.defpath, "LC_ALL": "C"}, cwd="/", pass_fds=(calls.fileno(),),
                stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_S, check=False,
                start_new_session=True,
            )  # fmt: skip
    message = done.stderr.decode("utf-8", "replace").strip()
    return "" if done.returncode == 0 else message or f"exit {done.returncode}"


def _make_no_tools(why: str, fix: str) -> SandboxTools:
    return SandboxTools(None, no_sandbox(why, fix))


_FENCE_TRIAL = 'echo x > "$1/tree/in" && cat "$1/tree/in" && ! cat "$1/key" && ! echo x > "$1/out"'
"""The trial opens the files, since a permission check alone does not show what Landlock forbids."""


def fence_holds(folder: Path, system: System) -> bool:
    """Whether Landlock works on this node, by a trial in a temporary folder. Never raises."""
    try:
        if landlock.read_abi() < landlock.LEAST_ABI:
            return False
        write_etc(folder)
        with tempfile.TemporaryDirectory(prefix="fence-", dir=folder) as place:
            for own in ("tree", "home"):
                os.mkdir(f"{place}/{own}")
            Path(place, "key").write_text("x")
            shown = (os.path.realpath(sys.executable), os.path.realpath(sys.prefix))
            view = View(f"{place}/tree", f"{place}/home", True, Network.NONE, str(folder), system, shown)
            done = subprocess.run(
                [*build_fence(view), "sh", "-c", f"{{ {_FENCE_TRIAL}; }} 2>/dev/null", "sh", place],
                env={"PATH": os.defpath}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
                timeout=TRIAL_S, check=False, start_new_session=True,
            )  # fmt: skip
            return done.returncode == 0 and not os.path.exists(f"{place}/out")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
