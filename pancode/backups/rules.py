"""Decides on what a copy is based, which copies are whole, which are removed, and when the next one is
due."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, time, timedelta, tzinfo
from typing import TypeVar

from pancode.backups.model import CHAIN, CopyHead, CopyRecord, PlaceRecord

_NAME = re.compile(r"c-([0-9]{8})-[a-z0-9]{6}")
LANDED = "landed"
NIGHT = time(3, 0)
RETRY_MS, LANDINGS_MS, LARGE_LANDINGS_MS = 3_600_000, 600_000, 3_600_000
"""How long after a failed try the next one begins, and after a copy the next one for a landing."""
LARGE = 50_000_000
"""The bytes of a copy from which on the next one for a landing waits longer."""
C = TypeVar("C", bound=CopyHead)


def make_name(sequence: int, token: str) -> str:
    return f"c-{sequence:08d}-{token}"


def number_of(name: str) -> int | None:
    """Return the number in a copy's name; None for any other name."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


def next_sequence(records: Iterable[PlaceRecord]) -> int:
    """Return the number of the next copy, above those of all own copies; clocks and foreign names do not
    count."""
    return 1 + max((record.last for record in records), default=0)


def find_chain(copies: Mapping[str, C], name: str) -> list[C] | None:
    """Return the copies that are needed to restore this one, the whole one first; None if one is missing."""
    chain = list[C]()
    while name:
        found = copies.get(name)
        if found is None or (chain and found.order >= chain[-1].order):
            return None
        chain.append(found)
        name = found.base
    return chain[::-1]


def list_whole(record: PlaceRecord) -> list[CopyRecord]:
    """Return the copies that were verified here together with those that they need, newest first."""
    good = {one.name: one for one in record.copies if one.verified_ms and not one.is_damaged}
    whole = [one for one in good.values() if find_chain(good, one.name)]
    return sorted(whole, key=lambda one: one.order, reverse=True)


def choose_base(record: PlaceRecord, public: str, index: str) -> CopyRecord | None:
    """Return the copy on which the next one is based; None: it must be a whole one. `index`: the name of the
    copy whose contents are known here."""
    whole = list_whole(record)
    newest = whole[0] if whole and whole[0] == record.newest else None
    can_grow = newest is not None and newest.part < CHAIN and record.public == public
    return newest if can_grow and newest is not None and newest.name == index else None


def check_copies(
    record: PlaceRecord, names: Collection[str], digests: Mapping[str, str], now_ms: int
) -> PlaceRecord:
    """Return the record after these copies were looked at. A digest that is not known is only looked for."""
    copies = list[CopyRecord]()
    for one in record.copies:
        if one.name in names:
            found = digests.get(one.name)
            is_damaged = found is None or found != (one.digest or found)
            verified_ms = now_ms if one.digest and not is_damaged else one.verified_ms
            one = one.model_copy(update={"is_damaged": is_damaged, "verified_ms": verified_ms})
        copies.append(one)
    return record.model_copy(update={"copies": tuple(copies)})


def select_prunable(record: PlaceRecord, keep: int) -> tuple[tuple[str, ...], PlaceRecord]:
    """Return which own copies are removed, and the record that then remains: the newest `keep` chains stay,
    so that no copy loses one that it needs. A chain without its whole copy does not count and goes.

    Only what this coordinator has recorded is removed, so forged or foreign files change nothing.
    """
    good = {one.name: one for one in record.copies if not one.is_damaged}
    known = {one.name: one for one in record.copies}
    begins = {name: chain[0].name for name in known if (chain := find_chain(known, name))}
    firsts = sorted((good[one] for one in set(begins.values()) if one in good), key=lambda one: one.order)
    kept = {one.name for one in firsts[-max(1, keep) :]}
    left = tuple(one for one in record.copies if begins.get(one.name) in kept)
    gone = tuple(one.name for one in record.copies if begins.get(one.name) not in kept)
    return gone, record.model_copy(update={"copies": left})


def is_night_due(now_ms: int, zone: tzinfo | None, copied_ms: int, tried_ms: int) -> bool:
    """Whether the nightly copy is due: none began since the last 03:00, and the last try was an hour ago.
    `zone` None: the system's time zone."""
    now = datetime.fromtimestamp(now_ms / 1000, zone).astimezone(zone)
    night = datetime.combine(now.date(), NIGHT, now.tzinfo)
    night = night if night <= now else night - timedelta(days=1)
    return copied_ms < night.timestamp() * 1000 and not 0 <= now_ms - tried_ms < RETRY_MS


def is_landing_due(record: PlaceRecord, landed_ms: int, now_ms: int) -> bool:
    """Whether a copy is due because of a landing at that time."""
    newest = record.newest
    pause_ms = LARGE_LANDINGS_MS if newest is not None and newest.size > LARGE else LANDINGS_MS
    pause_ms = RETRY_MS if record.trouble else pause_ms
    return landed_ms > (newest.taken_ms if newest else 0) and now_ms - record.tried_ms >= pause_ms
