"""Makes a copy on a node: checks what the node still has, sends the rest, verifies, and only then removes old
copies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from node_agent.wire.clock import Clock, Ids
from pancode import __version__
from pancode.backups import rules
from pancode.backups.model import (
    CHUNK,
    OBJECT,
    ChunkPlace,
    CopiedFile,
    CopyPlace,
    Manifest,
    NodeRecord,
    StoredObject,
)
from pancode.backups.sealing import Recipient, authenticate, seal
from pancode.kernel.errors import UnavailableError


class CopiedEntry(Protocol):
    """A file, folder or link of the home, as a snapshot finds it."""

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def mode(self) -> int: ...
    @property
    def link(self) -> str: ...
    def open(self) -> BinaryIO:
        """Open the file. Raises OSError."""


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """What a copy is made of. `key`: the tag of the coordinator's key; `number`: its sequence; `keep`: how
    many copies stay on the node; `whole`: compute the digests of all its objects on the node, not only of
    those that changed since their last check."""

    fleet: str
    key: str
    seat: int
    number: int
    recipient: Recipient
    keep: int
    whole: bool = True


Keep = Callable[[NodeRecord], None]
"""Stores a node's record durably."""


class CopyNotVerifiedError(UnavailableError):
    """The node does not have what was sent to it."""

    code = "backup_not_verified"


def make_copy(
    request: CopyRequest,
    home: Callable[[], Iterable[CopiedEntry]],
    place: CopyPlace,
    record: NodeRecord,
    keep: Keep,
    clock: Clock,
    ids: Ids,
) -> NodeRecord:
    """Make one copy on one node, and return the node's record with it.

    Objects are sent and verified first, then the manifest; a copy counts only when its manifest is verified.
    Old copies are removed only after that. Raises UnavailableError, after which the node has all earlier
    copies; what was already sent is recorded, and the next copy uses it after a check.
    """
    place.prepare()
    record = rules.for_recipient(record, request.recipient.public)
    listed = place.list_objects()
    record, again = _check_stored(record, place, listed, request.whole)
    place.put_recipient(request.recipient.without_keys().model_dump_json().encode())
    taken_ms = clock.wall_ms()
    packer = _Packer(rules.drop_sparse(record), request, place)
    try:
        files = packer.add_all(home())
    finally:
        keep(packer.record(record))
    record, listed = packer.record(record), place.list_objects()
    needed = {packer.chunks[digest].object for file in files for digest in file.chunks}
    fresh = [name for name in rules.select_unchecked(record, listed, whole=False) if name in needed]
    damaged = set(rules.find_damaged(record, listed, place.digest_objects(fresh))) & needed
    if damaged:
        keep(rules.drop_objects(record, damaged))
        raise CopyNotVerifiedError(
            "the copy was not verified",
            why=f"{len(damaged)} of its objects are missing or damaged on {record.node}",
            fix=f"check the disk of {record.node}, then repeat: pancode admin backup --to {record.node}",
        )
    record = rules.mark_checked(record, fresh, listed)
    manifest = packer.make_manifest(record, files, taken_ms, ids)
    _put_manifest(manifest, request.recipient, place)
    sizes = {name: record.objects[name].size for name in needed}
    copy = rules.copy_of(manifest, sizes, clock.wall_ms(), request.key, packer.sent, again)
    record = rules.only_chunks(record, manifest.chunks.keys())
    record = record.model_copy(update={"copies": (*record.copies, copy), "trouble": "", "fix": ""})
    keep(record)
    found = rules.select_prunable(record, request.keep)
    if found.copies or found.objects:
        place.remove(found.copies, found.objects)
        keep(found.left)
    return found.left


def _check_stored(
    record: NodeRecord, place: CopyPlace, listed: Mapping[str, str], whole: bool
) -> tuple[NodeRecord, int]:
    """Return the record of what is intact on the node, and how many recorded objects are not."""
    names = rules.select_unchecked(record, listed, whole)
    damaged = rules.find_damaged(record, listed, place.digest_objects(names))
    intact = [name for name in names if name not in set(damaged)]
    return rules.drop_objects(rules.mark_checked(record, intact, listed), damaged), len(damaged)


