"""The chain of the audit: each entry carries the digest of the one before it, so that a change shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from pancode.domain.records import Audit


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """`misfit`: number of the first entry that does not fit, and `why`. `head`: digest of the newest entry.

    Who has noted a head can tell later whether the newest entries were cut off.
    """

    entries: int
    head: str
    misfit: int | None = None
    why: str = ""


def digest_of(entry: Audit) -> str:
    """The digest of all fields of an entry, which include the digest of the entry before."""
    told = [entry.number, entry.at_ms, entry.domain, entry.level, entry.what, entry.detail, entry.run]
    text = json.dumps([*told, entry.previous], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def judge_audit(entries: Iterable[Audit]) -> AuditVerdict:
    """All entries, in order, from the first on."""
    count, head = 0, ""
    for entry in entries:
        if entry.number != count + 1:
            return AuditVerdict(count, head, entry.number, f"entry {count + 1} is missing before it")
        if entry.previous != head:
            before = f"entry {count} was changed" if count else "something was before it"
            return AuditVerdict(count, head, entry.number, f"{before}, or this one was put in its place")
        count, head = count + 1, digest_of(entry)
    return AuditVerdict(count, head)
