"""Makes a Python that finds this file behave as on macOS: it has no names of Linux alone and no `/proc`."""

from __future__ import annotations

import os
import sys
from importlib import import_module

MODULES = ("os", "posix", "_signal", "_socket", "fcntl", "resource", "select", "time")
# Those that typeshed has for Linux and not for macOS, without families that no client could need.
ONLY_ON_LINUX = """
    O_DIRECT O_NOATIME O_PATH O_TMPFILE P_PIDFD copy_file_range eventfd fdatasync getrandom getresgid
    getresuid getxattr listxattr memfd_create pidfd_open pipe2 posix_fadvise posix_fallocate removexattr
    sched_getaffinity sched_setaffinity sched_setscheduler setresgid setresuid setxattr splice waitid
    SIGPOLL SIGPWR SIGRTMAX SIGRTMIN SIGSTKFLT pidfd_send_signal sigtimedwait sigwaitinfo
    AF_NETLINK AF_PACKET AF_VSOCK MSG_CMSG_CLOEXEC MSG_MORE SCM_CREDENTIALS SOCK_CLOEXEC SOCK_NONBLOCK
    SO_BINDTODEVICE SO_PASSCRED SO_PEERCRED TCP_CORK TCP_INFO TCP_KEEPIDLE TCP_QUICKACK TCP_USER_TIMEOUT
    POLLRDHUP epoll CLOCK_BOOTTIME RUSAGE_THREAD prlimit
    F_ADD_SEALS F_GETPIPE_SZ F_NOTIFY F_SETPIPE_SZ F_SETSIG
""".split()


def refuse_linux(event: str, words: tuple[object, ...]) -> None:
    """An audit hook: there is no `/proc`, and the C library has no `prctl` and no `inotify`."""
    if event in ("open", "os.listdir", "os.scandir") and str(words[0]).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", words[0])
    if event == "ctypes.dlsym" and str(words[1]).startswith(("prctl", "inotify", "syscall")):
        raise AttributeError(words[1])


for module in MODULES:
    for name in ONLY_ON_LINUX:
        vars(import_module(module)).pop(name, None)
# Python reads how it was built from a file whose name has the platform.
os.environ["_PYTHON_SYSCONFIGDATA_NAME"] = f"_sysconfigdata__linux_{sys.implementation._multiarch}"
sys.platform = "darwin"
sys.addaudithook(refuse_linux)
