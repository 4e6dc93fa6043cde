"""Computes the cache key of a set-up: everything that its result is known to depend on."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import platform
import stat
from pathlib import Path

from node_agent.wire.order import Order

LOCKFILES = (
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "requirements*.txt",
    "Cargo.lock",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
)
"""Names in the checkout's top folder; patterns as a shell's."""
MANIFESTS = ("package.json", "pyproject.toml", "setup.py", "setup.cfg", "go.mod", "Cargo.toml", "Gemfile")
"""Further files that installers read, such as the entry points of an editable package."""


class NotCached(Exception):
    """Set-up runs as if there were no cache; the words say why, for a person."""


def machine() -> str:
    """Facts of this machine that compiled files depend on."""
    libc = "-".join(part for part in platform.libc_ver() if part)
    return f"{platform.system()} {platform.machine()} {libc} python {platform.python_version()}"


def key_of(order: Order, tree: Path, on: str) -> str:
    """SHA-256 over repository, set-up, folders, lockfiles and machine; NotCached without a lockfile.

    The files that set-up's words name belong to it too. `tree`: the checkout, before anything ran in it.
    """
    recipe = {
        "repository": order.workspace.repo,
        "setup": order.setup,
        "cache": sorted(order.cache),
        "lockfiles": _lockfiles(tree),
        "named": _named(order, tree),
        "machine": on,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _lockfiles(tree: Path) -> list[tuple[str, str]]:
    """Names and digests."""
    found = sorted(
        name
        for name in os.listdir(tree)
        if any(fnmatch.fnmatchcase(name, known) for known in (*LOCKFILES, *MANIFESTS))
    )
    if not found:
        raise NotCached(
            "the repository's top folder has no lockfile or manifest, such as uv.lock, package.json"
        )
    return [(name, _digest(tree / name)) for name in found]


def _named(order: Order, tree: Path) -> list[tuple[str, str]]:
    """Scripts of the repository's own that set-up runs or reads, as in `sh tools/setup.sh`."""
    words = sorted({os.path.normpath(word) for argv in order.setup for word in argv if "\0" not in word})
    inside = [word for word in words if not os.path.isabs(word) and not word.startswith("..")]
    return [(word, _digest(_here(tree, word))) for word in inside if os.path.isfile(tree / word)]


def _here(tree: Path, word: str) -> Path:
    """A file of the checkout itself: a link on the way to it may lead anywhere on this machine."""
    if os.path.realpath(tree / word) != os.path.join(os.path.realpath(tree), word):
        raise NotCached(f"{word} lies behind a link")
    return tree / word


def _digest(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise NotCached(f"{path.name} is no plain file") from exc
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotCached(f"{path.name} is no plain file")
        return hashlib.file_digest(file, "sha256").hexdigest()
