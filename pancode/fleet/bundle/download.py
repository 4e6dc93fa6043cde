"""Downloads the node agent's libraries for another platform with pip: wheels only, hashes required."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

from pancode.fleet.bundle.archive import Contents
from pancode.fleet.bundle.contents import is_needed
from pancode.fleet.bundle.errors import NotHere
from pancode.fleet.bundle.platform import NodePlatform

TIMEOUT_S = 300
PACKAGED = "node-requirements.txt"


def requirements_file() -> Path:
    """Return the hash-locked list of requirements, in the package or next to it in a checkout."""
    packaged = resources.files("pancode.fleet.bundle").joinpath(PACKAGED)
    beside = Path(__file__).parents[3] / "requirements" / "node.txt"
    for path in (Path(str(packaged)), beside):
        if path.is_file():
            return path
    raise NotHere("the locked requirements of the node agent are not installed")


def pip_command(platform: NodePlatform, requirements: Path, target: Path) -> list[str]:
    """Return pip's argument list: pip builds nothing, and installs only what the list names."""
    return [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"),
        *("--only-binary=:all:", "--require-hashes", "--no-deps", "-r", str(requirements), "-d", str(target)),
        *platform.pip_arguments(),
    ]


def fetch_libraries(platform: NodePlatform, cache: Path, requirements: Path | None = None) -> Contents:
    """Return the libraries' files, by path in `lib/`; fetched once per platform and list. NotHere: with pip's
    output."""
    listing = requirements or requirements_file()
    stamp = hashlib.sha256(listing.read_bytes()).hexdigest()[:12]
    folder = cache / f"{platform.key}-{stamp}"
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        wheels = part / "wheels"
        wheels.mkdir(parents=True)
        try:
            _run(pip_command(platform, listing, wheels))
            for wheel in sorted(wheels.glob("*.whl")):
                unpack_wheel(wheel, part / "lib")
            os.replace(part / "lib", folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"pip could not be run: {error}") from error
    if done.returncode:
        raise NotHere(f"pip found no wheels: {done.stderr.decode('utf-8', 'replace').strip()[-600:]}")


def unpack_wheel(wheel: Path, target: Path) -> None:
    """Put a wheel's importable files under `target`; leave out scripts, headers and other data."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            place = _place(name)
            if place and is_needed(place):
                path = target / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))


def _place(name: str) -> str:
    """Return the import path of a wheel's member; empty for a member that cannot be imported."""
    head, _, rest = name.partition("/")
    if name.endswith("/"):
        return ""
    if not head.endswith(".data"):
        return name
    kind, _, inner = rest.partition("/")
    return inner if kind in ("purelib", "platlib") else ""
