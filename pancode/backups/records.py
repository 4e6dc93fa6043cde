"""Stores what the coordinator knows of its copies as files in its home: the recipient, and a record per
node."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from pancode.backups.model import NodeRecord
from pancode.backups.sealing import Recipient, parse_recipient
from pancode.kernel.errors import ConfigError, ConflictError
from pancode.kernel.host.files import make_private, sync_folder, write_durable

FOLDER = "backup"
RECIPIENT = "key/backup.json"
"""Who can open the copies. It is part of each copy, so a restored coordinator continues with it."""


class CopyRecords:
    """The files of one home."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / FOLDER

    def recipient(self) -> Recipient | None:
        """Return for whom copies are sealed; None before the first copy. SealError for a damaged file."""
        try:
            return parse_recipient((self.root / RECIPIENT).read_bytes())
        except FileNotFoundError:
            return None

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
            raise ConflictError(
                "the fleet already has a recovery key or passphrase",
                why=f"{path} exists",
                fix="use it; if it is lost: rm "
                + str(path)
                + ", and make a new copy, which prints a new key",
                code="recovery_key_exists",
            ) from None
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)

    def record(self, node: str) -> NodeRecord:
        """Return what is known of the copies on a node. ConfigError for a damaged file."""
        path = self._path(node)
        try:
            return NodeRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return NodeRecord(node=node)
        except ValidationError as exc:
            raise ConfigError(
                f"{path} is damaged",
                why=str(exc)[:300],
                fix=f"rm {path}; the next copy then sends everything, and older copies stay on {node}",
                code="backup_record",
            ) from exc

    def keep(self, record: NodeRecord) -> None:
        """Store the record of a node, durable on return. Raises OSError."""
        write_durable(self._path(record.node), record.model_dump_json().encode())

    def nodes(self) -> list[NodeRecord]:
        """Return all records, by name of the node; a damaged one is left out."""
        found = list[NodeRecord]()
        for path in sorted(self.folder.glob("node-*.json")):
            try:
                found.append(NodeRecord.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                continue
        return found

    def _path(self, node: str) -> Path:
        return self.folder / f"node-{quote(node, safe='')}.json"
