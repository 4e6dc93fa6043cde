"""Compiles a bundle's Python files once, on the coordinator, if its Python has the node's minor version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pancode.fleet.bundle import compiler
from pancode.fleet.bundle.archive import Contents
from pancode.fleet.bundle.errors import BundleError
from pancode.fleet.bundle.platform import NodePlatform

OWN = "lib/node_agent/"
BY_THEMSELVES = tuple(
    f"{OWN}{part}"
    for part in (
        *("__init__.py", "files/", "gateway/", "sandbox/", "shim/", "link/__init__.py", "link/trusting.py"),
        *("vault/__init__.py", "vault/redact.py"),
        *("policy/__init__.py", "policy/commands/__init__.py", "policy/commands/tree.py"),
    )
)
"""The files of the programs that the node agent starts for a run."""
MOST_WORKERS = 4
TIMEOUT_S = 300
ROOM = 64 << 20
"""If fewer bytes than this are free, a failed compilation is blamed on a full disk."""


def can_run_on(platform: NodePlatform) -> bool:
    """Return whether our bytecode runs on the platform: the minor version of Python must be the same."""
    return sys.implementation.name == "cpython" and sys.version_info[:2] == platform.python[:2]


def list_paths(name: str) -> dict[str, int]:
    """Return the paths of the bytecode of `name`, each with its optimization level.

    The node agent and its libraries run without docstrings. Libraries are sent as bytecode only, which halves
    the number of files. PanCode's sources are included for tracebacks. Programs that are started for runs are
    also compiled without optimization.
    """
    if not name.startswith("lib/") or not name.endswith(".py"):
        return {}
    if not name.startswith(OWN):
        return {f"{name}c": 2}
    return {
        find_cached_path(name, level): level for level in ((0, 2) if name.startswith(BY_THEMSELVES) else (2,))
    }


def find_cached_path(name: str, level: int) -> str:
    """Return the path where an interpreter of this version looks for the bytecode of `name`."""
    path = PurePosixPath(name)
    tag = sys.implementation.cache_tag
    optimised = f".opt-{level}" if level else ""
    return str(path.parent / "__pycache__" / f"{path.stem}.{tag}{optimised}.pyc")


def with_bytecode(contents: Contents, scratch: Path) -> dict[str, Path | bytes]:
    """Return the files to pack for a node that runs our bytecode; compiled in `scratch`. Separate processes
    compile, so that the coordinator continues. The same sources give the same bytes. Raises BundleError."""
    wishes: dict[str, compiler.Wish] = {}
    for name in sorted(contents):
        for place, level in list_paths(name).items():
            path = scratch / str(len(wishes))
            wishes[place] = (str(_require_file(contents[name], path)), f"{path}.pyc", name, level)
    _run([*wishes.values()], scratch)
    made = {place: Path(wish[1]) for place, wish in wishes.items()}
    compiled = {place: path for place, path in made.items() if path.exists()}
    return {name: source for name, source in contents.items() if f"{name}c" not in compiled} | compiled


def _require_file(source: Path | bytes, place: Path) -> Path:
    if isinstance(source, bytes):
        place.write_bytes(source)
        return place
    return source


def _run(wishes: Sequence[compiler.Wish], scratch: Path) -> None:
    workers = max(1, min(MOST_WORKERS, os.cpu_count() or 1))
    running = [_start(wishes[part::workers], scratch / f"{part}.json") for part in range(workers)]
    try:
        for process in running:
            if process.wait(TIMEOUT_S):
                raise _make_compile_error(f"exit status {process.returncode}", scratch.parent)
    except subprocess.TimeoutExpired as error:
        raise _make_compile_error(str(error), scratch.parent) from error
    finally:
        for process in running:
            process.kill()
            process.wait()


def _make_compile_error(why: str, folder: Path) -> BundleError:
    """Return the error for a failed compiler, with the free space if the disk is nearly full, else the log's
    path."""
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        why, fix = f"{why}; {free >> 20} MiB free at {folder}", f"free some disk space there: df -h {folder}"
    else:
        fix = f"for details: {folder.parent}/run/coordinator.log"
    return BundleError("cannot compile the node bundle", why=why, fix=fix)


def _start(wishes: Sequence[compiler.Wish], listing: Path) -> subprocess.Popen[bytes]:
    listing.write_text(json.dumps(wishes))
    program = (sys.executable, "-I", "-S", "-B", str(Path(compiler.__file__)))
    with listing.open("rb") as file:
        return subprocess.Popen(program, stdin=file, stdout=subprocess.DEVNULL)
