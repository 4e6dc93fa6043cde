"""Opens only files of the checkout: the kernel refuses every path that leads out of the checkout. A path is
first opened with O_PATH, so that the file whose real name was checked is the one that is opened."""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_OPENAT2 = 437
_BENEATH, _NO_MAGIC = 0x08, 0x02
_OLD = (errno.ENOSYS, errno.EPERM, errno.EINVAL)
NEW_FILE, NEW_FOLDER = 0o644, 0o755


class Outside(Exception):
    """The error when a path leads out of the checkout."""


class NotFound(Exception):
    """The error when a file does not exist; the text names the path."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Spot:
    """The target of a path. `fd`: an O_PATH descriptor; `name`: its real name, relative to the checkout's
    top."""

    fd: int
    name: str
    mode: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    def opened(self, flags: int) -> int:
        """Return a descriptor of exactly this file, even if its name now leads to another file."""
        return os.open(f"/proc/self/fd/{self.fd}", flags | os.O_CLOEXEC | os.O_NONBLOCK)


class Tree:
    """A checkout. `folder`: the folder below its top from which relative paths start."""

    def __init__(self, top: str, folder: str = "") -> None:
        self.top, self.folder = os.path.realpath(top), folder
        self._given = posixpath.normpath(top)
        self._fd = os.open(self.top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def name_of(self, path: str) -> str:
        """Return the path relative to the top, with `..` resolved by name. Raises Outside if the path starts
        or ends outside."""
        if "\0" in path:
            raise Outside("a path must not contain a zero byte")
        whole = path if path.startswith("/") else posixpath.join(self.top, self.folder, path)
        whole = posixpath.normpath(whole)
        for top in (self.top, self._given):
            if whole == top:
                return "."
            if whole.startswith(f"{top}/"):
                return whole[len(top) + 1 :]
        raise Outside(f"{path} is outside of the checkout {self.top}")

    @contextmanager
    def at(self, path: str) -> Iterator[Spot]:
        """Open the path, also through links within the checkout. Raises NotFound, Outside or OSError."""
        fd = self._beneath(self.name_of(path), path)
        try:
            yield self._make_spot(fd)
        finally:
            os.close(fd)

    @contextmanager
    def folder_for(self, path: str) -> Iterator[tuple[Spot, tuple[str, ...]]]:
        """Yield the deepest existing folder of the path, and the missing names below it."""
        parts = self.name_of(path).split("/")
        for size in range(len(parts) - 1, -1, -1):
            try:
                with self.at(posixpath.join(self.top, *parts[:size])) as spot:
                    yield spot, tuple(parts[size:])
                    return
            except NotFound:
                continue

    def create(self, spot: Spot, names: tuple[str, ...]) -> int:
        """Create a file and its parent folders below a folder; return a descriptor for writing. OSError if
        the file exists."""
        at = os.dup(spot.fd)
        try:
            for name in names[:-1]:
                os.mkdir(name, NEW_FOLDER, dir_fd=at)
                below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                os.close(at)
                at = below
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(names[-1], flags, NEW_FILE, dir_fd=at)
        finally:
            os.close(at)

    def _make_spot(self, fd: int) -> Spot:
        real = os.readlink(f"/proc/self/fd/{fd}")
        if real != self.top and not real.startswith(f"{self.top}/"):
            raise Outside(f"{real} is outside of the checkout {self.top}")
        return Spot(fd, real[len(self.top) + 1 :] or ".", os.fstat(fd).st_mode)

    def _beneath(self, name: str, path: str) -> int:
        how = _How(os.O_PATH | os.O_CLOEXEC, 0, _BENEATH | _NO_MAGIC)
        raw = os.fsencode(name)
        fd = int(self._libc.syscall(_OPENAT2, self._fd, raw, ctypes.byref(how), ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code == errno.EXDEV:
            raise Outside(f"{path} is a symlink that leads out of the checkout")
        if code in _OLD:
            return self._open_stepwise(name, path)
        raise _make_path_error(code, path)

    def _open_stepwise(self, name: str, path: str) -> int:
        """Open the path on a kernel without openat2: folder by folder, without following any link."""
        at = os.dup(self._fd)
        for part in name.split("/"):
            try:
                below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            except OSError as exc:
                raise _make_path_error(exc.errno or 0, path) from exc
            finally:
                os.close(at)
            at = below
            if stat.S_ISLNK(os.fstat(at).st_mode):
                os.close(at)
                raise Outside(f"{path} is a symlink, which cannot be followed safely on this kernel")
        return at


def _make_path_error(code: int, path: str) -> Exception:
    if code in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"not found: {path}")
    return OSError(code, os.strerror(code), path)


def write_all(fd: int, data: bytes) -> None:
    """Write all data to an open file, and close the file."""
    with suppress(BlockingIOError):
        os.set_blocking(fd, True)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
