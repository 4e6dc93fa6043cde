"""Reads the version of an installed program, and its Python environment, without starting the program."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pydantic

from node_agent.runtimes.base import Program


def environment_of(program: str) -> str | None:
    """Return the virtual environment whose `bin` contains this program or the target of its link, or None.

    Only one link is followed: the environment's Python is itself a link to the Python from which it was made,
    and a sandbox shows no links in between.
    """
    places = [program]
    with suppress(OSError):
        places.append(os.path.join(os.path.dirname(program), os.readlink(program)))
    folders = (os.path.dirname(os.path.dirname(os.path.normpath(place))) for place in places)
    return next((one for one in folders if os.path.isfile(os.path.join(one, "pyvenv.cfg"))), None)


def found_environment(name: str, path: str) -> str | None:
    """Return the virtual environment of the program with that name on `path` (PATH), or None."""
    found = shutil.which(name, path=path)
    return None if found is None else environment_of(os.path.abspath(found))


def version_in(environment: str, package: str) -> str | None:
    """Return the version of a package as its installer recorded it, without starting anything."""
    name = f"{package.replace('-', '_')}-"
    with suppress(OSError):
        for folder in sorted(Path(environment, "lib").glob("python3*/site-packages")):
            for entry in folder.glob(f"{name}*.dist-info"):
                return entry.name.removeprefix(name).removesuffix(".dist-info")
    return None


def file_of(name: str, path: str) -> tuple[str, int, int] | None:
    """Return the program's path and two numbers of its file that change when an update replaces the file."""
    found = shutil.which(name, path=path)
    with suppress(OSError):
        if found is not None:
            seen = os.stat(found)
            return found, seen.st_ino, seen.st_ctime_ns
    return None


RECORD = "installed.json"
"""In the node's home: the record of programs that `node install` installed, so that it can remove them."""


@dataclass(frozen=True, slots=True)
class InstalledProgram:
    """A program installed by PanCode. `sha256`: of the file to which the program's name leads. `chosen`:
    whether the owner named a version."""

    runtime: str
    package: str
    version: str
    sha256: str
    chosen: bool = False


def read_installed(home: Path) -> dict[str, InstalledProgram]:
    """Return the installed programs by runtime, without those that were removed. `home`: the node's home."""
    try:
        known = json.loads((home / RECORD).read_bytes())
        return {one["runtime"]: InstalledProgram(**one) for one in known}
    except FileNotFoundError:
        return {}


def read_choices(home: Path) -> dict[str, str]:
    """Return `newest`, or `chosen` if the owner named a version, by runtime; empty if the record is
    unreadable."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return {name: "chosen" if one.chosen else "newest" for name, one in read_installed(home).items()}
    return {}


PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = os.path.dirname(os.path.dirname(os.path.abspath(pydantic.__file__)))
"""The folders of the node agent's own code and of its libraries: PanCode's workers run on both."""
HEAD, MOST = 256, 1 << 20
FOLDERS = 6
"""The maximum number of folders between a program and the top folder of its package."""


def written_version(program: Program, path: str) -> str | None:
    """Return the version recorded in the installation on disk; None if it cannot be read."""
    if not program.environment:
        return installed_version(program.name, program.package, path)
    found = found_environment(program.name, path)
    return None if found is None else version_in(found, program.package)


def installed_version(program: str, package: str, path: str) -> str | None:
    """Return the package's version; None if the program is not part of it or its interpreter is missing."""
    found = shutil.which(program, path=path)
    if found is None:
        return None
    real = Path(os.path.realpath(found))
    try:
        if not _starter_is_there(real, path):
            return None
        return _read_version(real, package)
    except (OSError, ValueError):
        return None


def _read_version(real: Path, package: str) -> str | None:
    for folder in list(real.parents)[:FOLDERS]:
        manifest = folder / "package.json"
        if manifest.is_file() and manifest.stat().st_size <= MOST:
            parsed = json.loads(manifest.read_bytes())
            if isinstance(parsed, dict) and parsed.get("name") == package:
                version = parsed.get("version")
                return version if isinstance(version, str) else None
    return None


def _starter_is_there(real: Path, path: str) -> bool:
    """Whether a script's interpreter exists; without the interpreter the script does not start."""
    with real.open("rb") as f:
        head = f.read(HEAD)
    if not head.startswith(b"#!"):
        return True
    words = head[2:].partition(b"\n")[0].decode("utf-8", "replace").split()
    if words and words[0].endswith("/env"):
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return bool(words) and shutil.which(words[0], path=path) is not None
