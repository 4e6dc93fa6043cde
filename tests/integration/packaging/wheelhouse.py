"""A folder with the locked wheels that an installed coordinator stands on, fetched once and kept."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pancode.adapters.bundle.installed import closure
from pancode.adapters.bundle.platform import NodePlatform
from tests.clis.install import ROOT, cache

LOCK = ROOT / "requirements" / "lock.txt"
FETCH_S = 600
BESIDE = ("psycopg", "psycopg-binary")
"""Of the extra `postgresql`."""
OLDER = ("async-timeout",)
"""Which only a Python before 3.11.3 needs, as Debian 12 has."""


def wheelhouse() -> Path:
    """The folder; nothing in it but what the lock names, checked by its hash."""
    listing = _listing()
    name = f"wheels-{hashlib.sha256(listing.encode()).hexdigest()[:12]}"
    folder = cache().parent / name
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _fetch(listing, folder)
    return folder


def _listing() -> str:
    """Of the locked list what `pip install pancode` would bring here."""
    major, minor = (int(part) for part in platform.libc_ver()[1].split(".")[:2])
    here = NodePlatform(sys.version_info[:3], platform.machine(), (major, minor))
    wanted = {_normal(found.metadata["Name"]) for found in closure(here, ("pancode",))} | set(BESIDE)
    blocks = re.split(r"^(?=\S)", LOCK.read_text(), flags=re.MULTILINE)
    named = [(_normal(block.partition("==")[0]), block) for block in blocks if block]
    older = [re.sub(r" ;[^\\\n]*", " ", block) for name, block in named if name in OLDER]
    return "".join([*(block for name, block in named if name in wanted), *older])


def _fetch(listing: str, folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    locked = part / "locked.txt"
    locked.write_text(listing)
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
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
