"""Makes a bundle's archive: the same files give the same digest and the same tar on every machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished archive. `digest`: of its sorted manifest; `sha256`: of the archive's bytes."""

    digest: str
    path: Path
    python: tuple[int, int]
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """Return the name of the bundle's folder in `bundles/` of the node home."""
        return self.digest[:NAME_LENGTH]

    @property
    def size(self) -> int:
        return self.path.stat().st_size


Contents = Mapping[str, Path | bytes]
"""The source of each file's bytes, by path inside the bundle."""


def _read_bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def format_manifest(contents: Contents) -> str:
    """Return one line for each file, sorted: digest, size, path."""
    lines = []
    for name in sorted(contents):
        data = _read_bytes(contents[name])
        lines.append(f"{hashlib.sha256(data).hexdigest()} {len(data)} {name}\n")
    return "".join(lines)


def hash_manifest(text: str) -> str:
    """Return the name of a bundle with this manifest."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack_bundle(contents: Contents, listing: str, target: Path, level: int = 6) -> None:
    """Write `target` atomically: a tar.gz without times or owners, in a fixed order."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", level, raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in sorted({**contents, "MANIFEST": b""}):
                data = listing.encode() if name == "MANIFEST" else _read_bytes(contents[name])
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))
            tar.close()
            zipped.close()
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
