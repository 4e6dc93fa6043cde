"""Makes a copy in a place: checks what is there, seals the home into one file, sends and verifies it, and
only then removes old copies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from node_agent.wire.clock import Clock, Ids
from pancode import __version__
from pancode.backups import rules
from pancode.backups.model import CopyHead, CopyIndex, CopyPlace, CopyRecord, PlaceRecord, ReadHome
from pancode.backups.records import DRAFT, CopyRecords
from pancode.backups.sealing import Recipient, Sealer
from pancode.kernel.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """What a copy is made of. `key`: the tag of the coordinator's key; `keep`: how many chains of copies stay
    there; `whole`: compute the digests of all copies there, not only of those that the new one needs."""

    place: str
    fleet: str
    key: str
    seat: int
    recipient: Recipient
    keep: int
    read: ReadHome
    whole: bool = True


class CopyNotVerifiedError(UnavailableError):
    """The place does not have what was sent to it."""

    code = "backup_not_verified"


def make_copy(
    request: CopyRequest, records: CopyRecords, place: CopyPlace, clock: Clock, ids: Ids
) -> CopyRecord:
    """Make one copy in one place, and return its record.

    It counts only once the place has computed its digest; old copies are removed only after that. Raises
    UnavailableError, after which the place has all earlier copies.
    """
    place.prepare()
    record, begun_ms = _check_place(request, records, place, clock.wall_ms()), clock.wall_ms()
    number = rules.next_sequence((*records.places(), record))
    name, index = rules.make_name(number, ids.short(6)), records.index(request.place)
    base = rules.choose_base(record, request.recipient.public, index.name)
    contents = request.read(index if base else CopyIndex(), begun_ms)
    draft = records.folder / DRAFT
    others = [(one, rules.list_whole(one)) for one in records.places() if one.place != request.place]
    try:
        with draft.open("w+b") as file:
            sealer = Sealer(request.recipient, copy_context(request.fleet, name), file)
            contents.write(sealer)
            head = CopyHead(
                fleet=request.fleet,
                name=name,
                seat=request.seat,
                sequence=number,
                taken_ms=begun_ms,
                base=base.name if base else "",
                part=base.part + 1 if base else 1,
                size=0,
                plain=contents.size,
                files=contents.count,
                key=request.key,
                pancode=__version__,
                others=tuple(f"{whole[0].name} on {one.place}"[:100] for one, whole in others if whole)[:5],
            )
            sealer.end(lambda size: head.model_copy(update={"size": size}).model_dump_json().encode())
        with draft.open("rb") as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), draft.stat().st_size
        place.put(name, draft)
        if place.digest([name]).get(name) != digest:
            place.remove([name])
            fix = f"check the disk of {request.place}, then repeat: pancode admin backup"
            why = f"{request.place} has another digest of {name} than what was sent"
            raise CopyNotVerifiedError("the copy was not verified", why=why, fix=fix)
    finally:
        draft.unlink(missing_ok=True)
    facts = {**head.model_dump(), "size": size, "digest": digest, "verified_ms": clock.wall_ms()}
    made, public = CopyRecord.model_validate(facts), request.recipient.public
    changes = {"copies": (*record.copies, made), "public": public, "last": number, "trouble": "", "fix": ""}
    record = record.model_copy(update=changes)
    records.keep(record)
    records.keep_index(request.place, contents.index(name))
    gone, left = rules.select_prunable(record, request.keep)
    if gone:
        place.remove(gone)
        records.keep(left)
    return made


def _check_place(request: CopyRequest, records: CopyRecords, place: CopyPlace, now_ms: int) -> PlaceRecord:
    """Return the record of the place, once it has computed the digests of its copies."""
    record = records.record(request.place)
    known, newest = {one.name: one for one in record.copies}, record.newest
    chain = rules.find_chain(known, newest.name) if newest else None
    names = {one.name for one in (record.copies if request.whole else chain or ())}
    record = rules.check_copies(record, names, place.digest(names), now_ms)
    records.keep(record)
    return record


def copy_context(fleet: str, name: str) -> str:
    """Return to which fleet and name a copy is bound."""
    return f"{fleet}/{name}"
