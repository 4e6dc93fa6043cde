"""What bubblewrap says when it cannot becomes the package or kernel setting that is missing."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from node_agent.sandbox.detect import ALLOW, KILL, detect_sandbox, explain_failure, filter_program
from node_agent.sandbox.policy import System


@pytest.mark.parametrize(
    ("said", "why", "fix"),
    [
        ("bwrap: setting up uid map: Permission denied", "AppArmor", "apparmor_restrict_unprivileged_userns"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmor", "apparmor_restrict"),
        (
            "bwrap: No permissions to create new namespace, likely because",
            "user namespaces are disabled",
            "userns_clone=1",
        ),
        ("bwrap: No permissions to creating new namespace", "a container", "seccomp"),
        (
            "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded",
            "no user namespaces are left",
            "user.max_user_namespaces",
        ),
        (
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
            "hides",
            "outside the container",
        ),
        ("bwrap: Unknown option --disable-userns", "older than 0.8", "bubblewrap"),
        ("two lines\nbwrap: something new", "bubblewrap failed: bwrap: something new", "read its message"),
    ],
)
def test_its_words_become_a_fix(said: str, why: str, fix: str) -> None:
    found = explain_failure(said)
    assert found.tools is None and found.problem is not None
    assert found.problem.what.startswith("no sandbox: ") and why in found.problem.what
    assert fix in found.problem.fix


def test_a_machine_without_it_says_which_package(tmp_path: Path) -> None:
    found = detect_sandbox(str(tmp_path), tmp_path / "wall", System(), is_root=False)
    assert found.tools is None and found.problem is not None
    assert "not installed" in found.problem.what and "apt-get install bubblewrap" in found.problem.fix


def test_root_needs_the_means_to_step_down(tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\n")
    (tmp_path / "bwrap").chmod(0o755)
    found = detect_sandbox(str(tmp_path), tmp_path / "wall", System(), is_root=True)
    assert found.problem is not None and "setpriv" in found.problem.what


ENOSYS, EPERM, NO_FAMILY = errno.ENOSYS, errno.EPERM, errno.EAFNOSUPPORT
I386 = 0x40000003
X86_64, AARCH64 = 0xC000003E, 0xC00000B7
"""The kernel's names (AUDIT_ARCH) of both; they and the numbers below are not read from our filter."""
CALLS = {
    "io_uring_setup": (425, 425, ENOSYS), "io_uring_enter": (426, 426, ENOSYS),
    "io_uring_register": (427, 427, ENOSYS), "add_key": (248, 217, ENOSYS), "request_key": (249, 218, ENOSYS),
    "keyctl": (250, 219, ENOSYS), "memfd_secret": (447, 447, ENOSYS), "userfaultfd": (323, 282, ENOSYS),
    "bpf": (321, 280, EPERM), "perf_event_open": (298, 241, EPERM), "process_vm_readv": (310, 270, EPERM),
    "process_vm_writev": (311, 271, EPERM), "pidfd_getfd": (438, 438, EPERM), "kcmp": (312, 272, EPERM),
    "kexec_load": (246, 104, EPERM), "kexec_file_load": (320, 294, EPERM), "init_module": (175, 105, EPERM),
    "finit_module": (313, 273, EPERM), "delete_module": (176, 106, EPERM),
    "open_by_handle_at": (304, 265, EPERM), "acct": (163, 89, EPERM), "quotactl": (179, 60, EPERM),
    "swapon": (167, 224, EPERM), "swapoff": (168, 225, EPERM), "syslog": (103, 116, EPERM),
}  # fmt: skip
"""What a run may not call: its number on x86-64 and on ARM64, and the error that the run hears."""
KERNELS = {"x86_64": (X86_64, 0), "aarch64": (AARCH64, 1)}
PTRACE, SOCKET = (101, 117), (41, 198)


def answer(code: bytes, audit: int, number: int, first: int = 0, second: int = 0) -> int:
    """What the kernel would do: 0 lets it through, -1 ends the program, else the error."""
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    data = struct.pack("=IIQQQ", number, audit, 0, first, second)
    at = held = 0
    while True:
        kind, yes, no, operand = lines[at]
        at += 1
        if kind == 0x20:
            held = struct.unpack_from("=I", data, operand)[0]
        elif kind == 0x06:
            return {ALLOW: 0, KILL: -1}.get(operand, operand & 0xFFFF)
        else:
            at += yes if (held == operand if kind == 0x15 else held >= operand) else no


@pytest.mark.parametrize("machine", KERNELS)
def test_each_call_of_the_list_has_its_answer_and_no_other_has_one(machine: str) -> None:
    (audit, column), code = KERNELS[machine], filter_program(machine)
    refused = {call[column]: call[2] for call in CALLS.values()}
    assert len(refused) == len(CALLS), "no number stands twice"
    found = {number: answer(code, audit, number) for number in range(600) if number != SOCKET[column]}
    assert {number: error for number, error in found.items() if error} == refused


@pytest.mark.parametrize("machine", KERNELS)
@pytest.mark.parametrize(
    ("call", "first", "second", "wanted"),
    [
        (PTRACE, 0, 0, 0), (PTRACE, 16, 77, 0), (PTRACE, 0x4206, 77, 0), (PTRACE, 7, 1, 0),
        (PTRACE, 16, 1, EPERM), (PTRACE, 0x4206, 1, EPERM),
        (SOCKET, 1, 0, 0), (SOCKET, 2, 0, 0), (SOCKET, 10, 0, 0), (SOCKET, 16, 0, 0),
        (SOCKET, 40, 0, NO_FAMILY), (SOCKET, 38, 0, NO_FAMILY), (SOCKET, 17, 0, NO_FAMILY),
    ],
)  # fmt: skip
def test_what_depends_on_arguments(
    machine: str, call: tuple[int, int], first: int, second: int, wanted: int
) -> None:
    audit, column = KERNELS[machine]
    assert answer(filter_program(machine), audit, call[column], first, second) == wanted


def test_another_architecture_is_no_way_around_it() -> None:
    code = filter_program("x86_64")
    assert answer(code, I386, 288) == -1
    assert answer(code, X86_64, 0x40000000 | 1) == ENOSYS, "x32: even a call that is on no list"
    assert answer(filter_program("aarch64"), 0x40000028, 1) == -1


def test_a_machine_whose_numbers_are_not_known_has_none() -> None:
    assert filter_program("riscv64") == b""
