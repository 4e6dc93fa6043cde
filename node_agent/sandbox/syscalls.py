"""Decides which system calls a run may not make, as a seccomp filter for the kernel. Pure.

A deny list: calls that no build or agent needs and that have reached into kernels before. Where programs have
another way they hear ENOSYS, as on a kernel without the call; else EPERM.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

FILTER = "syscalls.bpf"
"""The file with the program, among those of the node that build the wall."""
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
"""Of sockets: unix, IPv4, IPv6, netlink. A VM's own (vsock) passes by every network namespace."""
ATTACH = (16, 0x4206)
"""Requests of ptrace: a debugger may attach to processes of its own run, and never to the wall's, pid 1."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kernel's name of its architecture, the calls' numbers, and the first number of another one."""

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
"""(code, lines to skip if so, lines to skip if not, operand)."""


def program(machine: str) -> bytes:
    """The filter that the kernel runs at each call; empty for a machine whose numbers are not known here.

    A call of another architecture, such as that of a 32-bit program, ends the program.
    """
    known = MACHINES.get(machine)
    if known is None:
        return b""
    numbers = known.numbers
    lines: list[_Line] = [_load(_ARCH), (_IF_EQUAL, 1, 0, known.audit), _end(KILL), _load(_NUMBER)]
    if known.foreign:
        lines += [(_IF_LEAST, 0, 1, known.foreign), _failing(errno.ENOSYS)]
    lines += _any([numbers[name] for name in ABSENT], _failing(errno.ENOSYS))
    lines += _any([numbers[name] for name in DENIED], _failing(errno.EPERM))
    to_one = [_load(_ARG1), (_IF_EQUAL, 0, 1, 1), _failing(errno.EPERM), _end(ALLOW)]
    attach = [_load(_ARG0), *_unless(ATTACH, _end(ALLOW)), *to_one]
    other = [_load(_ARG0), *_unless(FAMILIES, _failing(errno.EAFNOSUPPORT)), _end(ALLOW)]
    for name, body in (("ptrace", attach), ("socket", other)):
        lines += [(_IF_EQUAL, 0, len(body), numbers[name]), *body]
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, _end(ALLOW)])


def _load(at: int) -> _Line:
    return (_LOAD, 0, 0, at)


def _end(action: int) -> _Line:
    return (_RETURN, 0, 0, action)


def _failing(number: int) -> _Line:
    return _end(_ERRNO | number)


def _any(values: list[int], then: _Line) -> list[_Line]:
    """`then` for any of them; the others go on behind it."""
    last = len(values) - 1
    return [*((_IF_EQUAL, last - n, 0 if n < last else 1, value) for n, value in enumerate(values)), then]


def _unless(values: tuple[int, ...], then: _Line) -> list[_Line]:
    """`then` for none of them; they go on behind it."""
    return [*((_IF_EQUAL, len(values) - n, 0, value) for n, value in enumerate(values)), then]
