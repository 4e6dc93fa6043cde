"""Decides from a probe whether a node can run the node agent, with a fix for each obstacle (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node_agent.wire.node import HOME_LAYOUT
from pancode.fleet.bundle.platform import MACHINES, MINORS, OLDEST_GLIBC, NodePlatform
from pancode.fleet.ssh.probe import HomeState, LibcKind, NodeProbe, Python

OLDEST_GIT = (2, 31)
"""The oldest usable git: older ones ignore settings from the environment, and so our hardening."""
NEEDED_DISK = 160 << 20
"""Free bytes that a new node's home folder needs for the archive, the unpacked bundle and the journal."""
WORKING_DISK = 512 << 20
"""Free bytes below which a node accepts no run: the default of `NodeSettings.disk_reserve`."""
_COREUTILS = ("timeout", "mktemp", "sha256sum", "cut", "tr", "head", "tail", "sort", "stat", "readlink", "id")
NEEDED_TOOLS = {
    **dict.fromkeys(_COREUTILS, "coreutils"),
    **dict.fromkeys(("setsid", "flock"), "util-linux"),
    **{name: name for name in ("tar", "gzip", "sed", "grep")},
    "find": "findutils",
}
"""The programs that bring-up, probes and `node rm` run on a node, with the package of each."""
LARGEST_SKEW_MS = 30_000


class Weight(StrEnum):
    """How serious a problem is: `stop` prevents bring-up; `note` is only shown in the readiness table."""

    STOP = "stop"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class NotReady:
    """One problem of a node, and its fix."""

    code: str
    what: str
    fix: str
    weight: Weight = Weight.STOP


def find_unready(probe: NodeProbe, now_ms: int | None = None) -> tuple[NotReady, ...]:
    """Return all problems, the worst first. `now_ms`: the coordinator's clock at the probe, for the skew."""
    fit = [*_check_system(probe), *_check_python(probe), *_check_programs(probe), *_check_home(probe)]
    found = [*fit, *_check_layout(probe), *_list_notes(probe, now_ms)]
    return tuple(sorted(found, key=lambda p: p.weight is Weight.NOTE))


def select_blocking(found: tuple[NotReady, ...]) -> tuple[NotReady, ...]:
    """Return the problems that prevent bring-up."""
    return tuple(p for p in found if p.weight is Weight.STOP)


def list_pythons(probe: NodeProbe) -> tuple[Python, ...]:
    """Return the interpreters that can run the node agent, the best first."""
    fit = [p for p in probe.pythons if _is_usable(p)]
    return tuple(sorted(fit, key=lambda p: (MINORS.index(p.minor), -p.version[2])))


def list_platforms(probe: NodeProbe) -> tuple[tuple[Python, NodePlatform], ...]:
    """Return each usable interpreter with the platform for which wheels are chosen, the best first."""
    version = probe.libc.version
    if probe.libc.kind is not LibcKind.GLIBC or len(version) < 2 or probe.arch not in MACHINES:
        return ()
    glibc = (version[0], version[1])
    return tuple((p, NodePlatform(p.version, probe.arch, glibc)) for p in list_pythons(probe))


def _is_usable(python: Python) -> bool:
    standard = python.implementation == "cpython" and not python.abiflags and python.pointer_bytes == 8
    return standard and python.minor in MINORS


def _check_system(probe: NodeProbe) -> list[NotReady]:
    if probe.os != "Linux":
        return [
            NotReady(
                "os",
                f"it runs {probe.os}; nodes are Linux machines",
                "use a Linux machine or virtual machine",
            )
        ]
    out = []
    if probe.arch not in MACHINES:
        out.append(
            NotReady("machine", f"the node's processor is {probe.arch}", f"use one of {', '.join(MACHINES)}")
        )
    libc = probe.libc
    if libc.kind is not LibcKind.GLIBC or libc.version[:2] < OLDEST_GLIBC:
        found = f"{libc.kind} {'.'.join(map(str, libc.version))}".strip()
        out.append(
            NotReady("libc", f"the node's C library is {found}", "use a system with glibc 2.17 or newer")
        )
    return out


