"""Selects the wheels that run on a node, from its Python, architecture and C library (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass

MINORS = ((3, 13), (3, 12), (3, 11), (3, 14))
"""The CPython versions that a node agent runs on, the preferred one first."""
MACHINES = ("x86_64", "aarch64")
OLDEST_GLIBC = (2, 17)
_LEGACY = {"manylinux2014": (2, 17), "manylinux2010": (2, 12), "manylinux1": (2, 5)}
_PLATFORM = re.compile(r"(manylinux_(\d+)_(\d+)|manylinux2014|manylinux2010|manylinux1)_(x86_64|aarch64)")


@dataclass(frozen=True, slots=True)
class NodePlatform:
    """CPython on Linux with glibc; nodes with another platform were refused earlier."""

    python: tuple[int, int, int]
    machine: str
    glibc: tuple[int, int]

    @property
    def minor(self) -> int:
        return self.python[1]

    @property
    def key(self) -> str:
        """Return a name for caches, e.g. `cp311-x86_64-glibc2.36`; patch levels are not distinguished."""
        return f"cp3{self.minor}-{self.machine}-glibc{self.glibc[0]}.{self.glibc[1]}"

    def accepts(self, tag: str) -> bool:
        """Return whether a wheel with this tag (`cp311-abi3-manylinux_2_34_x86_64`) runs on this platform."""
        parts = tag.split("-")
        return len(parts) == 3 and self._fits_python(parts[0], parts[1]) and self._fits_system(parts[2])

    def _fits_python(self, python: str, abi: str) -> bool:
        if python in ("py3", "py2.py3") and abi == "none":
            return True
        match = re.fullmatch(r"(?:cp|py)3(\d+)", python)
        if match is None:
            return False
        if abi == f"cp3{self.minor}":
            return int(match[1]) == self.minor
        return abi in ("abi3", "none") and int(match[1]) <= self.minor

    def _fits_system(self, platform: str) -> bool:
        if platform == "any":
            return True
        match = _PLATFORM.fullmatch(platform)
        if match is None or match[4] != self.machine:
            return False
        need = (int(match[2]), int(match[3])) if match[2] else _LEGACY[match[1]]
        return need <= self.glibc

    def pip_arguments(self) -> list[str]:
        """Return the pip options that select wheels for this node instead of the coordinator's machine."""
        out = ["--implementation", "cp", "--python-version", ".".join(map(str, self.python))]
        for abi in (f"cp3{self.minor}", "abi3", "none"):
            out += ["--abi", abi]
        major, top = self.glibc
        for low in range(top, OLDEST_GLIBC[1] - 1, -1):
            out += ["--platform", f"manylinux_{major}_{low}_{self.machine}"]
        return [*out, "--platform", f"manylinux2014_{self.machine}"]


def is_required(marker: str, python: tuple[int, int, int]) -> bool:
    """Return whether a requirement with this environment marker applies to CPython on Linux (no extras)."""
    if re.search(r"\bextra\s*==", marker):
        return False
    return all(_is_marker_true(part, python) for part in re.split(r"\band\b", marker) if part.strip())


def _is_marker_true(part: str, python: tuple[int, int, int]) -> bool:
    match = re.search(r"([a-z_]+)\s*(<=|>=|==|!=|<|>)\s*['\"]([^'\"]+)['\"]", part)
    if match is None:
        return True
    name, operator, value = match.groups()
    known = {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
    }
    if name in known:
        return (known[name] == value) == (operator == "==")
    if name in ("python_full_version", "python_version"):
        return _compare_versions(python[: 3 if name == "python_full_version" else 2], operator, value)
    return True


def _compare_versions(have: tuple[int, ...], operator: str, text: str) -> bool:
    want = tuple(int(n) for n in re.findall(r"\d+", text))
    width = max(len(have), len(want))
    a, b = have + (0,) * (width - len(have)), want + (0,) * (width - len(want))
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b, "!=": a != b}[operator]
