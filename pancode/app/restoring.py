"""Restores a fleet on this machine: reaches the host with the copies, holds the home's lock, fills the
home."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from node_agent.wire.clock import SystemClock
from pancode.app.single_instance import HomeLock
from pancode.backups.answers import RestoredAnswer, StoredCopiesAnswer, StoredCopyShape
from pancode.backups.remote_copies import RemoteCopies, find_fleets
from pancode.backups.restore import Restore, choose_copy, must_be_empty, open_copies
from pancode.fleet.acts import NodeSpec
from pancode.fleet.ssh.connection import open_session
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.machines import look_at_host
from pancode.fleet.ssh.reach import login_for, reach_to
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.sshconfig import SshPlaces
from pancode.kernel.errors import ConfigError, NotFoundError, UsageError
from pancode.kernel.formatting import format_seconds
from pancode.kernel.unfinished_restore import HARMLESS, RESTORING
from pancode.runs.views import format_iso

T = TypeVar("T")
OPEN_S = 120


@dataclass(frozen=True, slots=True)
class RestoreAsked:
    """A user's request. `command`: the command that the user typed; `accept`: asks whether a host key is
    correct and returns its fingerprint; `ask`: asks for the `key` or `passphrase`; `notify`: called with the
    files done and their number."""

    home: Path
    environ: Mapping[str, str]
    spec: NodeSpec
    fleet: str | None
    copy: str | None
    command: str
    accept: Callable[[dict[str, str]], str]
    ask: Callable[[str], str]
    notify: Callable[[int, int], None]


def list_copies(asked: RestoreAsked) -> StoredCopiesAnswer:
    """Return the copies of a fleet on the host, newest first, and those that cannot be used."""
    with _copies_at(asked) as source:
        opened = open_copies(source, source.fleet, asked.ask)
    copies: list[StoredCopyShape] = [
        {
            "name": one.name,
            "taken_at": format_iso(one.taken_ms),
            "size": sum(file.size for file in one.files),
            "files": len(one.files),
            "pancode": one.pancode,
        }
        for one in opened.copies
    ]
    return {"fleet": opened.fleet, "copies": copies, "refused": dict(opened.refused)}


def restore_fleet(asked: RestoreAsked) -> RestoredAnswer:
    """Restore the fleet. Raises PancodeError; then the home is untouched, or has the mark of a restore that
    can be repeated."""
    home, clock = asked.home, SystemClock()
    must_be_empty(home)
    with lock_home(home), _copies_at(asked) as source:
        opened = open_copies(source, source.fleet, asked.ask)
        manifest = choose_copy(opened, asked.copy)
        restoring = Restore(home, clock, asked.command, asked.notify)
        done = restoring.run(opened, manifest, source, asked.spec.name)
    return {
        "fleet": done.fleet,
        "copy": done.copy_name,
        "taken_at": format_iso(done.taken_ms),
        "age": format_seconds(max(0, clock.wall_ms() - done.taken_ms) / 1_000),
        "files": done.files,
        "size": done.size,
        "active": list(done.active),
        "nodes": list(done.nodes),
        "warnings": [
            *done.warnings,
            *(f"the copy {name} cannot be used: {why}" for name, why in opened.refused.items()),
        ],
    }


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
def _copies_at(asked: RestoreAsked) -> Iterator[RemoteCopies]:
    """Connect to the host as its user would, and yield the folder of the fleet's copies there."""
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

            source = RemoteCopies(begin, choose_fleet(find_fleets(begin), asked), None, threading.Event())
            source.locate()
            yield source
        finally:
            loop.call(session.close(), OPEN_S)
    finally:
        loop.stop()


def choose_fleet(found: list[str], asked: RestoreAsked) -> str:
    """Return the fleet whose copies are meant. NotFoundError, UsageError if the host has several."""
    host = asked.spec.name
    if asked.fleet in found:
        return asked.fleet
    if not found or asked.fleet is not None:
        what = f"{host} has no copies" + (f" of fleet {asked.fleet}" if asked.fleet else "")
        why = f"it has copies of {', '.join(found)}" if found else "its login has no folder .pancode-backups"
        raise NotFoundError(
            what, why=why, fix="name another host or user: --from HOST --user USER", code="no_copies"
        )
    if len(found) > 1:
        fix = f"name one: pancode admin restore --from {host} --fleet {found[0]}"
        raise UsageError(
            f"{host} has copies of several fleets: {', '.join(found)}", fix=fix, code="several_fleets"
        )
    return found[0]
