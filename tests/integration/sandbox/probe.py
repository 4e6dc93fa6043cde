"""A hostile program: tries each forbidden act once and prints, as JSON, what became of it."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable

DONE = "done"
CLONE_NEWUSER = 0x10000000
AF_VSOCK, SEIZE, SESSION = 40, 0x4206, -3


def tried(act: Callable[[], object]) -> str:
    try:
        return DONE if act() is not False else "no"
    except (OSError, subprocess.CalledProcessError) as exc:
        return type(exc).__name__


def write(path: str, text: str = "x") -> None:
    with open(path, "w") as file:
        file.write(text)


def read(path: str) -> bool:
    with open(path, "rb") as file:
        return bool(file.read(1))


def shell(script: str) -> None:
    subprocess.run(["sh", "-c", script], check=True, capture_output=True, timeout=20)


def connect(family: int, address: object) -> None:
    with socket.socket(family) as sock:
        sock.settimeout(3)
        sock.connect(address)  # type: ignore[arg-type]


def syscall(name: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), name)


def call(given: dict[str, str], name: str, *args: object) -> None:
    """By its number, as no library of C knows all of them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(int(given[f"call {name}"]), *args) < 0:
        raise OSError(ctypes.get_errno(), name)


def is_absent(given: dict[str, str], name: str) -> bool:
    """Whether a program is told that the kernel has no such call, so that it takes its other way."""
    try:
        call(given, name, 4, None)
    except OSError as exc:
        return exc.errno == errno.ENOSYS
    return False


def trace_a_child(given: dict[str, str]) -> None:
    child = subprocess.Popen(["sleep", "20"])
    try:
        call(given, "ptrace", SEIZE, child.pid, 0, 0)
    finally:
        child.kill()


def see_others() -> bool:
    """Whether any process is there that is not below this wall's first."""
    return any(int(name) > 200 for name in os.listdir("/proc") if name.isdigit())


def acts(given: dict[str, str]) -> dict[str, Callable[[], object]]:
    """By name; a name that begins with `ok` is allowed."""
    tree, git, secret = given["tree"], given["git"], given["secret"]
    outside = [given["node"], given["other"], "/", "/usr", "/etc", "/usr/bin", "/var", "/proc/sys/kernel"]
    own = {f"write in {folder}": (lambda f=folder: write(f"{f}/planted")) for folder in outside}
    return {
        **own,
        "write over .git": lambda: write(f"{tree}/.git", "gitdir: /tmp/evil\n"),
        "move .git away": lambda: os.rename(f"{tree}/.git", f"{tree}/g2"),
        "remove .git": lambda: os.unlink(f"{tree}/.git"),
        "mount away .git": lambda: shell(f"umount {tree}/.git"),
        "plant a hook": lambda: write(f"{git}/hooks-planted"),
        "change the repository's config": lambda: shell(f"git -C {tree} config core.hooksPath /tmp/evil"),
        "replace the repository": lambda: os.rename(git, f"{git}-gone"),
        "read the node's key": lambda: read(secret),
        "read another run": lambda: read(given["other_run"]),
        "read another home": lambda: read(given["other_home"]),
        "read the machine's /tmp": lambda: read(given["tmp_file"]),
        "read shadow": lambda: read("/etc/shadow"),
        "reach a port of the machine": lambda: connect(socket.AF_INET, ("127.0.0.1", int(given["port"]))),
        "reach an abstract socket": lambda: connect(socket.AF_UNIX, f"\0{given['abstract']}"),
        "reach a socket by path": lambda: connect(socket.AF_UNIX, given["socket"]),
        "see other processes": see_others,
        "set the core pattern": lambda: write("/proc/sys/kernel/core_pattern", "|/tmp/evil %p"),
        "set the host name": lambda: shell("hostname evil"),
        "mount": lambda: shell("mount -t tmpfs tmpfs /usr"),
        "make a namespace": lambda: syscall("unshare", CLONE_NEWUSER),
        "make a device": lambda: os.mknod(f"{tree}/dev", 0o20666, os.makedev(1, 1)),
        "become root": lambda: os.setuid(0),
        "end the first process": lambda: shell("kill -9 1; kill -0 1 && exit 1"),
        "look at keys": lambda: call(given, "keyctl", 11, SESSION, None, 0),
        "leave a key": lambda: call(given, "add_key", b"user", b"mine", b"x", 1, SESSION),
        "load a program into the kernel": lambda: call(given, "bpf", 0, None, 0),
        "count events of the kernel": lambda: call(given, "perf_event_open", None, 0, -1, -1, 0),
        "attach to the first process": lambda: call(given, "ptrace", SEIZE, 1, 0, 0),
        "take a file of another process": lambda: call(given, "pidfd_getfd", os.pidfd_open(1), 1, 0),
        "make secret memory": lambda: call(given, "memfd_secret", 0),
        "reach the host of this virtual machine": lambda: socket.socket(AF_VSOCK),
        "ok have no io_uring": lambda: is_absent(given, "io_uring_setup"),
        "ok trace a process of its own": lambda: trace_a_child(given),
        "write the tree": lambda: write(f"{tree}/made.txt"),
        "ok write home": lambda: write(os.path.expanduser("~/made.txt")),
        "ok write /tmp": lambda: write("/tmp/made.txt"),
        "ok use git": lambda: shell(f"git -C {tree} log -1 && git -C {tree} status --porcelain"),
        "ok know localhost": lambda: socket.gethostbyname("localhost"),
        "ok have a name": lambda: shell("test $(id -u) = 1000 && test $(id -un) = agent"),
    }


def main() -> None:
    given = json.loads(sys.argv[1])
    print(json.dumps({name: tried(act) for name, act in acts(given).items()}))


if __name__ == "__main__":
    main()
