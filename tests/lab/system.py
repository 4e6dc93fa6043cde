"""Runs programs, looks at processes and takes locks for the lab.  Standard library only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator

SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"
PROGRAMS = {
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "util-linux",
    "pivot_root": "util-linux",
}


class Fail(Exception):
    """An error to show without a traceback (exit status 1)."""


class Unsupported(Fail):
    """This machine cannot hold test hosts (exit status 77: tests should skip)."""


def find(name: str) -> str | None:
    """Where a program is, the system's own folders included; None if it is missing."""
    return shutil.which(name, path=os.environ.get("PATH", "") + SBIN)


def which(name: str) -> str:
    """As `find`, but a missing program is a Fail."""
    path = find(name)
    if path is None:
        raise Fail(f"{name} is not installed")
    return path


def missing() -> list[str]:
    """Everything this machine lacks, as sentences; [] when it can hold test hosts."""
    out = [] if os.geteuid() == 0 else ["root (this process is not root)"]
    out += [f"{p} (package {package})" for p, package in PROGRAMS.items() if not find(p)]
    if not out:  # may we make namespaces and links at all?
        trial = (
            "mount -t tmpfs none /mnt && ip link add th0 type bridge && "
            "ip link add th1 type veth peer name th2"
        )
        p = sh("unshare", "-m", "-u", "-i", "-n", "-p", "--fork", "sh", "-c", trial, check=False)
        if p.returncode:
            out.append("CAP_SYS_ADMIN and CAP_NET_ADMIN: " + p.stderr.strip()[-200:])
    return out


def require(more: list[str]) -> None:
    """Raise Unsupported unless this machine can hold test hosts; `more`: what it lacks for special ones."""
    if lacks := missing() + more:
        raise Unsupported("this machine lacks: " + "; ".join(lacks))


def sh(*cmd: object, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one program with `text` on its standard input; a failure is a Fail unless `check` is off."""
    words = [str(c) for c in cmd]
    argv = [find(words[0]) or words[0], *words[1:]]
    p = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if check and p.returncode:
        raise Fail(f"{' '.join(words)}: {(p.stderr or p.stdout).strip()}")
    return p


def ip(*lines: str, netns: str | None = None, check: bool = True) -> None:
    """Many `ip` commands in one process."""
    where = ["-n", netns] if netns else []
    extra = [] if check else ["-force"]
    sh("ip", *where, *extra, "-batch", "-", text="\n".join(lines) + "\n", check=check)


def write(path: str, text: str, mode: int = 0o644) -> None:
    """Replace a file as a whole."""
    tmp = path + ".new"
    with open(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(text)
    os.chmod(tmp, mode)
    os.replace(tmp, path)


def read(path: str, default: str = "") -> str:
    """A file's text, or `default` when it cannot be read."""
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return default


def _stat(pid: int) -> list[str]:
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def started(pid: int) -> int:
    """Kernel start time; together with the pid it names one process for good.  0: no such process."""
    s = _stat(pid)
    return int(s[19]) if s else 0


def alive(pid: int, start: int) -> bool:
    """Whether exactly this process still runs (a zombie does not)."""
    s = _stat(pid) if pid else []
    return bool(s) and s[0] not in "ZX" and int(s[19]) == start


def in_namespace(kind: str, inode: int) -> list[int]:
    """Pids of the live processes in one namespace (never our own)."""
    out = []
    for d in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{d}/ns/{kind}").st_ino == inode and (_stat(int(d)) or ["Z"])[0] not in "ZX":
                out.append(int(d))
    return [p for p in out if p != os.getpid()]


def send(pids: Iterable[int], sig: int = signal.SIGKILL) -> None:
    """Signal each process; one that is gone already is no error."""
    for p in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(p, sig)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until the condition holds; give up with a Fail."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Fail(f"gave up after {seconds:g} s: {what}")
        time.sleep(0.02)


def banner(addr: str, timeout: float = 0.5) -> str | None:
    """What the host's sshd says first, or None."""
    try:
        with socket.create_connection((addr, 22), timeout) as s:
            return s.recv(64).decode("ascii", "replace").strip() or None
    except OSError:
        return None


def _bound(s: socket.socket, name: str) -> bool:
    with contextlib.suppress(OSError):
        s.bind(f"\0pancode-lab/{name}")
        return True
    return False


@contextlib.contextmanager
def lock(name: str, seconds: float = 60) -> Iterator[None]:
    """A lock without a file: an abstract socket, released by the kernel if we die."""
    with socket.socket(socket.AF_UNIX) as s:
        wait_for(lambda: _bound(s, name), seconds, f"another lab command holds {name!r}")
        yield
