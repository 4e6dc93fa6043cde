"""Stores what the coordinator knows of its copies as files in its home: the recipient, a record and an index
per place."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from pancode.backups.model import CopyIndex, CopyRecord, PlaceRecord, is_folder
from pancode.backups.rules import list_whole
from pancode.backups.sealing import Recipient
from pancode.kernel.errors import ConfigError, ConflictError
from pancode.kernel.host.files import make_private, sync_folder, write_durable

FOLDER, DRAFT = "backup", "copy.part"
RECIPIENT = "key/backup.json"
"""Who can open the copies. It is part of each copy, so a restored coordinator continues with it."""


class CopyRecords:
    """The files of one home."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / FOLDER

    def recipient(self) -> Recipient | None:
        """Return for whom copies are sealed; None before the first copy. ConfigError for a damaged file."""
        path = self.root / RECIPIENT
        try:
            return Recipient.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as exc:
            fix = f"rm {path}; the next copy then creates a new recovery key"
            raise ConfigError(f"{path} is damaged", why=str(exc)[:300], fix=fix) from exc

    def keep_recipient(self, recipient: Recipient) -> None:
        """Store the recipient of all later copies. ConflictError if there is one, even if two callers are at
        the same point: the recovery key that one of them printed would open nothing."""
        path = self.root / RECIPIENT
        make_private(path.parent)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        write_durable(draft, recipient.model_dump_json().encode() + b"\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            what, why = "the fleet already has a recovery key or passphrase", f"{path} exists"
            fix = f"use it; if it is lost: rm {path}, and make a new copy, which prints a new key"
            raise ConflictError(what, why=why, fix=fix, code="recovery_key_exists") from None
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)

    def record(self, place: str) -> PlaceRecord:
        """Return what is known of the copies in a place. ConfigError for a damaged file."""
        path = self._path(place)
        try:
            return _parse(path, place)
        except FileNotFoundError:
            return PlaceRecord(place=place)
        except ValueError as exc:  # also pydantic's
            fix = f"rm {path}; the next copy is then a whole one, and older copies stay in {place}"
            raise ConfigError(
                f"{path} is damaged", why=str(exc)[:300], fix=fix, code="backup_record"
            ) from exc

    def keep(self, record: PlaceRecord) -> None:
        """Store the record of a place, durable on return. Raises OSError."""
        write_durable(self._path(record.place), record.model_dump_json().encode())

    def index(self, place: str) -> CopyIndex:
        """Return what the newest copy there contains; an empty index if that is not known."""
        try:
            return CopyIndex(**json.loads(self._path(place, "index").read_bytes()))
        except (OSError, ValueError, TypeError):
            return CopyIndex()

    def keep_index(self, place: str, index: CopyIndex) -> None:
        write_durable(self._path(place, "index"), json.dumps(asdict(index)).encode())

    def places(self) -> list[PlaceRecord]:
        """Return all records, by name of the place; a damaged one is left out."""
        found = list[PlaceRecord]()
        for path in self.folder.glob("node-*.json"):
            try:
                found.append(_parse(path, ""))
            except (OSError, ValueError):
                continue
        return sorted(found, key=lambda one: one.place)

    def newest_whole(self) -> tuple[str, CopyRecord] | None:
        """Return the newest copy that was verified together with those that it needs, and its place."""
        found = [(one.place, copy) for one in self.places() for copy in list_whole(one)[:1]]
        return max(found, key=lambda one: one[1].order, default=None)

    def _path(self, place: str, end: str = "json") -> Path:
        name = (
            hashlib.sha256(os.fsencode(place)).hexdigest()[:32] if is_folder(place) else quote(place, safe="")
        )
        return self.folder / f"node-{name}.{end}"


def _parse(path: Path, place: str) -> PlaceRecord:
    """Return the record in a file. That of PanCode 0.1.0 has copies that this version cannot use, so only
    their numbers count. Raises OSError, ValueError."""
    text = path.read_bytes()
    plain = json.loads(text)
    if isinstance(plain, dict) and "chunks" in plain:
        numbers = [int(one["sequence"]) for one in plain.get("copies", ())]
        return PlaceRecord(place=place or str(plain.get("node")), last=max(numbers, default=0))
    return PlaceRecord.model_validate_json(text)
