"""Reads a session's output from `RUN:BYTE` on, across attempts and interactive runs, each byte once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pancode.kernel.errors import UsageError
from pancode.kernel.records import Run
from pancode.runs import log
from pancode.runs.core import Core
from pancode.runs.log import OUT, LogPlace, read_log
from pancode.runs.user_environment import Streams
from pancode.runs.views import chain_of
from pancode.sessions.session import load_chain

_MARK = re.compile(r"([A-Za-z0-9-]{1,64}):([0-9]{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """A reader's position. `attempt` is `ATTEMPT.LEASE`; empty: the successful attempt, else the newest."""

    run: str
    attempt: str = ""
    offset: int = 0

    @property
    def mark(self) -> str:
        """Return the position of the next byte as `RUN:BYTE`."""
        return f"{self.run}:{self.offset}"


@dataclass(frozen=True, slots=True)
class SessionPiece:
    """The bytes read, and the position after them. `more`: read again at once; `end`: no output follows."""

    data: bytes
    place: SessionPlace
    more: bool = False
    end: bool = False


def place_in(core: Core, text: str, query: Mapping[str, str], last_event: str = "") -> SessionPlace:
    """Return a client's position: after its last event, or at the session's start. UsageError if invalid."""
    with core.ports.ledger.transaction() as tx:
        session = load_chain(tx, text)
    since = last_event or query.get("since", "")
    if not since:
        return SessionPlace(session.runs[0].id)
    found = _MARK.fullmatch(since)
    if found is None or found[1] not in {run.id for run in session.runs}:
        raise UsageError(
            f"since must be RUN:BYTE, with a run of the session, not {since[:80]!r}",
            fix=f"omit since to read everything, or give {session.newest.id}:0 for the newest run",
            code="bad_value",
        )
    return SessionPlace(found[1], query.get("attempt", "") if not last_event else "", int(found[2]))


def read_on(streams: Streams, place: SessionPlace) -> SessionPiece:
    """Return the next bytes of the running attempt, without reading the ledger."""
    piece = log.read_on(streams, place.run, LogPlace(OUT, place.attempt, place.offset))
    return SessionPiece(piece.data, SessionPlace(place.run, place.attempt, piece.place.offset), piece.more)


def read_piece(core: Core, streams: Streams, place: SessionPlace) -> SessionPiece:
    """Return the next bytes from this position, the position in the next attempt or run, or the end."""
    piece = read_log(core, streams, place.run, LogPlace(OUT, place.attempt, place.offset))
    here = SessionPlace(place.run, piece.place.attempt, piece.place.offset)
    if not piece.end:
        return SessionPiece(piece.data, here, piece.more)
    with core.ports.ledger.transaction() as tx:
        run = tx.get(Run, place.run)
        chain = [] if run is None else chain_of(tx, run)[run.place :]
    if chain:
        return SessionPiece(b"", SessionPlace(chain[0].id), more=True)
    return SessionPiece(b"", here, end=True)
