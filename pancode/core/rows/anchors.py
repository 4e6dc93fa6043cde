"""The rows that hold the audit's chain in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.core.rows.base import Record, Table


@dataclass(frozen=True, slots=True)
class AuditAnchor(Record):
    """The digest of an entry of the audit, signed with the fleet's key: it shows a rewritten chain."""

    TABLE: ClassVar = Table("anchors", ("number",))
    number: int
    """Of the entry."""
    envelope: str
    """Signed JSON: fleet, entry, head, time."""
