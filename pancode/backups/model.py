"""What is known of a copy and of the places where copies are, and what a place can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from node_agent.wire.model import MOST
from pancode.kernel.errors import UnavailableError

FOLDER = ".pancode-backups"
"""The folder below the login's home on a node; it has a folder for each fleet, which may be a link to a
disk."""
CHAIN = 7
"""How many copies belong together: a whole one, and those that have what changed since the one before."""
OLD_MS = 3 * 86_400_000
"""The age from which on `doctor` warns about the last copy."""
Count = Annotated[int, Field(ge=0, le=MOST)]


class Value(BaseModel):
    """A frozen value that is stored as JSON; an unknown key or a wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CopyHead(Value):
    """What the first frame of a copy says. `base`: the copy before it that is needed, too; empty: a whole
    one. `part`: its number in its chain, from 1. `size`: of the sealed copy; `plain`: of the files in it and
    its bases; `key`: the tag of the coordinator's key. `others`: the newest copies in other places."""

    version: Literal[2] = 2
    fleet: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=64)]
    seat: Count
    sequence: Count
    taken_ms: Count
    base: Annotated[str, Field(max_length=64)] = ""
    part: Count = 1
    size: Count
    plain: Count
    files: Count
    key: Annotated[str, Field(max_length=64)]
    pancode: Annotated[str, Field(max_length=64)]
    others: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @property
    def order(self) -> tuple[int, int, int]:
        """Return what decides which copy is newer; a clock that was set back does not change it."""
        return self.seat, self.sequence, self.taken_ms


class CopyRecord(CopyHead):
    """A copy of this fleet in a place. `digest`: SHA-256 of the sealed copy; empty: made by an earlier
    coordinator. `verified_ms`: when the place last computed this digest. `is_damaged`: it is missing there,
    or has another digest."""

    digest: str = ""
    verified_ms: Count = 0
    is_damaged: bool = False


class PlaceRecord(Value):
    """What this coordinator knows of its copies in one place: a node, or a folder of this machine (its path).

    `public`: the recipient of the newest copy. `last`: the highest number of a copy ever made there.
    `tried_ms`: when the last copy began, even if it failed; `trouble`, `fix`: why it failed."""

    version: Literal[2] = 2
    place: str
    public: str = ""
    copies: Annotated[tuple[CopyRecord, ...], Field(strict=False)] = ()
    last: Count = 0
    tried_ms: Count = 0
    trouble: str = ""
    fix: str = ""

    @property
    def newest(self) -> CopyRecord | None:
        return max(self.copies, key=lambda one: one.order, default=None)


@dataclass(frozen=True, slots=True)
class CopyIndex:
    """What the copy of this name contains: the stamps of its files (whose names may be no UTF-8), and the
    commits of each repository."""

    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    tips: Mapping[str, Collection[str]] = field(default_factory=dict)


class Output(Protocol):
    """What contents are written to."""

    def write(self, data: bytes, /) -> int: ...


class HomeContents(Protocol):
    """The contents of one copy of a home. `count`, `size`: of its files, once they are written."""

    count: int
    size: int

    def write(self, output: Output) -> None:
        """Write all of it. Raises UnavailableError if that is not possible."""

    def index(self, name: str) -> CopyIndex:
        """Return what was written, as the copy of this name."""


ReadHome = Callable[[CopyIndex, int], HomeContents]
"""Returns the contents of a copy that is based on one with this index, and was begun at this time."""


def is_folder(place: str) -> bool:
    """Whether the place is a folder of the coordinator's machine; else it is a node."""
    return place.startswith("/")


@dataclass(frozen=True, slots=True)
class FoundCopy:
    """A file among the copies of a host. `size`: None if it is not a regular file; `head`: its first bytes;
    `is_old`: PanCode 0.1.0 made it."""

    fleet: str
    name: str
    size: int | None
    head: bytes = b""
    is_old: bool = False


class StoppedError(UnavailableError):
    """The coordinator is stopping, so the copy was ended."""

    code = "backup_stopped"


class CopyPlace(Protocol):
    """The copies in one place; all but `look` and `get` are about this fleet's. Every method raises
    UnavailableError for a failed, late or incomplete answer, and StoppedError once the coordinator stops;
    then the caller removes nothing."""

    def prepare(self) -> None:
        """Make the folder and remove unfinished files of earlier copies. Idempotent. Raises UnavailableError
        if a newer coordinator has claimed the folder."""

    def digest(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the SHA-256 of these copies, as the place computes it now, without those that are missing or
        not regular files."""

    def put(self, name: str, source: Path) -> None:
        """Store a copy, durable on return. Idempotent."""

    def remove(self, names: Collection[str]) -> None:
        """Remove these copies; missing ones are no error."""

    def look(self) -> Collection[FoundCopy]:
        """Return all that looks like a copy, of all fleets. Only regular files are opened."""

    def get(self, found: FoundCopy, target: Path) -> None:
        """Write the copy into a new file."""


FindPlace = Callable[[str, threading.Event], CopyPlace]
"""Returns the folder of copies in a place, by its name. The event ends every wait for it."""
