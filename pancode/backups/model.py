"""What a copy consists of, what the coordinator records about copies, and the place where copies are
stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from node_agent.wire.model import MOST
from pancode.kernel.errors import UnavailableError

FOLDER = ".pancode-backups"
"""The folder below the login's home on a node; it has a folder for each fleet, which may be a link to a
disk."""
CHUNK = 1 << 20
"""Files are cut at multiples of this size, so that a ledger of which a part has changed is sent in part."""
OBJECT = 4 << 20
"""Chunks are collected up to this size and sent as one sealed object."""
MOST_MANIFEST = 512 << 20
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=MOST)]


class Value(BaseModel):
    """A frozen value that is stored as JSON; an unknown key or a wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ChunkPlace(Value):
    """Where a chunk is: in which object, and which bytes of it once it is opened."""

    object: Digest
    offset: Count
    size: Count


class CopiedFile(Value):
    """A file, folder or link of the home. `path`: relative, percent-encoded. `link`: the target, encoded
    too."""

    path: Annotated[str, Field(min_length=1, max_length=12_288)]
    kind: Literal["file", "folder", "link"]
    mode: Annotated[int, Field(ge=0, le=0o777)] = 0o600
    size: Count = 0
    chunks: Annotated[tuple[Digest, ...], Field(strict=False)] = ()
    link: str = ""


class Manifest(Value):
    """A whole copy. `name`: equals the name of its file. `seat` and `sequence` order the copies of a
    fleet."""

    version: Literal[1] = 1
    fleet: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=64)]
    seat: Count
    sequence: Count
    taken_ms: Count
    pancode: Annotated[str, Field(max_length=64)]
    files: Annotated[tuple[CopiedFile, ...], Field(strict=False)]
    chunks: Mapping[Digest, ChunkPlace]
    objects: Mapping[Digest, Count]
    """The size of each object once it is opened; its name is the SHA-256 of the sealed bytes."""

    @property
    def order(self) -> tuple[int, int, int]:
        """Return what decides which copy is newer; a clock that was set back does not change it."""
        return self.seat, self.sequence, self.taken_ms


class StoredObject(Value):
    """An object that this coordinator has sent to a node. `size`: sealed; `plain`: opened. `stamp`: size and
    time that the node showed when its digest was checked; empty: not checked since it was sent."""

    size: Count
    plain: Count
    stamp: str = ""


class CopyRecord(Value):
    """A copy of this fleet on a node. `verified_ms`: when it was complete, with all objects checked by digest
    after their last change; 0: not checked by this coordinator. `sent`: bytes that it added; `again`: objects
    that were missing or damaged there and were sent again. `objects`: all that the copy needs."""

    name: str
    seat: Count
    sequence: Count
    taken_ms: Count
    verified_ms: Count
    key: str = ""
    """The tag of the coordinator's key in the copy."""
    size: Count
    sent: Count
    again: Count = 0
    files: Count
    objects: Annotated[tuple[Digest, ...], Field(strict=False)]

    @property
    def order(self) -> tuple[int, int, int]:
        return self.seat, self.sequence, self.taken_ms


class NodeRecord(Value):
    """What this coordinator knows of its copies on one node."""

    node: str
    public: str = ""
    """The recipient for whom the chunks are sealed."""
    objects: Mapping[Digest, StoredObject] = {}
    chunks: Mapping[Digest, ChunkPlace] = {}
    copies: Annotated[tuple[CopyRecord, ...], Field(strict=False)] = ()
    tried_ms: Count = 0
    """When the last copy began, even if it failed."""
    trouble: str = ""
    """Why the last copy failed; empty if it succeeded."""
    fix: str = ""

    @property
    def newest(self) -> CopyRecord | None:
        return max(self.copies, key=lambda one: one.order, default=None)

    @property
    def newest_verified(self) -> CopyRecord | None:
        """Return the newest verified copy."""
        return max((one for one in self.copies if one.verified_ms), key=lambda one: one.order, default=None)


class StoppedError(UnavailableError):
    """The coordinator is stopping, so the copy was ended."""

    code = "backup_stopped"


class CopyPlace(Protocol):
    """The folder of this fleet's copies on one node. Every method raises UnavailableError for a failed, late
    or incomplete answer, and StoppedError once the coordinator stops; then the caller removes nothing."""

    def prepare(self) -> None:
        """Make the folder and remove unfinished files of earlier copies. Idempotent. Raises UnavailableError
        if a newer coordinator has claimed the folder."""

    def list_objects(self) -> Mapping[str, str]:
        """Return the stamp (size and time of change) of every object, by name."""

    def digest_objects(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the SHA-256 of these objects, as the node computes it now. All of them exist."""

    def put_object(self, name: str, data: bytes) -> None:
        """Store an object, durable on return. Idempotent."""

    def put_recipient(self, data: bytes) -> None:
        """Store the description of the recovery key next to the copies and those of earlier keys.
        Idempotent."""

    def put_copy(self, name: str, data: bytes) -> str:
        """Store a sealed manifest durably under its final name, and return its SHA-256 as the node computes
        it."""

    def remove(self, copies: Collection[str], objects: Collection[str]) -> None:
        """Remove these manifests, then these objects; missing ones are no error."""


Place = Callable[[str, threading.Event], CopyPlace]
"""Returns the folder of copies on a node, by its name. The event ends every wait for the node."""


class CopySource(Protocol):
    """The folder of a fleet's copies, as a restore reads it; the same errors as CopyPlace."""

    def read_recipients(self) -> Sequence[bytes]:
        """Return the descriptions of the recovery keys, the newest first."""

    def list_copies(self) -> Collection[str]:
        """Return the names of the manifests."""

    def list_objects(self) -> Mapping[str, str]:
        """Return size and time of change of every object, by name."""

    def read_copy(self, name: str) -> bytes:
        """Return a sealed manifest."""

    def read_object(self, name: str) -> bytes:
        """Return a sealed object."""
