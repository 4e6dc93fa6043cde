"""Decides what is copied, what must be sent again, which copies are removed, and when the next copy is
due."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pancode.backups.model import CHUNK, OBJECT, CopyRecord, Manifest, NodeRecord, StoredObject
from pancode.kernel.errors import PancodeError
from pancode.kernel.unfinished_restore import RESTORING

NOT_COPIED = frozenset(
    {"valkey", "bundles", "run", "epoch", "backup", "ledger.db", "ledger.db-wal", "ledger.db-shm"}
)
"""Entries of the home that a copy leaves out: they are made anew, or (the ledger) copied as a snapshot."""
DEPOTS = "depots"
_PARTIAL = re.compile(r".*\.(lock|part|new)|tmp_.*|\.new-.*|pancode-.*", re.DOTALL)
"""Names of locks and unfinished files in the depots."""
_NAME = re.compile(r"c-[0-9]{8}-[a-z0-9]{6}")
LANDED = "landed"
NIGHT = time(3, 0)
RETRY_MS, LANDINGS_MS = 3_600_000, 600_000
"""How long after a failed try the next one begins, and after a copy the next one for a landing."""
OLD_MS = 3 * 86_400_000
"""The age from which on `doctor` warns about the last copy."""
SPARSE = 4
"""An object of which the newest copy needs less than a fourth is replaced, so that it can be removed."""


class ManifestError(PancodeError):
    """A manifest contradicts itself, or is not what its name says."""

    code = "manifest_wrong"


def encode_path(path: str) -> str:
    """Return a path of the file system as ASCII text, also if it is not valid UTF-8."""
    return quote_from_bytes(os.fsencode(path), safe="/ +=,@~")


def decode_path(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))


def is_copied(folder: str, name: str) -> bool:
    """Whether a copy includes this entry of a folder; `folder`: relative to the home, empty for the home."""
    if folder == "":
        return name not in NOT_COPIED and name != RESTORING
    return folder.partition("/")[0] != DEPOTS or _PARTIAL.fullmatch(name) is None


def is_needed(path: str) -> bool:
    """Whether the copy is wrong without this file, although it was removed while the home was read. Objects
    of depots and the key are; a log or a draft that ended is not."""
    return path.partition("/")[0] in (DEPOTS, "key", "ledger.db")


def is_copy_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def make_name(sequence: int, token: str) -> str:
    return f"c-{sequence:08d}-{token}"


def next_sequence(records: Collection[NodeRecord]) -> int:
    """Return the number of the next copy, above those of all own copies; clocks and foreign names do not
    count."""
    return 1 + max((copy.sequence for record in records for copy in record.copies), default=0)


# -- what the node still has --------------------------------------------------------------------------


def select_unchecked(record: NodeRecord, listed: Mapping[str, str], whole: bool) -> list[str]:
    """Return the recorded objects on the node whose digests must be computed: those not checked since they
    were last changed; with `whole`, all."""
    there = (name for name in record.objects if name in listed)
    return sorted(name for name in there if whole or record.objects[name].stamp != listed[name])


def drop_objects(record: NodeRecord, names: Collection[str]) -> NodeRecord:
    """Return the record without these objects and their chunks, which the next copy then sends again."""
    gone = frozenset(names)
    return record.model_copy(
        update={
            "objects": {name: one for name, one in record.objects.items() if name not in gone},
            "chunks": {digest: place for digest, place in record.chunks.items() if place.object not in gone},
        }
    )


def mark_checked(record: NodeRecord, names: Collection[str], listed: Mapping[str, str]) -> NodeRecord:
    """Return the record with the stamps under which these objects were found intact."""
    objects = dict(record.objects)
    for name in names:
        objects[name] = objects[name].model_copy(update={"stamp": listed[name]})
    return record.model_copy(update={"objects": objects})


def find_damaged(record: NodeRecord, listed: Mapping[str, str], digests: Mapping[str, str]) -> list[str]:
    """Return the recorded objects that are missing on the node, or whose computed digest is not their
    name."""
    wrong = {name for name, digest in digests.items() if digest != name}
    return sorted({name for name in record.objects if name not in listed} | wrong)


# -- what is kept --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prunable:
    """What may be removed from a node, and the record that then remains."""

    copies: tuple[str, ...]
    objects: tuple[str, ...]
    left: NodeRecord


def select_prunable(record: NodeRecord, keep: int) -> Prunable:
    """Decide which own copies are removed: those beyond the newest `keep`, and objects that no other copy
    needs.

    Only what this coordinator has recorded is removed, so forged or foreign files on the node change nothing.
    """
    by_order = sorted(record.copies, key=lambda one: one.order, reverse=True)
    kept, gone = by_order[: max(1, keep)], by_order[max(1, keep) :]
    needed, of_gone = ({name for copy in copies for name in copy.objects} for copies in (kept, gone))
    unused = tuple(sorted({*record.objects, *of_gone} - needed))
    left = drop_objects(record, unused).model_copy(update={"copies": tuple(reversed(kept))})
    return Prunable(tuple(one.name for one in gone), unused, left)


def drop_sparse(record: NodeRecord) -> NodeRecord:
    """Return the record without the chunks of objects that the newest copy hardly needs any more; the next
    copy sends what it needs of them again, and they can be removed with the older copies."""
    newest = record.newest
    if newest is None:
        return record
    used = dict.fromkeys(newest.objects, 0)
    for place in record.chunks.values():
        if place.object in used:
            used[place.object] += place.size
    sparse = {
        name
        for name, size in used.items()
        if name in record.objects and size * SPARSE < record.objects[name].plain
    }
    chunks = {digest: place for digest, place in record.chunks.items() if place.object not in sparse}
    return record.model_copy(update={"chunks": chunks})


def for_recipient(record: NodeRecord, public: str) -> NodeRecord:
    """Return the record for copies with this recovery key: chunks sealed for another one cannot be used."""
    return record if record.public == public else record.model_copy(update={"public": public, "chunks": {}})


def only_chunks(record: NodeRecord, used: Collection[str]) -> NodeRecord:
    """Return the record with only these chunks, those of the newest copy."""
    chunks = {digest: place for digest, place in record.chunks.items() if digest in used}
    return record.model_copy(update={"chunks": chunks})


# -- when ----------------------------------------------------------------------------------------------


def is_night_due(now_ms: int, zone: tzinfo | None, copied_ms: int, tried_ms: int) -> bool:
    """Whether the nightly copy is due: none began since the last 03:00, and the last try was an hour ago.
    `zone` None: the system's time zone."""
    now = datetime.fromtimestamp(now_ms / 1000, zone).astimezone(zone)
    night = datetime.combine(now.date(), NIGHT, now.tzinfo)
    night = night if night <= now else night - timedelta(days=1)
    return copied_ms < night.timestamp() * 1000 and not 0 <= now_ms - tried_ms < RETRY_MS


