"""Makes and stores bundles: from this installation if it fits, else by download; one archive per content."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from pancode import __version__
from pancode.fleet.bundle import download, installation
from pancode.fleet.bundle.archive import (
    Bundle,
    Contents,
    format_manifest,
    hash_manifest,
    pack_bundle,
    sha256_of,
)
from pancode.fleet.bundle.contents import assemble_bundle, node_agent_files, node_agent_folder
from pancode.fleet.bundle.errors import BundleError, NotHere
from pancode.fleet.bundle.platform import NodePlatform

LAST = 1
"""How many unused archives are retained, so that a user can go back to an earlier version."""
Source = Callable[[NodePlatform], Contents]
"""Returns the libraries for a platform, or raises NotHere."""


class BundleStore:
    """The bundles in one folder. Thread-safe; a second call for the same platform is fast."""

    def __init__(
        self, folder: Path, sources: Sequence[Source] | None = None, agent: Path | None = None, level: int = 6
    ) -> None:
        self.folder = folder
        self._sources = sources or (
            installation.collect_libraries,
            lambda p: download.fetch_libraries(p, folder / "wheels"),
        )
        self._agent = agent
        self._level = level
        self._lock = threading.Lock()
        self._made: dict[tuple[int, str], Bundle] = {}
        """By source and platform, with the patch level of Python."""

    def bundle_for(self, platforms: Sequence[NodePlatform]) -> tuple[NodePlatform, Bundle]:
        """Return the bundle for the first platform (one for each Python of the node) that has libraries.

        The first source of libraries needs no network; it is tried for all platforms before the second one.
        BundleError.
        """
        with self._lock:
            reasons: list[str] = []
            for index, source in enumerate(self._sources):
                for platform in platforms:
                    try:
                        # Requirements depend on the patch level: redis needs async-timeout before 3.11.3.
                        key = (index, f"{platform.key}-{platform.python[2]}")
                        if key not in self._made or not self._made[key].path.exists():
                            self._made[key] = self._build(source(platform), platform)
                        return platform, self._made[key]
                    except NotHere as reason:
                        reasons.append(str(reason))
        raise BundleError(
            f"no node bundle for {', '.join(p.key for p in platforms) or 'this node'}",
            why="; ".join(dict.fromkeys(reasons)),
            fix="give pip access to its package index once, or install a supported Python on the node",
        )

    def _build(self, libraries: Contents, platform: NodePlatform) -> Bundle:
        agent = node_agent_files(self._agent or node_agent_folder())
        contents = assemble_bundle(libraries, agent, platform, __version__)
        listing = format_manifest(contents)
        name = hash_manifest(listing)
        path = self.folder / f"{name}.tar.gz"
        if not path.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            pack_bundle(contents, listing, path, self._level)
            # Archives of all versions would fill the disk: only those in use and the most recent unused one
            # are kept.
            used = {path, *(bundle.path for bundle in self._made.values())}
            for old in list_unused(self.folder, used)[LAST:]:
                old.unlink(missing_ok=True)
        os.utime(path)  # updates the time of last use, which the pruning reads
        return Bundle(name, path, platform.python[:2], __version__, sha256_of(path))


def list_unused(folder: Path, used: Collection[Path] = ()) -> list[Path]:
    """Return the archives in the folder that are not in use, the most recently used first."""
    found = [path for path in folder.glob("*.tar.gz") if path not in used]
    return sorted(found, key=_read_mtime, reverse=True)


def _read_mtime(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
