"""Restores a fleet on this machine: reaches the host or folder with the copies, holds the home's lock, fills
the home."""

from __future__ import annotations

import os
import shlex
import shutil
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from node_agent.wire.clock import SystemClock
from pancode.backups.answers import RestoredAnswer, StoredCopiesAnswer
from pancode.backups.model import CopyPlace, is_folder
from pancode.backups.places import FolderCopies, RemoteCopies
from pancode.backups.restore import OpenedCopies, Restore, choose_copy, must_be_empty, open_copies
from pancode.fleet.acts import NodeSpec
from pancode.fleet.ssh.connection import open_session
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.machines import look_at_host
from pancode.fleet.ssh.reach import login_for, reach_to
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.sshconfig import SshPlaces
from pancode.kernel.errors import ConfigError, NotFoundError, UsageError
from pancode.kernel.host.single_instance import HomeLock
from pancode.kernel.unfinished_restore import HARMLESS, RESTORING
from pancode.runs.views import format_iso

T = TypeVar("T")
OPEN_S = 120


@dataclass(frozen=True, slots=True)
class RestoreAsked:
    """A user's request. `spec`: the host with the copies, or a folder of this machine as its name; `command`:
    the command that the user typed; `accept`: asks whether a host key is correct and returns its fingerprint;
    `ask`: asks for the `key` or `passphrase`; `notify`: called with the files done and their number."""

    home: Path
    environ: Mapping[str, str]
    spec: NodeSpec
    fleet: str | None
    copy: str | None
    command: str
    accept: Callable[[dict[str, str]], str]
    ask: Callable[[str], str]
    notify: Callable[[int, int], None]

    @property
    def again(self) -> str:
        """Return the command that restores from there, without a copy."""
        spec, option = self.spec, "--from-folder" if is_folder(self.spec.name) else "--from"
        reach = {"--host": spec.host, "--user": spec.user, "--port": spec.port, "--identity": spec.identity}
        more = [word for name, value in reach.items() if value is not None for word in (name, str(value))]
        return shlex.join(("pancode", "admin", "restore", option, spec.name, *more))


def list_copies(asked: RestoreAsked) -> StoredCopiesAnswer:
    """Return the copies of a fleet on the host, newest first, and those that cannot be used."""
    with _copies_at(asked) as source:
        opened = _open(asked, source)
    return {
        "fleet": opened.fleet,
        "copies": [
            {
                "name": one.name,
                "taken_at": format_iso(one.taken_ms),
                "size": one.plain,
                "base": one.base or None,
                "files": one.files,
                "pancode": one.pancode,
            }
            for one in opened.whole
        ],
        "refused": dict(opened.refused),
    }


def restore_fleet(asked: RestoreAsked) -> RestoredAnswer:
    """Restore the fleet. Raises PancodeError; then the home is untouched, or has the mark of a restore that
    can be repeated."""
    must_be_empty(asked.home)
    with lock_home(asked.home), _copies_at(asked) as source:
        opened = _open(asked, source)
        head = choose_copy(opened, asked.copy)
        restoring = Restore(asked.home, SystemClock(), asked.command, asked.spec.name, asked.notify)
        done = restoring.run(opened, head, source)
    refused = [f"the copy {name} cannot be used: {why}" for name, why in opened.refused.items()]
    return {**done, "warnings": [*done["warnings"], *refused]}


def _open(asked: RestoreAsked, source: CopyPlace) -> OpenedCopies:
    found = source.look()
    fleet = choose_fleet({one.fleet for one in found}, asked)
    return open_copies(found, fleet, asked.ask, asked.again)


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Create the home, and hold its lock, so that no command starts a coordinator in a half-filled home. If
    nothing was written, remove what was created."""
    made = next((one for one in (home, home / "run") if not one.exists()), None)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
    except OSError as exc:
        fix = "set PANCODE_HOME to a directory that you own"
        raise ConfigError(f"cannot use {home}", why=str(exc), fix=fix) from exc
    lock = HomeLock(home)
    lock.take()
    try:
        yield
    finally:
        if made is not None and set(os.listdir(home)) <= HARMLESS - {RESTORING}:
            shutil.rmtree(made)
        lock.leave()


@contextmanager
def _copies_at(asked: RestoreAsked) -> Iterator[CopyPlace]:
    """Connect to the host as its user would, and yield the copies there; or those in the folder."""
    if is_folder(asked.spec.name):
        yield FolderCopies(asked.spec.name, "")
        return
    loop = LoopThread("restore")
    try:
        places = SshPlaces.of(asked.environ)
        offer = look_at_host(asked.spec, places, {}, places.home, loop)
        if not offer.known or asked.spec.fingerprint is not None:
            offer.check_accepted(asked.accept(offer.question()))
        login = login_for(reach_to(offer.target), (), places.home, places.environ)
        session = loop.call(open_session(offer.target, offer.pins, login), OPEN_S)
        try:
            remote = Remote(session)

            def begin(work: Callable[[Remote], Coroutine[Any, Any, T]]) -> Future[T]:
                return loop.begin(work(remote))

            yield RemoteCopies(begin, "", None, threading.Event())
        finally:
            loop.call(session.close(), OPEN_S)
    finally:
        loop.stop()


def choose_fleet(fleets: Collection[str], asked: RestoreAsked) -> str:
    """Return the fleet whose copies are meant. NotFoundError, UsageError if there are copies of several."""
    place, found = asked.spec.name, sorted(fleets)
    if asked.fleet in found:
        return asked.fleet
    if not found or asked.fleet is not None:
        what = f"{place} has no copies" + (f" of fleet {asked.fleet}" if asked.fleet else "")
        why = f"it has copies of {', '.join(found)}" if found else ""
        fix = "name another host, user or folder: --from HOST --user USER, --from-folder PATH"
        raise NotFoundError(what, why=why, fix=fix, code="no_copies")
    if len(found) > 1:
        what, fix = f"{place} has copies of several fleets", f"name one: {asked.again} --fleet {found[0]}"
        raise UsageError(f"{what}: {', '.join(found)}", fix=fix, code="several_fleets")
    return found[0]