def _check_python(probe: NodeProbe) -> list[NotReady]:
    if list_pythons(probe):
        return []
    have = ", ".join(sorted({p.text for p in probe.pythons})) or "none"
    return [
        NotReady(
            "python",
            f"no CPython 3.11 to 3.14 was found (found: {have})",
            "install one on the node: `uv python install 3.13` works on every system and without root; or "
            "install the system's package, if it is one of these versions",
        )
    ]


def _check_programs(probe: NodeProbe) -> list[NotReady]:
    out = [
        NotReady(
            f"tool_{name}",
            f"the program {name} is missing",
            f"install {package} on the node, e.g. `apt install {package}`",
        )
        for name, package in NEEDED_TOOLS.items()
        if probe.tool(name) is None
    ]
    if probe.git is None:
        out.append(NotReady("git", "git is missing", "install git on the node, e.g. `apt install git`"))
    elif probe.git < OLDEST_GIT:
        version = ".".join(map(str, probe.git))
        out.append(NotReady("git", f"git {version} is too old", "install git 2.31 or newer on the node"))
    return out


def _check_home(probe: NodeProbe) -> list[NotReady]:
    where = probe.home
    if probe.home_state is HomeState.READ_ONLY:
        why = f" ({probe.home_detail})" if probe.home_detail else ""
        return [NotReady("home", f"{where} is not writable{why}", "make the home folder writable")]
    if probe.home_state is HomeState.NOEXEC:
        fix = "mount it without noexec, or set PANCODE_NODE_HOME on the node to a folder on another mount"
        return [NotReady("home", f"{where} is mounted noexec", fix)]
    full = probe.home_state is HomeState.FULL
    if full or (probe.disk_free is not None and probe.disk_free < NEEDED_DISK):
        free = "nothing" if full or not probe.disk_free else f"{probe.disk_free >> 20} MB"
        return [
            NotReady(
                "disk", f"only {free} is free in {where}", f"free at least {NEEDED_DISK >> 20} MB on the node"
            )
        ]
    return []


def _check_layout(probe: NodeProbe) -> list[NotReady]:
    """Return the problem of a home layout that is too new, before any change is made to the node."""
    if probe.layout is None or probe.layout <= HOME_LAYOUT:
        return []
    newer = f"{probe.node_home} has layout {probe.layout}, which a newer PanCode wrote"
    fix = (
        "start this fleet with the last version of PanCode used here, or a newer one; or remove "
        "the node (pancode node rm NAME) and add it again"
    )
    return [NotReady("layout", f"{newer}; this version supports layouts up to {HOME_LAYOUT}", fix)]


def _list_notes(probe: NodeProbe, now_ms: int | None) -> list[NotReady]:
    out = []
    if probe.disk_free is not None and NEEDED_DISK <= probe.disk_free < WORKING_DISK:
        text = f"the node accepts no runs: only {probe.disk_free >> 20} MB is free in {probe.home}"
        out.append(_note("reserve", text, f"free at least {WORKING_DISK >> 20} MB on the node"))
    if probe.wall_ms is not None and now_ms is not None and abs(probe.wall_ms - now_ms) > LARGEST_SKEW_MS:
        skew = (probe.wall_ms - now_ms) / 1000
        out.append(
            _note(
                "clock",
                f"the node's clock is off by {skew:+.0f} s",
                "turn on time synchronization on the node",
            )
        )
    if not probe.services_usable:
        text = "no systemd user services: after a reboot, the node agent starts only at the next contact"
        out.append(_note("services", text, ""))
    elif not probe.linger:
        fix = f"run on the node as root: loginctl enable-linger {probe.user}"
        out.append(_note("linger", "user services stop when the user's last login ends", fix))
    return out


def _note(code: str, what: str, fix: str) -> NotReady:
    return NotReady(code, what, fix, Weight.NOTE)
