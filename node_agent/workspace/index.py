"""Reads and writes the stat data in a git index: what git knows of each file that it has written."""

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from collections.abc import Iterator
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


class Index:
    """The bytes of one index, version 2. WorkspaceFailure for any other.

    An entry is named by its offset in them: a large repository has 100,000, and an object for each costs
    more memory than the index itself.
    """

    def __init__(self, data: bytes, object_format: ObjectFormat) -> None:
        self._data, self._format = bytearray(data), object_format
        try:
            self._entries = array("L", self._offsets())
        except (struct.error, ValueError) as exc:
            raise WorkspaceFailure(f"the index of the checkout cannot be read: {exc}") from exc

    def _offsets(self) -> Iterator[int]:
        magic, version, count = _HEAD.unpack_from(self._data)
        if (magic, version) != (b"DIRC", 2):
            raise ValueError(f"version {version} is not 2")
        at = _HEAD.size
        for _ in range(count):
            yield at
            at += (self._name(at).stop - at + 8) & ~7

    def _name(self, entry: int) -> slice:
        flags_at = entry + _STAT.size + _OID_BYTES[self._format]
        begin = flags_at + _FLAGS.size
        length = _FLAGS.unpack_from(self._data, flags_at)[0] & _LONG_NAME
        return slice(begin, begin + length if length < _LONG_NAME else self._data.index(b"\0", begin))

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Each path with its entry."""
        return ((bytes(self._data[self._name(entry)]), entry) for entry in self._entries)

    def _mode(self, entry: int) -> int:
        return int.from_bytes(self._data[entry + _MODE_AT : entry + _MODE_AT + 4], "big")

    def is_submodule(self, entry: int) -> bool:
        return self._mode(entry) == _SUBMODULE

    def is_same(self, entry: int, seen: os.stat_result) -> bool:
        """Check whether nobody changed this file since git wrote it.

        The kernel sets the time of the last change (ctime) itself, also for a change of mode, attributes or
        hard links, and no program can set it back.
        """
        return self._data[entry : entry + _STAT.size] == _stamp(self._mode(entry), seen)

    def note(self, entry: int, seen: os.stat_result | None) -> None:
        """Write down how the file is now; None: it is not there, or not as git wrote it."""
        mode = self._mode(entry)
        stamp = _NEVER[:_MODE_AT] + mode.to_bytes(4, "big") + _NEVER[_MODE_AT + 4 :]
        self._data[entry : entry + _STAT.size] = stamp if seen is None else _stamp(mode, seen)

    def attributes(self) -> dict[bytes, bytes]:
        """The .gitattributes files: they decide which bytes a checkout writes for an object."""
        names = (b".gitattributes", b"/.gitattributes")
        found = ((path, at + _STAT.size) for path, at in self if path == names[0] or path.endswith(names[1]))
        return {path: bytes(self._data[oid : oid + _OID_BYTES[self._format]]) for path, oid in found}

    def data(self) -> bytes:
        """With its checksum."""
        size = _OID_BYTES[self._format]
        self._data[-size:] = hashlib.new(self._format, memoryview(self._data)[:-size]).digest()
        return bytes(self._data)


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
