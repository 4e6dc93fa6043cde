"""Keeps requests that carry an idempotency key, so that none of them is begun twice."""

from __future__ import annotations

from pancode.access import rows
from pancode.access.once import RequestMark, kept, to_forget
from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import KeyedRequest


def begin(core: Core, mark: RequestMark) -> KeyedRequest | None:
    """The request that was answered already; None: it begins now. RefusedError."""
    now, at_work = core.wall_ms(), core.live.visits.at_work
    with core.lock:
        with unit_of_work(core) as work:
            row = kept(rows.request(work, mark.place), mark, mark.place in at_work, now)
            if row is not None:
                return row
            old = to_forget(rows.oldest_requests(work), rows.count_requests(work), now)
            rows.forget_requests(work, [one for one in old if (one.who, one.key) not in at_work])
            rows.keep_request(work, KeyedRequest(mark.who, mark.key, mark.route, mark.digest, now))
        at_work.add(mark.place)
    return None


def answered(core: Core, mark: RequestMark, status: int, answer: str) -> None:
    """It has this answer from now on."""
    made = KeyedRequest(mark.who, mark.key, mark.route, mark.digest, core.wall_ms(), status, answer)
    with core.lock:
        try:
            with unit_of_work(core) as work:
                rows.keep_request(work, made)
        finally:
            core.live.visits.at_work.discard(mark.place)


def failed(core: Core, mark: RequestMark, refused: bool) -> None:
    """`refused`: it has begun nothing, so the same key may try again. Else its effect is unknown."""
    with core.lock:
        try:
            if refused:
                with unit_of_work(core) as work:
                    rows.forget_requests(work, [KeyedRequest(*mark.place, mark.route, mark.digest, 0)])
        finally:
            core.live.visits.at_work.discard(mark.place)
