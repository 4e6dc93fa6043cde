"""Reads a run's stored log by byte offset: chooses the attempt, reads bytes, and reports if more may come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.records import Closed, Lease, LeaseState, Run, RunState
from pancode.runs.core import Core, open_leases
from pancode.runs.retention.parts import RunFiles, gone_at
from pancode.runs.user_environment import Streams
from pancode.runs.views import find_run, format_optional_iso

PIECE, MOST_COUNTED = 64 * 1024, 16 * 1024 * 1024
"""How much is read at once; and the most bytes before the end of a log in which lines are counted."""
OUT = "out"
STREAMS = (OUT, "err", "setup", "gates.log", "answer", "score")
"""All streams that a node uploads; any other name would look like an empty stream."""


@dataclass(frozen=True, slots=True)
class LogPlace:
    """A reader's position in a log. `attempt`: `ATTEMPT.LEASE`; empty: the successful one, else the newest.
    `last`: begin at most this many bytes before the end, regardless of `offset`; 0: at `offset`."""

    stream: str = OUT
    attempt: str = ""
    offset: int = 0
    last: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> LogPlace:
        """Return the position that a request's query describes; UsageError for an invalid number of bytes."""
        numbers = []
        for name in ("offset", "last"):
            text = query.get(name, "0")
            if not text.isascii() or not text.isdigit() or len(text) > 15:
                raise UsageError(f"{name} must be a number of bytes, not {text!r}", code="bad_value")
            numbers.append(int(text))
        stream = query.get("stream", OUT)
        if stream not in STREAMS:
            fix = f"one of: {', '.join(STREAMS)}"
            raise UsageError(f"{stream!r} is not a log stream", fix=fix, code="bad_value")
        return cls(stream, query.get("attempt", ""), *numbers)


@dataclass(frozen=True, slots=True)
class LogPiece:
    """The bytes read. `more`: read on at once; `end`: nothing follows; `complete`: no bytes were lost.
    `before`: of the end of a log, the number of lines that end before it; None: too many to count."""

    data: bytes
    place: LogPlace
    more: bool = False
    end: bool = False
    complete: bool = False
    before: int | None = 0


def read_on(streams: Streams, run: str, place: LogPlace) -> LogPiece:
    """Return the next bytes of the attempt in `place`, without reading the ledger."""
    try:
        identity = AttemptId.parse(f"{run}.{place.attempt}")
    except ValueError:
        return LogPiece(b"", place)
    data = _read(streams, identity, place)
    return LogPiece(data, replace(place, offset=place.offset + len(data)), more=bool(data))


def read_log(core: Core, streams: Streams, text: str, place: LogPlace) -> LogPiece:
    """Return the next bytes from this place; at an attempt's end, the next attempt's place, or the end."""
    if not place.last and (known := read_on(streams, text, place)).data:
        return known
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        leases = tx.find(Lease, {"run": run.id})
    gone = gone_at(run, RunFiles.LOGS)
    if gone is not None:
        raise NotFoundError(
            f"the logs of {run.id} were deleted",
            why=f"they were deleted at {format_optional_iso(gone)} because of the retention setting "
            "keep.logs",
            fix=f"the run's receipt and answer remain: pancode runs show {run.id}",
            code="files_gone",
        )
    if not leases:
        return LogPiece(b"", place, end=run.state is RunState.ENDED, complete=run.state is RunState.ENDED)
    lease = _find_attempt(run, leases, place.attempt)
    here = replace(place, attempt=f"{lease.attempt}.{lease.lease}", last=0)
    identity = AttemptId(run=run.id, attempt=lease.attempt, lease=lease.lease)
    if place.last:
        here = replace(here, offset=max(0, streams.size(identity, place.stream) - place.last))
    if (piece := read_on(streams, run.id, here)).data:
        if place.last and here.offset > MOST_COUNTED:
            return replace(piece, before=None)
        before = range(0, here.offset if place.last else 0, PIECE)
        bodies = (streams.read(identity, place.stream, at, min(PIECE, here.offset - at)) for at in before)
        return replace(piece, before=sum(body.count(b"\n") for body in bodies))
    if lease.state is not LeaseState.CLOSED:
        return LogPiece(b"", here)
    return _find_next(run, lease, leases, here)


MOST_TAIL = 4_000


def read_tails(core: Core, streams: Streams, most: int) -> dict[str, bytes]:
    """Return the last bytes of output of each active run that has output, by run."""
    with core.ports.ledger.transaction() as tx:
        leases = open_leases(tx)
    found = {}
    for lease in leases:
        identity = AttemptId(run=lease.run, attempt=lease.attempt, lease=lease.lease)
        if size := streams.size(identity, OUT):
            found[lease.run] = streams.read(identity, OUT, max(0, size - most), most)
    return found


def stream_names(core: Core, streams: Streams, text: str) -> dict[str, list[str]]:
    """Return the names of the streams that have arrived at least in part, by attempt."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        leases = tx.find(Lease, {"run": run.id})
    ids = [AttemptId(run=f.run, attempt=f.attempt, lease=f.lease) for f in leases]
    return {f"{i.attempt}.{i.lease}": streams.names(i) for i in ids}


def _find_attempt(run: Run, leases: list[Lease], attempt: str) -> Lease:
    """Return the lease of the named attempt; without a name, of the successful one, else of the newest."""
    by_name = {f"{f.attempt}.{f.lease}": f for f in leases}
    if attempt in by_name:
        return by_name[attempt]
    if attempt:
        alone = [f for f in leases if str(f.attempt) == attempt]
        if alone:
            return alone[-1]
        raise not_found("attempt", attempt, by_name, f"pancode runs show {run.id}")
    won = [f for f in leases if f.receipt is not None and f.receipt == run.result.get("receipt")]
    return won[0] if won else leases[-1]


def _read(streams: Streams, identity: AttemptId, place: LogPlace) -> bytes:
    try:
        return streams.read(identity, place.stream, place.offset, PIECE)
    except ValueError as exc:
        raise UsageError(
            f"{place.stream!r} is not a log stream", fix="one of: out, err", code="bad_value"
        ) from exc


def _find_next(run: Run, lease: Lease, leases: list[Lease], here: LogPlace) -> LogPiece:
    """Return what follows this closed attempt's log: another attempt's log, a wait for one, or the end."""
    later = [f for f in leases if f.lease > lease.lease]
    if later:
        step = LogPlace(here.stream, f"{later[0].attempt}.{later[0].lease}", 0)
        return LogPiece(b"", step, more=True)
    ended = run.state is RunState.ENDED
    return LogPiece(b"", here, end=ended, complete=ended and lease.closed is not Closed.LOST)