# -- reading a copy --------------------------------------------------------------------------------------


def check_manifest(found: Manifest, fleet: str, name: str) -> Manifest:
    """Return the manifest if it is the copy that its file's name says, and complete in itself.
    ManifestError."""
    if found.fleet != fleet or found.name != name:
        raise ManifestError(
            f"the copy {name} is not what its name says",
            why=f"it contains the copy {found.name} of fleet {found.fleet}",
        )
    kinds = dict[str, str]()
    for file in found.files:
        path = decode_path(file.path)
        parts = path.split("/")
        wrong = path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts)
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        if wrong or path in kinds or any(kinds.get(one) != "folder" for one in above):
            raise ManifestError(f"the copy {name} has an invalid path", why=repr(file.path[:200]))
        kinds[path] = file.kind
        places = [found.chunks.get(digest) for digest in file.chunks]
        if file.kind == "file" and sum(-1 if one is None else one.size for one in places) != file.size:
            raise ManifestError(f"the copy {name} is incomplete", why=f"{file.path[:200]} lacks parts")
    for digest, place in found.chunks.items():
        if place.size > CHUNK or place.offset + place.size > found.objects.get(place.object, 0):
            raise ManifestError(f"the copy {name} is damaged", why=f"the part {digest[:12]} is in no object")
    if any(size > OBJECT + CHUNK for size in found.objects.values()):
        raise ManifestError(f"the copy {name} is damaged", why="an object is too large")
    return found


def copy_of(
    manifest: Manifest, sizes: Mapping[str, int], verified_ms: int, key: str, sent: int = 0, again: int = 0
) -> CopyRecord:
    """Return the record of a copy. `sizes`: of its sealed objects; `key`: the tag of the coordinator's
    key."""
    return CopyRecord(
        name=manifest.name,
        seat=manifest.seat,
        sequence=manifest.sequence,
        taken_ms=manifest.taken_ms,
        verified_ms=verified_ms,
        key=key,
        size=sum(sizes.values()),
        sent=sent,
        again=again,
        files=len(manifest.files),
        objects=tuple(sorted(sizes)),
    )


def record_of(
    node: str,
    public: str,
    manifests: Collection[Manifest],
    sizes: Mapping[str, int],
    checked: str,
    key: str,
    wall_ms: int,
) -> NodeRecord:
    """Return the record of a node from the copies that a restore found there, so that later copies continue
    them. `sizes`: of the sealed objects that the node lists; a copy with a missing object does not count.
    `checked`: the name of the restored copy, all of whose objects were checked."""
    whole = [one for one in manifests if all(name in sizes for name in one.objects)]
    whole.sort(key=lambda one: one.order)
    objects = {
        name: StoredObject(size=sizes[name], plain=plain)
        for one in whole
        for name, plain in one.objects.items()
    }
    copies = tuple(
        copy_of(one, {name: sizes[name] for name in one.objects}, wall_ms if one.name == checked else 0, key)
        for one in whole
    )
    chunks = dict(whole[-1].chunks) if whole else {}
    return NodeRecord(node=node, public=public, objects=objects, chunks=chunks, copies=copies)
