"""Collects the files of a bundle: the node agent's own, its libraries, the launcher and metadata."""

from __future__ import annotations

import importlib.util
import json
import re
from importlib import resources
from pathlib import Path

from pancode.fleet.bundle.archive import Contents
from pancode.fleet.bundle.platform import NodePlatform

_SKIPPED_FOLDERS = frozenset({"__pycache__", "tests", "testing", "test"})
_SKIPPED_SUFFIXES = (".pyc", ".pyo", ".pyi", ".c", ".h", ".pxd")
_UNUSED = re.compile(
    # cffi's generator of C interfaces (only cffi's compiled part is used), the trio event loop, WebSockets.
    r"cffi/|pycparser/|anyio/(?:_backends/_trio|pytest_plugin)\.py|httpx2/websockets/"
    # RQ needs these libraries only for its command line and its calendar.
    r"|rq/cli/|click/|croniter/|dateutil/|tzdata/"
    # Pynvml's example file.
    r"|example\.py$"
)
"""Parts of the libraries that a node never imports."""


def is_needed(path: str) -> bool:
    """Return whether a library's file is used at run time."""
    parts = path.split("/")
    if ".." in parts or path.startswith("/") or path.endswith(_SKIPPED_SUFFIXES):
        return False
    if len(parts) > 1 and parts[0].endswith(".dist-info"):
        return parts[-1] == "METADATA" or "licen" in path.lower()
    return not _SKIPPED_FOLDERS & set(parts[:-1])


def node_agent_folder() -> Path:
    """Return the folder of the node agent's code, which is sent as files and never imported here."""
    spec = importlib.util.find_spec("node_agent")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package node_agent is not installed next to pancode")
    return Path(next(iter(spec.submodule_search_locations)))


def node_agent_files(folder: Path) -> dict[str, Path | bytes]:
    """Return every source and data file of the node agent, as `node_agent/...`."""
    return {
        f"node_agent/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def assemble_bundle(
    libraries: Contents, agent: Contents, platform: NodePlatform, version: str
) -> dict[str, Path | bytes]:
    """Return the bundle's files: `start.py`, `bundle.json`, `lib/...`. The node compiles them when it unpacks
    them."""
    packages = sorted(
        n.split("/")[0].removesuffix(".dist-info") for n in libraries if n.endswith("/METADATA")
    )
    about = {
        "version": version,
        "python": f"3.{platform.minor}",
        "machine": platform.machine,
        "packages": sorted(set(packages)),
    }
    launcher = resources.files("pancode.fleet.bundle").joinpath("launcher.txt").read_bytes()
    out: dict[str, Path | bytes] = {
        "start.py": launcher,
        "bundle.json": json.dumps(about, sort_keys=True, indent=1).encode() + b"\n",
    }
    used = {name: source for name, source in libraries.items() if not _UNUSED.match(name)}
    for name, source in {**used, **agent}.items():
        out[f"lib/{name}"] = source
    return out
