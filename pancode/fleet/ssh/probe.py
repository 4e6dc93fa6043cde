"""Reads the output of a probe: the node's system, Pythons, disk, tools, and any PanCode files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.scripts.link import PROBE, parse_report

PROBE_TIMEOUT_S = 30


class LibcKind(StrEnum):
    GLIBC = "glibc"
    MUSL = "musl"
    UNKNOWN = "unknown"


class HomeState(StrEnum):
    """The kind of file system that the home folder is on."""

    OK = "ok"
    READ_ONLY = "read_only"
    FULL = "full"
    NOEXEC = "noexec"


@dataclass(frozen=True, slots=True)
class Libc:
    kind: LibcKind
    version: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Python:
    """One Python interpreter on the node."""

    path: str
    version: tuple[int, int, int]
    implementation: str = "cpython"
    abiflags: str = ""
    pointer_bytes: int = 8

    @property
    def minor(self) -> tuple[int, int]:
        return self.version[:2]

    @property
    def text(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True)
class NodeProbe:
    """All facts that bring-up depends on. Sizes in bytes, times in milliseconds."""

    os: str
    arch: str
    kernel: str
    hostname: str
    uid: int
    user: str
    home: str
    shell: str
    libc: Libc
    pythons: tuple[Python, ...]
    git: tuple[int, ...] | None
    disk_free: int | None
    home_state: HomeState
    home_detail: str
    wall_ms: int | None
    boot_id: str
    user_services: str
    """The output of `systemctl --user is-system-running`; `missing` where there is no systemctl."""
    linger: bool
    tools: tuple[tuple[str, str], ...]
    """(name, absolute path) of each tool that was found on the node."""
    node_home: str
    current: str | None
    bundles: tuple[str, ...]
    has_key: bool
    agent: str
    """`running`, `stopped` or `absent`, by the lock that a running node agent keeps."""
    cpus: int | None = None
    memory: int | None = None
    path: str = ""
    """PATH of agents and probes, as the owner wrote it into the node's `node.json`; empty: not written."""
    named: str = ""
    """The node name under which the requesting fleet has set up this home; empty: not set up yet."""
    layout: int | None = None
    """The version number of the home's layout; None: no node agent has written it, or it is not a number."""
    asked_ms: tuple[int, int] = (0, 0)
    """The coordinator's wall clock just before and after the probe; the node's `wall_ms` is in between."""

    def tool(self, name: str) -> str | None:
        return dict(self.tools).get(name)

    @property
    def services_usable(self) -> bool:
        """Whether a systemd user manager answers; a degraded manager (some unit failed) is usable, too."""
        return self.user_services in ("running", "degraded", "starting")


async def probe_node(remote: Remote, fleet: str, node_home: str | None = None) -> NodeProbe:
    """Collect all facts with one command. Raises ValueError if the node's shell does not run it."""
    done = await remote.script(PROBE, [fleet, node_home or ""], PROBE_TIMEOUT_S)
    return parse_probe(done.text)


def parse_probe(text: str) -> NodeProbe:
    """Parse the probe's output, without what the login shell printed. ValueError if it is incomplete."""
    pairs = parse_report(text)
    one = dict(pairs)
    missing = [k for k in ("os", "arch", "uid", "home", "node_home") if not one.get(k)]
    if missing:
        raise ValueError(f"the probe did not report {', '.join(missing)}")
    state, detail = _home_state(one.get("home_write", "no answer"), one.get("home_exec", ""))
    return NodeProbe(
        os=one["os"],
        arch={"amd64": "x86_64", "arm64": "aarch64"}.get(one["arch"], one["arch"]),
        kernel=one.get("kernel", ""),
        hostname=one.get("hostname", ""),
        uid=int(one["uid"]),
        user=one.get("user", ""),
        home=one["home"],
        shell=one.get("shell", ""),
        libc=parse_libc(one.get("libc", "")),
        pythons=_parse_pythons([v for k, v in pairs if k == "python"]),
        git=_parse_version(one.get("git", "")) if one.get("git", "").startswith("git version") else None,
        disk_free=_parse_disk(one.get("disk", "")),
        home_state=state,
        home_detail=detail,
        wall_ms=_parse_int(one.get("wall_ms", "")),
        boot_id=one.get("boot_id", ""),
        user_services=one.get("user_services", "missing"),
        linger=one.get("linger", "") == "Linger=yes",
        tools=tuple((k[5:], v) for k, v in pairs if k.startswith("tool.") and v.startswith("/")),
        node_home=one["node_home"],
        current=one.get("current") or None,
        bundles=tuple(sorted(v for k, v in pairs if k == "bundle")),
        has_key=one.get("has_key") == "yes",
        agent=one.get("agent") or "absent",
        cpus=_parse_int(one.get("cpus", "")),
        memory=kb * 1024 if (kb := _parse_int(one.get("memory_kb", ""))) else None,
        path=one.get("path", ""),
        named=one.get("named", ""),
        layout=_parse_int(one.get("layout", "")),
    )


def parse_libc(text: str) -> Libc:
    """Parse `glibc 2.36`, `ldd (GNU libc) 2.36`, `musl libc (x86_64)`."""
    low = text.lower()
    if "musl" in low:
        return Libc(LibcKind.MUSL, _parse_version(text) or ())
    if "glibc" in low or "gnu libc" in low:
        found = re.findall(r"(\d+)\.(\d+)", text)
        return Libc(LibcKind.GLIBC, tuple(map(int, found[-1])) if found else ())
    return Libc(LibcKind.UNKNOWN, ())


def _parse_pythons(lines: list[str]) -> tuple[Python, ...]:
    """Parse `IMPLEMENTATION VERSION ABIFLAGS POINTER RELEASELEVEL PATH`; other lines are dropped."""
    found: dict[str, Python] = {}
    for line in lines:
        match = re.fullmatch(r"(\w+) (\d+)\.(\d+)\.(\d+) (\S+) ([48]) final (/.*)", line)
        if match:
            version = (int(match[2]), int(match[3]), int(match[4]))
            flags = "" if match[5] == "-" else match[5]
            found.setdefault(match[7], Python(match[7], version, match[1], flags, int(match[6])))
    return tuple(found.values())


def _home_state(answer: str, runs: str) -> tuple[HomeState, str]:
    if answer == "full":
        return HomeState.FULL, "a file could not be written"
    if answer != "ok":
        full = "no space" in answer.lower()
        return (HomeState.FULL if full else HomeState.READ_ONLY), answer.removeprefix("no ").strip()
    return (HomeState.NOEXEC, "mounted noexec") if runs == "no" else (HomeState.OK, "")


def _parse_version(text: str) -> tuple[int, ...] | None:
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(g) for g in match.groups() if g is not None) if match else None


def _parse_disk(line: str) -> int | None:
    """Parse the fourth column of `df -Pk`, counted from the mount point: a device name may contain blanks."""
    match = re.search(r"\s(\d+)\s+(\d+)\s+(-?\d+)\s+\d+%\s+/", line)
    return int(match[3]) * 1024 if match else None


def _parse_int(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None
