"""Makes safe repairs on this machine, each one separately and after approval."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pancode import __version__
from pancode.app.doctor import node_homes
from pancode.app.init import find_missing, write_files
from pancode.interfaces.client.client import Client, try_get
from pancode.kernel.errors import PancodeError, WorkspaceError
from pancode.kernel.host.single_instance import holder_of

ASK_S = 5.0
_PRIVATE = ("key", "secrets", "receipts", "ledger.db", "settings.json")
"""Parts of the coordinator's home that only its owner may read; _OF_NODE: the same for a node's home."""
_OF_NODE = ("key", "secrets.json", "prices.json")
_SOCKETS = ("api.sock", "depot.sock")


@dataclass(frozen=True, slots=True)
class Repair:
    """A problem (`wrong`) and its repair; `act`: the command or sentence that describes the repair."""

    wrong: str
    act: str
    do: Callable[[], object]
    """Makes the repair. WorkspaceError or OSError if that fails."""


def list_repairs(home: Path, environ: Mapping[str, str]) -> Iterator[Repair]:
    """Yield each repair that would help now; the next is determined after the previous one was handled."""
    for path in (home, *_walk_paths(home, _PRIVATE)):
        yield from _open_to_others(path)
    for node in node_homes(home, environ):
        for path in (node, *_walk_paths(node, _OF_NODE)):
            yield from _open_to_others(path)
        yield from _left_checkouts(node)
    yield from _repair_configuration(home)
    if holder_of(home) is None:
        for path in (home / "run" / name for name in _SOCKETS):
            if path.is_socket():
                yield Repair(
                    f"{path} was left by a coordinator that is not running", f"rm {path}", path.unlink
                )
        return
    fleet = try_get(home, "/v1/fleet", ASK_S) or {}
    for node in fleet.get("nodes", ()):
        name, state, version = str(node["name"]), node["state"], node["version"]
        wrong = ""
        if state in ("unreachable", "lost") and node["linked"]:
            wrong = f"the link to {name} is up, but its node agent does not report"
        elif state in ("online", "draining", "drained") and version not in (None, __version__):
            wrong = f"the node agent of {name} has PanCode version {version}"
        if wrong:
            yield Repair(wrong, f"pancode fleet up {name}", partial(_run, "fleet", "up", name))
    if _leaves_room(home):
        yield Repair("old runs left files that are no longer needed", "pancode admin gc", partial(_run, "gc"))


def _walk_paths(home: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        path = home / name
        if os.path.lexists(path):
            yield path
        if path.is_dir() and not path.is_symlink():
            yield from sorted(path.rglob("*"))


def _open_to_others(path: Path) -> Iterator[Repair]:
    """Yield a repair if users other than the owner may read or write the file; symbolic links are ignored."""
    try:
        state = path.lstat()
    except OSError:
        return
    mode = stat.S_IMODE(state.st_mode)
    if stat.S_ISLNK(state.st_mode) or state.st_uid != os.getuid() or not mode & 0o077:
        return
    kept = mode & 0o700
    yield Repair(f"{path} has mode {mode:o}", f"chmod {kept:o} {path}", partial(path.chmod, kept))


def _left_checkouts(node: Path) -> Iterator[Repair]:
    """Yield a repair for each checkout of an attempt that is not in the node's journal. An attempt may work
    in the checkout of an earlier attempt, to which a link with its own name points."""
    # Order matters: an attempt gets its journal entry, then its link, then its checkout, perhaps just now.
    folders = sorted((node / "work").glob("r-*"))
    placed = [
        (link.name, os.readlink(link)) for link in (node / "work/.given").glob("r-*") if link.is_symlink()
    ]
    known = {entry.name for entry in (node / "journal").glob("r-*")}
    known |= {place for name, place in placed if name in known}
    for folder in folders:
        if folder.name not in known:
            wrong = f"{folder} is the checkout of a run that the node agent does not know"
            wrong += "; whatever exists only there will be deleted"
            yield Repair(wrong, f"rm -r {folder}", partial(_erase_folder, folder))


def _erase_folder(folder: Path) -> None:
    """Delete the folder, even if an agent removed its own write permission there."""
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False, capture_output=True)
    shutil.rmtree(folder)


def _repair_configuration(home: Path) -> Iterator[Repair]:
    names = find_missing(home)
    if names:
        wrong = f"{', '.join(names)} not found in {home}: the default values apply"
        yield Repair(wrong, "pancode init", partial(write_files, home))


def _leaves_room(home: Path) -> bool:
    """Whether the coordinator's garbage collection would delete anything."""
    try:
        plan = Client(home, starts=False).post("/v1/gc", {"dry_run": True, "by": "doctor"})
    except PancodeError:
        return False
    return bool(plan["changes"] or plan["logs"])


def _run(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pancode", *words], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise WorkspaceError(
            f"pancode {' '.join(words)} failed with exit status {done.returncode}",
            fix="the error of this command is above",
        )