def _put_manifest(manifest: Manifest, recipient: Recipient, place: CopyPlace) -> None:
    text = manifest.model_dump_json().encode()
    signed = f"{authenticate(recipient, text)}\n".encode() + text
    sealed = seal(recipient.public, manifest_context(manifest.fleet, manifest.name), signed)
    if place.put_copy(manifest.name, sealed) != hashlib.sha256(sealed).hexdigest():
        raise CopyNotVerifiedError(
            "the copy was not verified",
            why="the node has another manifest than the one that was sent",
            fix="check the disk of the node, then repeat the copy",
        )


def manifest_context(fleet: str, name: str) -> str:
    """Return to which fleet and name a sealed manifest is bound."""
    return f"copy {fleet}/{name}"


def object_context(fleet: str) -> str:
    return f"object of {fleet}"


@dataclass(slots=True)
class _Packer:
    """Cuts files into chunks, and sends those that the node does not have, several in one object."""

    before: NodeRecord
    request: CopyRequest
    place: CopyPlace
    sent: int = 0
    chunks: dict[str, ChunkPlace] = field(default_factory=dict)
    _objects: dict[str, StoredObject] = field(default_factory=dict)
    _waiting: dict[str, bytes] = field(default_factory=dict)
    _size: int = 0

    def __post_init__(self) -> None:
        self.chunks.update(self.before.chunks)

    def add_all(self, home: Iterable[CopiedEntry]) -> list[CopiedFile]:
        """Send what is missing of all files, and return their entries of the manifest."""
        files = [one for entry in home if (one := self._add(entry)) is not None]
        self._send()
        return files

    def make_manifest(
        self, record: NodeRecord, files: Sequence[CopiedFile], taken_ms: int, ids: Ids
    ) -> Manifest:
        """Return the manifest of these files, whose objects are all in the record."""
        chunks = {digest: self.chunks[digest] for file in files for digest in file.chunks}
        objects = sorted({place.object for place in chunks.values()})
        return Manifest(
            fleet=self.request.fleet,
            name=rules.make_name(self.request.number, ids.short(6)),
            seat=self.request.seat,
            sequence=self.request.number,
            taken_ms=taken_ms,
            pancode=__version__,
            files=tuple(files),
            chunks=chunks,
            objects={name: record.objects[name].plain for name in objects},
        )

    def record(self, record: NodeRecord) -> NodeRecord:
        """Return the record with what was sent so far; it is not checked yet."""
        objects, chunks = {**record.objects, **self._objects}, {**record.chunks, **self.chunks}
        return record.model_copy(update={"objects": objects, "chunks": chunks})

    def _add(self, entry: CopiedEntry) -> CopiedFile | None:
        path = rules.encode_path(entry.path)
        if entry.kind == "folder":
            return CopiedFile(path=path, kind="folder", mode=entry.mode)
        if entry.kind == "link":
            return CopiedFile(path=path, kind="link", link=rules.encode_path(entry.link))
        try:
            reading = entry.open()
        except FileNotFoundError:
            if rules.is_needed(entry.path):
                raise
            return None  # it was removed since it was listed
        digests, size = list[str](), 0
        with reading:
            while part := reading.read(CHUNK):
                digests.append(self._add_chunk(part))
                size += len(part)
        return CopiedFile(path=path, kind="file", mode=entry.mode, size=size, chunks=tuple(digests))

    def _add_chunk(self, part: bytes) -> str:
        digest = hashlib.sha256(part).hexdigest()
        if digest not in self.chunks and digest not in self._waiting:
            if self._size + len(part) > OBJECT:
                self._send()
            self._waiting[digest] = part
            self._size += len(part)
        return digest

    def _send(self) -> None:
        if not self._waiting:
            return
        plain = b"".join(self._waiting.values())
        sealed = seal(self.request.recipient.public, object_context(self.request.fleet), plain)
        name, offset = hashlib.sha256(sealed).hexdigest(), 0
        self.place.put_object(name, sealed)
        self._objects[name] = StoredObject(size=len(sealed), plain=len(plain))
        for digest, part in self._waiting.items():
            self.chunks[digest] = ChunkPlace(object=name, offset=offset, size=len(part))
            offset += len(part)
        self.sent += len(sealed)
        self._waiting.clear()
        self._size = 0
