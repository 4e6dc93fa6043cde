"""Each thing that is wrong with a node is named with its fix; one that is right has none."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files

import pytest

from node_agent.machine.home import NodeSettings
from pancode.fleet.bundle.platform import MINORS
from pancode.fleet.ssh.probe import HomeState, Libc, LibcKind, NodeProbe, Python
from pancode.fleet.ssh.readiness import (
    NEEDED_TOOLS,
    WORKING_DISK,
    Weight,
    find_unready,
    list_platforms,
    list_pythons,
    select_blocking,
)
from pancode.fleet.ssh.scripts.link import PROBE

TOOLS = tuple((name, f"/usr/bin/{name}") for name in (*NEEDED_TOOLS, "git", "bwrap"))
GOOD = NodeProbe(
    os="Linux",
    arch="x86_64",
    kernel="6.1",
    hostname="gpubox",
    uid=1000,
    user="ops",
    home="/home/ops",
    shell="/bin/bash",
    libc=Libc(LibcKind.GLIBC, (2, 36)),
    pythons=(Python("/usr/bin/python3.11", (3, 11, 2)),),
    git=(2, 39, 5),
    disk_free=10 << 30,
    home_state=HomeState.OK,
    home_detail="",
    wall_ms=1_000_000,
    boot_id="b",
    user_services="running",
    linger=True,
    tools=TOOLS,
    node_home="/home/ops/.pancode-node/f1",
    current=None,
    bundles=(),
    has_key=False,
    agent="absent",
)


def test_a_good_node_has_no_problem() -> None:
    assert find_unready(GOOD, 1_000_500) == ()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"os": "Darwin"}, "os", "Darwin"),
        ({"arch": "armv7l"}, "machine", "armv7l"),
        ({"libc": Libc(LibcKind.MUSL, (1, 2))}, "libc", "musl 1.2"),
        ({"libc": Libc(LibcKind.GLIBC, (2, 12))}, "libc", "2.12"),
        ({"pythons": ()}, "python", "found: none"),
        ({"pythons": (Python("/p", (3, 9, 2)), Python("/q", (3, 15, 0)))}, "python", "3.15.0, 3.9.2"),
        ({"pythons": (Python("/p", (3, 12, 0), "pypy"),)}, "python", "3.12"),
        ({"pythons": (Python("/p", (3, 13, 0), abiflags="t"),)}, "python", "3.13"),
        ({"pythons": (Python("/p", (3, 12, 0), pointer_bytes=4),)}, "python", "3.12"),
        ({"git": None}, "git", "missing"),
        ({"git": (2, 20, 1)}, "git", "2.20.1"),
        ({"home_state": HomeState.READ_ONLY, "home_detail": "ro"}, "home", "is not writable (ro)"),
        ({"home_state": HomeState.NOEXEC}, "home", "noexec"),
        ({"home_state": HomeState.FULL}, "disk", "nothing is free"),
        ({"disk_free": 100 << 20}, "disk", "100 MB"),
        ({"layout": 99}, "layout", "has layout 99, which a newer PanCode wrote"),
        ({"tools": TOOLS[1:]}, "tool_timeout", "timeout"),
        ({"tools": tuple(t for t in TOOLS if t[0] != "sha256sum")}, "tool_sha256sum", "sha256sum is missing"),
        ({"tools": tuple(t for t in TOOLS if t[0] != "cut")}, "tool_cut", "cut is missing"),
        ({"tools": tuple(t for t in TOOLS if t[0] != "find")}, "tool_find", "find is missing"),
    ],
)
def test_what_stops_it(change: dict[str, object], code: str, words: str) -> None:
    found = find_unready(replace(GOOD, **change), 1_000_000)  # type: ignore[arg-type]
    assert [p.code for p in select_blocking(found)] == [code]
    assert words in select_blocking(found)[0].what and select_blocking(found)[0].fix


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"wall_ms": 2_000_000}, "clock"),
        ({"user_services": "missing"}, "services"),
        ({"linger": False}, "linger"),
        ({"disk_free": 358 << 20}, "reserve"),
    ],
)
def test_what_is_only_noted(change: dict[str, object], code: str) -> None:
    found = find_unready(replace(GOOD, **change), 1_000_000)  # type: ignore[arg-type]
    assert [(p.code, p.weight) for p in found] == [(code, Weight.NOTE)] and select_blocking(found) == ()


def test_all_is_said_at_once_the_worst_first() -> None:
    bad = replace(GOOD, git=None, pythons=(), linger=False, home_state=HomeState.FULL)
    assert [p.code for p in find_unready(bad)] == ["python", "git", "disk", "linger"]


def test_the_disk_that_work_needs_is_the_reserve_of_a_node() -> None:
    assert NodeSettings.model_fields["disk_reserve"].default == WORKING_DISK


def test_an_unknown_clock_or_disk_is_no_problem() -> None:
    assert find_unready(replace(GOOD, wall_ms=None, disk_free=None), 1) == ()


def test_which_python_and_whose_wheels() -> None:
    many = (
        Python("/a", (3, 11, 9)),
        Python("/b", (3, 13, 1)),
        Python("/c", (3, 13, 2)),
        Python("/d", (3, 9, 1)),
        Python("/e", (3, 14, 4)),
    )
    probe = replace(GOOD, pythons=many)
    assert [p.path for p in list_pythons(probe)] == ["/c", "/b", "/a", "/e"]
    assert [w.key for _, w in list_platforms(probe)] == [
        "cp313-x86_64-glibc2.36",
        "cp313-x86_64-glibc2.36",
        "cp311-x86_64-glibc2.36",
        "cp314-x86_64-glibc2.36",
    ]
    assert list_platforms(replace(probe, libc=Libc(LibcKind.MUSL, (1, 2)))) == ()


def test_the_probe_looks_for_each_python() -> None:
    """By its name on the PATH, and where pyenv and uv put it."""
    text = files("pancode.fleet.ssh.scripts").joinpath("link.py").read_text()
    for major, minor in MINORS:
        assert f"python{major}.{minor} " in text
        assert len(re.findall(rf"3\.1\[\d*{minor % 10}\d*\]\*/bin", text)) == 2


def test_the_probe_looks_for_each_tool_that_is_needed() -> None:
    """One that it does not look for would be missing everywhere."""
    looked_for = PROBE.partition("for q in timeout")[2].partition("; do")[0].split()
    assert {"timeout", *looked_for} >= {*NEEDED_TOOLS}
