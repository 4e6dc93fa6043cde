"""The history of keys: which key signed for which node or coordinator, from when until when."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.signing import PublicKey
from pancode.domain.records import KnownKey
from pancode.domain.verification import TrustedKey, TrustedKeys
from pancode.ports import Transaction

NODE, COORDINATOR = "node", "coordinator"


def begin(tx: Transaction, role: str, name: str, key: PublicKey, now_ms: int) -> None:
    """From now on this key signs for that name. A key that signed for it before signs again."""
    known = tx.get(KnownKey, key.keyid, name)
    from_ms = known.from_ms if known is not None else now_ms
    tx.put(KnownKey(key.keyid, name, role, key.text(), from_ms))


def end(tx: Transaction, name: str, public: str | None, now_ms: int) -> None:
    """It signs for that name no longer; what it has signed stays verifiable."""
    known = tx.get(KnownKey, PublicKey.parse(public).keyid, name) if public is not None else None
    if known is not None and known.until_ms is None:
        tx.put(replace(known, until_ms=now_ms))


def trusted(tx: Transaction) -> TrustedKeys:
    """All keys, former ones too."""
    return TrustedKeys(_of(tx, NODE), _of(tx, COORDINATOR))


def _of(tx: Transaction, role: str) -> dict[str, TrustedKey]:
    found: dict[str, TrustedKey] = {}
    for row in tx.find(KnownKey, {"role": role}):
        key = TrustedKey(PublicKey.parse(row.public), (row.name,), row.from_ms, row.until_ms)
        found[row.keyid] = key.joined(found.get(row.keyid))
    return found
