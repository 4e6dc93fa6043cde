"""Checks whether this machine can listen where its owner wants: for nodes, figures, the API."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pancode.access.door import DoorPlace
from pancode.client import ask
from pancode.config.load import ConfigPlaces, Loaded, load
from pancode.config.openings import direct_in, door_in, figures_in
from pancode.errors import PancodeError
from pancode.fleet.direct.authority import KeyPair
from pancode.fleet.direct.listening import listening_at
from pancode.nodes.place import Doorway, ListenAddress
from pancode.offline.doctor import Check, bad, good
from pancode.offline.server.single_instance import holder_of
from pancode.wiring.home import Home

CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Opening:
    """`what` in words, the `setting` that names its address, the start of its lines in the `log`."""

    what: str
    setting: str
    log: str
    read: Callable[[Loaded], Doorway | ListenAddress | None]
    needs: Callable[[Path], object] = lambda home: None
    """Reads what else has to be in order there. PancodeError."""


def _certificates(home: Path) -> None:
    folder = Home(home).direct
    for name in ("authority.pem", "server.pem"):
        KeyPair.read(folder / name)


DIRECT = Opening("direct links", "direct.listen", "direct links", direct_in, _certificates)
FIGURES = Opening("metrics", "metrics.listen", "pancode.metrics", figures_in)
API = Opening("API over TCP", "api.listen", "pancode.api", lambda loaded: _place(door_in(loaded)))


def _place(door: DoorPlace | None) -> ListenAddress | None:
    return None if door is None else door.place


def opening(of: Opening, home: Path, environ: Mapping[str, str]) -> Check:
    """Whether the coordinator listens there, or could when it starts. Sends nothing."""
    try:
        loaded = load(ConfigPlaces(home), environ)
    except PancodeError:
        return bad(of.what, "warning", "unknown: the settings cannot be read", "mend the settings first")
    try:
        read = of.read(loaded)
        if read is None:
            return good(of.what, "not used: nothing listens")
        of.needs(home)
    except PancodeError as error:
        return bad(of.what, "error", f"{error} {error.why}".strip(), error.fix)
    door = read if isinstance(read, Doorway) else Doorway(read, read)
    seen = _running(of, home, door.place) if holder_of(home) is not None else _at_rest(of, door.place)
    if not seen["ok"] or door.shown == door.place:
        return seen
    return good(of.what, f"{seen['detail']}; nodes go to {door.shown} ({door.shown.origin})")


def _running(of: Opening, home: Path, place: ListenAddress) -> Check:
    problem = _problem(home, place)
    if problem is not None:
        return bad(of.what, "error", f"{problem['what']}: {problem['why']}", problem["fix"])
    wrong = _refusal(place) if place.port else ""
    if not wrong:
        return good(of.what, f"open at {place} ({place.origin})")
    log = f"grep '{of.log}' {home}/run/coordinator.log"
    fix = f"where it was set after the start: pancode fleet down, then pancode fleet up; else see why: {log}"
    return bad(of.what, "error", f"the coordinator is not reached at {place} ({place.origin}): {wrong}", fix)


def _problem(home: Path, place: ListenAddress) -> dict[str, str] | None:
    """The coordinator's problem with that address, if any: another program may answer at it."""
    closed = (ask(home, "/v1/fleet", CONNECT_S) or {}).get("coordinator", {}).get("closed", [])
    return next((one for one in closed if f" at {place}" in one["what"]), None)


def _refusal(place: ListenAddress) -> str:
    try:
        with socket.create_connection((place.host, place.port), CONNECT_S):
            return ""
    except OSError as exc:
        return str(exc)


def _at_rest(of: Opening, place: ListenAddress) -> Check:
    """Checks the opening while nothing runs: it opens it for a moment, as the coordinator will."""
    try:
        listening_at(place).close()
    except OSError as exc:
        fix = f"name an address of this machine (ip -brief addr) and a free port (ss -ltn) in {of.setting}"
        return bad(of.what, "error", f"{place} ({place.origin}) cannot be listened at: {exc}", fix)
    return good(of.what, f"{place} ({place.origin}) is free; opened when the coordinator starts")
