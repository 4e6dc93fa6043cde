"""Looks whether nodes could come in directly at the address that was named for it. Sends nothing."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from pancode.adapters.direct.place import Place, place_of
from pancode.config.load import Places, load
from pancode.errors import PancodeError
from pancode.offline.check import Check, bad, good
from pancode.offline.sole import holder_of

WHAT = "direct links"
CONNECT_S = 5.0


def direct(home: Path, environ: Mapping[str, str]) -> Check:
    """Whether the coordinator listens there, or could when it starts."""
    try:
        loaded = load(Places(home), environ)
    except PancodeError:
        return bad(WHAT, "warning", "unknown: the settings cannot be read", "mend the settings first")
    listen = loaded.settings.direct.listen
    if listen is None:
        return good(WHAT, "not used: nothing listens")
    try:
        place = place_of(listen, loaded.origin("direct.listen"))
    except PancodeError as error:
        return bad(WHAT, "error", f"{error} {error.why}".strip(), error.fix)
    return _running(home, place) if holder_of(home) is not None else _at_rest(place)


def _running(home: Path, place: Place) -> Check:
    wrong = _refusal(place)
    if not wrong:
        return good(WHAT, f"open at {place} ({place.origin})")
    log = f"grep 'direct links' {home}/run/coordinator.log"
    fix = f"where it was set after the start: pancode fleet down, then pancode fleet up; else see why: {log}"
    return bad(WHAT, "error", f"the coordinator is not reached at {place} ({place.origin}): {wrong}", fix)


def _refusal(place: Place) -> str:
    try:
        with socket.create_connection((place.host, place.port), CONNECT_S):
            return ""
    except OSError as exc:
        return str(exc)


def _at_rest(place: Place) -> Check:
    """By binding it for a moment, as the coordinator will."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen(1)
    except OSError as exc:
        fix = "name an address of this machine (ip -brief addr) and a free port (ss -ltn) in direct.listen"
        return bad(WHAT, "error", f"{place} ({place.origin}) cannot be listened at: {exc}", fix)
    return good(WHAT, f"{place} ({place.origin}) is free; opened when the coordinator starts")
