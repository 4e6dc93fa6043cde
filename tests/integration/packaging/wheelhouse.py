"""A folder with the locked wheels that an installed coordinator stands on, fetched once and kept."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.clis.install import ROOT, cache

LOCK = ROOT / "requirements" / "lock.txt"
COORDINATOR = ROOT / "requirements" / "coordinator.txt"
DASHBOARD = ROOT / "requirements" / "dashboard.txt"
FETCH_S = 600
OLDER = ("async-timeout",)
"""Which only a Python before 3.11.3 needs, as Debian 12 has."""


def wheelhouse(python: str = sys.executable) -> Path:
    """The folder for that Python; nothing in it but what the locked lists name, checked by its hash."""
    version = _version(python)
    listing = _listing()
    told = f"{version[:2]}{listing}"
    folder = cache().parent / f"wheels-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _fetch(python, listing, folder)
    return folder


def _version(python: str) -> tuple[int, int, int]:
    tell = "import sys; print(*sys.version_info[:3])"
    said = subprocess.run([python, "-c", tell], capture_output=True, text=True, check=True).stdout
    major, minor, micro = (int(part) for part in said.split())
    return major, minor, micro


def _listing() -> str:
    """The locked list of the coordinator, which has what its libraries' extras bring, and the dashboard's."""
    wanted, named = set(_blocks(COORDINATOR)), _blocks(LOCK)
    older = re.sub(r" ;[^\\\n]*", " ", "".join(named.pop(name) for name in OLDER))
    chosen = {**_blocks(DASHBOARD), **{name: named[name] for name in sorted(wanted & set(named))}}
    return "".join(block for name, block in chosen.items() if name not in OLDER) + older


def _blocks(listing: Path) -> dict[str, str]:
    """Each name with its version and hashes."""
    blocks = re.split(r"^(?=\S)", listing.read_text(), flags=re.MULTILINE)
    return {_normal(block.partition("==")[0]): block for block in blocks if block}


def _fetch(python: str, listing: str, folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    locked = part / "locked.txt"
    locked.write_text(listing)
    argv = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    argv += ["--require-hashes", "-r", str(locked), "-d", str(part)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=FETCH_S, check=False)
    assert done.returncode == 0, done.stderr
    os.replace(part, folder)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0].strip()).lower()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
