"""The filter of system calls: each call of the list gets its answer, and all others go through."""

from __future__ import annotations

import errno
import struct

import pytest

from node_agent.sandbox.syscalls import ABSENT, ALLOW, DENIED, KILL, MACHINES, program

ENOSYS, EPERM, NO_FAMILY = errno.ENOSYS, errno.EPERM, errno.EAFNOSUPPORT
I386 = 0x40000003


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


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_each_call_of_the_list_has_its_answer_and_no_other_has_one(machine: str) -> None:
    known, code = MACHINES[machine], program(machine)
    names = {number: name for name, number in known.numbers.items()}
    assert len(names) == len(known.numbers), "no number stands twice"
    for number in range(600):
        name = names.get(number, "")
        wanted = ENOSYS if name in ABSENT else EPERM if name in DENIED else 0
        if name != "socket":
            assert answer(code, known.audit, number) == wanted, name or number


@pytest.mark.parametrize("machine", sorted(MACHINES))
@pytest.mark.parametrize(
    ("name", "first", "second", "wanted"),
    [
        ("ptrace", 0, 0, 0), ("ptrace", 16, 77, 0), ("ptrace", 0x4206, 77, 0), ("ptrace", 7, 1, 0),
        ("ptrace", 16, 1, EPERM), ("ptrace", 0x4206, 1, EPERM),
        ("socket", 1, 0, 0), ("socket", 2, 0, 0), ("socket", 10, 0, 0), ("socket", 16, 0, 0),
        ("socket", 40, 0, NO_FAMILY), ("socket", 38, 0, NO_FAMILY), ("socket", 17, 0, NO_FAMILY),
    ],
)  # fmt: skip
def test_what_depends_on_arguments(machine: str, name: str, first: int, second: int, wanted: int) -> None:
    known = MACHINES[machine]
    assert answer(program(machine), known.audit, known.numbers[name], first, second) == wanted


def test_another_architecture_is_no_way_around_it() -> None:
    code, known = program("x86_64"), MACHINES["x86_64"]
    assert answer(code, I386, 288) == -1
    assert answer(code, known.audit, 0x40000000 | known.numbers["keyctl"]) == ENOSYS
    assert answer(program("aarch64"), 0x40000028, 1) == -1


def test_a_machine_whose_numbers_are_not_known_has_none() -> None:
    assert program("riscv64") == b""
