"""What a node says about itself is read whatever its shell says around it; half an answer is no answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancode.fleet.ssh.probe import HomeState, Libc, LibcKind, parse_libc, parse_probe
from pancode.fleet.ssh.scripts.link import BEGIN, END, parse_report

SAID = """os=Linux
arch=amd64
kernel=6.1.0
hostname=gpubox
uid=1000
user=ops
home=/home/ops
shell=/bin/bash
libc=glibc 2.36
wall_ms=1795162256761
boot_id=ed285875-196d-43a5-a408-79d810db02bf
session=none
cpus=8
memory_kb=16000
python=cpython 3.12.4 - 8 final /opt/py thon/bin/python3.12
python=cpython 3.11.2 - 8 final /usr/bin/python3.11
python=cpython 3.11.2 - 8 final /usr/bin/python3.11
python=cpython 3.13.0 t 8 final /usr/bin/python3.13
python=bash: /usr/bin/python3: cannot execute
git=git version 2.39.5
disk=/dev/my disk 100 20 80 20% /
home_write=ok
home_exec=yes
user_services=degraded
linger=Linger=yes
tool.timeout=/usr/bin/timeout
tool.bwrap=
node_home=/home/ops/.pancode-node/f1
current=bundles/0123
bundle=bbbb
bundle=aaaa
has_key=yes
agent=running
"""


def wrapped(said: str = SAID, before: str = "Welcome, 3 updates available\n", after: str = "") -> str:
    return f"{before}\n{BEGIN}\n{said}{END}\n{after}"


def test_all_that_it_says() -> None:
    probe = parse_probe(wrapped())
    assert (probe.os, probe.arch, probe.uid, probe.user, probe.home) == (
        "Linux",
        "x86_64",
        1000,
        "ops",
        "/home/ops",
    )
    assert probe.libc == Libc(LibcKind.GLIBC, (2, 36))
    assert [(p.path, p.version, p.abiflags) for p in probe.pythons] == [
        ("/opt/py thon/bin/python3.12", (3, 12, 4), ""),
        ("/usr/bin/python3.11", (3, 11, 2), ""),
        ("/usr/bin/python3.13", (3, 13, 0), "t"),
    ]
    assert probe.git == (2, 39, 5) and probe.disk_free == 80 * 1024 and probe.memory == 16000 * 1024
    assert probe.home_state is HomeState.OK and probe.services_usable and probe.linger
    assert probe.tool("timeout") == "/usr/bin/timeout" and probe.tool("bwrap") is None
    assert (probe.current, probe.bundles, probe.has_key, probe.agent) == (
        "bundles/0123",
        ("aaaa", "bbbb"),
        True,
        "running",
    )
    assert probe.wall_ms == 1795162256761 and probe.cpus == 8


@pytest.mark.parametrize(
    ("write", "state"),
    [
        ("home_write=ok\nhome_exec=no", HomeState.NOEXEC),
        ("home_write=full", HomeState.FULL),
        ("home_write=no mktemp: Read-only file system", HomeState.READ_ONLY),
        ("home_write=no mktemp: No space left on device", HomeState.FULL),
    ],
)
def test_state_of_the_home_folder(write: str, state: HomeState) -> None:
    assert parse_probe(wrapped(SAID.replace("home_write=ok\nhome_exec=yes", write))).home_state is state


@pytest.mark.parametrize(
    ("text", "libc"),
    [
        ("ldd (Debian GLIBC 2.36-9) 2.36", Libc(LibcKind.GLIBC, (2, 36))),
        ("musl libc (x86_64) Version 1.2.4", Libc(LibcKind.MUSL, (1, 2, 4))),
        ("", Libc(LibcKind.UNKNOWN, ())),
    ],
)
def test_c_libraries(text: str, libc: Libc) -> None:
    assert parse_libc(text) == libc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Welcome",
        SAID,
        wrapped().replace(END, ""),
        wrapped("os=Linux\n"),
        wrapped(SAID.replace("uid=1000\n", "")),
    ],
)
def test_half_an_answer_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError):
        parse_probe(text)


def test_a_shell_that_echoes_our_mark_first() -> None:
    assert parse_probe(wrapped(before=f"+ echo {BEGIN}\nos=Plan9\n")).os == "Linux"


@given(st.text(), st.text())
def test_noise_never_changes_the_answer(before: str, after: str) -> None:
    assert parse_report(wrapped("a=1\nb=x=y\n", before, after)) == [("a", "1"), ("b", "x=y")]


@given(st.text())
def test_any_text_is_an_answer_or_a_value_error(text: str) -> None:
    try:
        parse_probe(wrapped(SAID + text.replace(END, "") + "\n"))
    except ValueError:
        return
