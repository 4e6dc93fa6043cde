"""Reads and writes the stat data in a git index: what git knows of each file that it has written."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import Literal

from node_agent.workspace.errors import WorkspaceFailure

ObjectFormat = Literal["sha1", "sha256"]
_HEAD = struct.Struct(">4sLL")
_STAT = struct.Struct(">10L")
_FLAGS = struct.Struct(">H")
_OID_BYTES = {"sha1": 20, "sha256": 32}
_LONG_NAME = 0xFFF
_WORD = 0xFFFFFFFF
_BILLION = 1_000_000_000
_NEVER = bytes(_STAT.size)
_MODE_AT = 24
_SUBMODULE = 0o160000


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """The entry's offset in the index, its mode, and the id of its object."""

    at: int
    mode: int
    oid: bytes

    @property
    def is_submodule(self) -> bool:
        return self.mode == _SUBMODULE


class Index:
    """The bytes of one index, version 2, with its entries by path. WorkspaceFailure for any other."""

    def __init__(self, data: bytes, object_format: ObjectFormat) -> None:
        self._data, self._format = bytearray(data), object_format
        self.entries: dict[bytes, IndexEntry] = {}
        try:
            self._read()
        except (struct.error, ValueError) as exc:
            raise WorkspaceFailure(f"the index of the checkout cannot be read: {exc}") from exc

    def _read(self) -> None:
        magic, version, count = _HEAD.unpack_from(self._data)
        if (magic, version) != (b"DIRC", 2):
            raise ValueError(f"version {version} is not 2")
        data, oid_bytes, at = bytes(self._data), _OID_BYTES[self._format], _HEAD.size
        for _ in range(count):
            flags_at = at + _STAT.size + oid_bytes
            begin = flags_at + _FLAGS.size
            length = _FLAGS.unpack_from(data, flags_at)[0] & _LONG_NAME
            end = begin + length if length < _LONG_NAME else data.index(b"\0", begin)
            mode = int.from_bytes(data[at + _MODE_AT : at + _MODE_AT + 4], "big")
            self.entries[data[begin:end]] = IndexEntry(at, mode, data[at + _STAT.size : flags_at])
            at += (end - at + 8) & ~7

    def is_same(self, entry: IndexEntry, seen: os.stat_result) -> bool:
        """Check whether nobody changed this file since git wrote it.

        The kernel sets the time of the last change (ctime) itself, also for a change of mode, attributes or
        hard links, and no program can set it back.
        """
        return self._data[entry.at : entry.at + _STAT.size] == _stamp(entry.mode, seen)

    def note(self, entry: IndexEntry, seen: os.stat_result | None) -> None:
        """Write down how the file is now; None: it is not there, or not as git wrote it."""
        stamp = _NEVER[:_MODE_AT] + entry.mode.to_bytes(4, "big") + _NEVER[_MODE_AT + 4 :]
        if seen is not None:
            stamp = _stamp(entry.mode, seen)
        self._data[entry.at : entry.at + _STAT.size] = stamp

    def attributes(self) -> dict[bytes, bytes]:
        """The .gitattributes files: they decide which bytes a checkout writes for an object."""
        names = (b".gitattributes", b"/.gitattributes")
        return {
            path: entry.oid
            for path, entry in self.entries.items()
            if path == names[0] or path.endswith(names[1])
        }

    def data(self) -> bytes:
        """With its checksum."""
        size = _OID_BYTES[self._format]
        body = bytes(self._data[:-size])
        return body + hashlib.new(self._format, body).digest()


def _stamp(mode: int, seen: os.stat_result) -> bytes:
    """The stat fields as git packs them: times, device, inode, mode, owner, group, size; lower 32 bits."""
    return _STAT.pack(
        seen.st_ctime_ns // _BILLION & _WORD,
        seen.st_ctime_ns % _BILLION,
        seen.st_mtime_ns // _BILLION & _WORD,
        seen.st_mtime_ns % _BILLION,
        seen.st_dev & _WORD,
        seen.st_ino & _WORD,
        mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_size & _WORD,
    )
