"""The chain of the audit: each entry carries the digest of the one before it, so that a change shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node_agent.wire.model import canonical_json
from pancode.core.records import Audit


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """`misfit`: number of the first entry that does not fit, and `why`. `head`: digest of the newest entry.

    Who has noted a head can tell later whether the newest entries were cut off.
    """

    entries: int
    head: str
    misfit: int | None = None
    why: str = ""
    anchored: int = 0
    """Up to this entry a signature of the fleet's key holds the chain in place; 0: nowhere."""


def digest_of(entry: Audit) -> str:
    """The digest of all fields of an entry, which include the digest of the entry before."""
    fields = [entry.number, entry.at_ms, entry.domain, entry.level, entry.what, entry.detail, entry.run]
    text = json.dumps([*fields, entry.previous], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


ANCHOR_EVERY, ANCHOR_TYPE = 20, "application/vnd.pancode.audit-anchor+json"
"""So often a digest is signed with the fleet's key."""


def is_anchored(number: int) -> bool:
    """Whether the digest of this entry is signed: that of the first, and then every twentieth."""
    return number == 1 or number % ANCHOR_EVERY == 0


def anchor_payload(fleet: str, entry: Audit) -> bytes:
    """What is signed of an entry."""
    anchor = {"fleet": fleet, "entry": entry.number, "head": digest_of(entry), "at_ms": entry.at_ms}
    return canonical_json(anchor)


def judge_audit(entries: Iterable[Audit], anchors: Mapping[int, str | None] | None = None) -> AuditVerdict:
    """All entries, in order, from the first on. `anchors`: signed digest by entry; None: no true signature.

    A chain that somebody has written anew fits itself, but not the digests that the fleet's key has signed.
    """
    known, count, head, anchored = anchors or {}, 0, "", 0
    for entry in entries:
        if entry.number != count + 1:
            why = f"entry {count + 1} is missing before it"
            return AuditVerdict(count, head, entry.number, why, anchored)
        if entry.previous != head:
            before = f"entry {count} was changed" if count else "something was before it"
            why = f"{before}, or this one was put in its place"
            return AuditVerdict(count, head, entry.number, why, anchored)
        count, head = count + 1, digest_of(entry)
        if known.get(count, head) != head:
            why = "it is not the entry whose digest was signed with the fleet's key"
            return AuditVerdict(count, head, count, why, anchored)
        anchored = count if count in known else anchored
    if known and max(known) > count:
        why = f"entry {max(known)} was signed with the fleet's key, and is gone"
        return AuditVerdict(count, head, max(known), why, anchored)
    return AuditVerdict(count, head, anchored=anchored)
