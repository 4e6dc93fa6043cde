"""Writes small files that are whole or absent, even after a crash or a full disk. Standard library only.

The shim imports this at every start, so it imports nothing slow: `json` doubles the interpreter's start-up
time (with `re` and `enum`), therefore its C parts are used directly where they exist.
"""

from __future__ import annotations

import os
from _thread import get_ident
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

StrPath = str | os.PathLike[str]
HEADER = 18  # "%08x %08x\n": length and CRC-32 of the payload
MOST = 1 << 24  # the maximum length of a payload: an invalid length must not allocate memory


def _load_codec() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner
    except ImportError:  # the interpreter lacks the C accelerator
        import json

        return (lambda value: json.dumps(value, separators=(",", ":"))), json.loads
    encoder = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
    scan = make_scanner(_ScanRules)  # type: ignore[arg-type] # any object with these names

    def load(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except (StopIteration, SystemError):  # SystemError: `json`, with its error class, is not loaded
            raise ValueError("not JSON") from None
        if text[end:].strip():
            raise ValueError("there is more than one JSON value")
        return value

    return (lambda value: "".join(encoder(value, 0))), load


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


class _ScanRules:
    """The context that `_json.make_scanner` requires."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _refuse


_dump, _load = _load_codec()


def to_json(value: object) -> bytes:
    """Return compact ASCII JSON. Raises TypeError for a value that JSON cannot represent."""
    return _dump(value).encode("ascii")


def from_json(data: bytes) -> Any:
    """Return the value of one JSON text. Raises ValueError for any other text."""
    try:
        return _load(data.decode("utf-8").strip())
    except TypeError as exc:  # NaN and infinities
        raise ValueError(str(exc)) from exc


def sync_folder(folder: StrPath) -> None:
    """Sync the folder, so that its names survive a power failure. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: StrPath) -> bool:
    """Create a private folder (0700), durably; return False if it existed. Its parent must exist."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return False
    sync_folder(os.path.dirname(os.path.abspath(folder)))
    return True


def write_atomic(path: StrPath, data: bytes, sync: bool = True) -> None:
    """Replace `path` (0600) by `data`, durably. A reader sees all old or all new bytes, never a mixture.
    Without `sync`, the file survives a crash of this process, but not of the computer."""
    path = os.fspath(path)
    temporary = _make_temporary_path(path)
    _write_synced(temporary, data, sync)
    try:
        os.rename(temporary, path)
    except OSError:
        _forget(temporary)
        raise
    if sync:
        sync_folder(os.path.dirname(path) or ".")


def empty_file(path: StrPath) -> None:
    """Make `path` (0600) an empty file, durably, together with earlier changes of its folder. OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    sync_folder(os.path.dirname(os.fspath(path)))


def create_exclusive(path: StrPath, data: bytes) -> bool:
    """Create `path` (0600) with `data`, durably; if it exists, return False and change nothing.

    The name appears together with the bytes (as a hard link to a finished file), so that no reader ever sees
    an empty file.
    """
    path = os.fspath(path)
    temporary = _make_temporary_path(path)
    _write_synced(temporary, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        _forget(temporary)
    sync_folder(os.path.dirname(path) or ".")
    return True


def preallocate(path: StrPath, size: int) -> None:
    """Reserve `size` bytes of disk for `path` (0600), keeping its content. Raises OSError ENOSPC if there is
    no space. Not synced: call `sync_folder` once after a batch."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_size < size:
            os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def replace_reserved(path: StrPath, data: bytes, size: int) -> None:
    """Replace `path` (0600) by `data`, durably, and reserve `size` bytes for it. OSError: nothing changed."""
    path = os.fspath(path)
    temporary = _make_temporary_path(path)
    try:
        preallocate(temporary, size)
        fd = os.open(temporary, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _write_all(fd, data, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        _forget(temporary)
        raise
    sync_folder(os.path.dirname(path) or ".")


def blank_file(path: StrPath, offset: int) -> None:
    """Overwrite the file with zeros from `offset` on, durably, in its reserved space. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _write_all(fd, bytes(max(0, os.fstat(fd).st_size - offset)), offset)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def write_framed(path: StrPath, payload: bytes, offset: int = 0, sync: bool = True) -> None:
    """Write one framed record, durably if `sync`, into space that was reserved, so that it fits on a full
    disk. Raises ValueError if the reserved space is too small, OSError if the file does not exist."""
    write_frames(path, frame_record(payload), offset, sync)


def frame_record(payload: bytes) -> bytes:
    """Return the record's payload with its header, as bytes for a file."""
    return b"%08x %08x\n" % (len(payload), crc32(payload)) + payload


def write_frames(path: StrPath, frames: bytes, offset: int, sync: bool) -> None:
    """Write bytes made by `frame_record`, possibly several records, as `write_framed` does."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_size < offset + len(frames):
            raise ValueError(f"{len(frames)} bytes do not fit into {os.fspath(path)} at offset {offset}")
        _write_all(fd, frames, offset)
        if sync:
            os.fdatasync(fd)
    finally:
        os.close(fd)


def read_framed(path: StrPath, offset: int = 0) -> bytes | None:
    """Return the payload at `offset`; None if the file is absent, not written yet or incomplete."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        header = _parse_header(os.pread(fd, HEADER, offset))
        return None if header is None else _check_payload(os.pread(fd, header[0], offset + HEADER), header)
    finally:
        os.close(fd)


def frame_in(data: bytes, offset: int) -> bytes | None:
    """Return the payload at `offset` of bytes that were already read; None as for `read_framed`."""
    begin = offset + HEADER
    header = _parse_header(data[offset:begin])
    return None if header is None else _check_payload(data[begin : begin + header[0]], header)


def _parse_header(head: bytes) -> tuple[int, int] | None:
    """Return the length and the checksum of a payload; None for bytes that do not begin a frame."""
    if len(head) != HEADER or head[8:9] + head[17:] != b" \n":
        return None
    try:
        length, checksum = int(head[:8], 16), int(head[9:17], 16)
    except ValueError:
        return None
    return (length, checksum) if 0 <= length <= MOST else None


def _check_payload(payload: bytes, header: tuple[int, int]) -> bytes | None:
    return payload if (len(payload), crc32(payload)) == header else None


def _make_temporary_path(path: str) -> str:
    return f"{path}.{os.getpid()}.{get_ident()}.new"


def _write_synced(path: str, data: bytes, sync: bool = True) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(fd, data, 0)
        if sync:
            os.fsync(fd)
    except OSError:
        _forget(path)
        raise
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def _forget(path: str) -> None:
    try:  # noqa: SIM105 - contextlib costs the shim 2 ms at each start
        os.unlink(path)
    except FileNotFoundError:
        pass
