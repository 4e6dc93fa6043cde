"""The chain of a node's receipts, as far as this ledger has them."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import PublicKey, WireRefusal, open_as, parse_envelope
from pancode.control.core import Core
from pancode.control.shapes import VerdictShape
from pancode.core.names import not_found
from pancode.core.ports import Transaction
from pancode.core.records import Closed, Fence, KnownKey, StoredReceipt
from pancode.life.verification import ChainLink, VerificationCheck, judge_chain, verdict_of
from pancode.runs.receipts import shape

_NEVER_RAN = (Closed.REFUSED, Closed.REVOKED, Closed.NOT_NOW, Closed.NEVER_ACCEPTED)


def chain(core: Core, node: str) -> VerdictShape:
    """The chains of each key that the node has had. NotFoundError for a name that no key ever had."""
    with core.ports.ledger.transaction() as tx:
        keys = tx.find(KnownKey, {"role": "node"})
        named = [PublicKey.parse(row.public) for row in keys if row.name == node]
        if not named:
            raise not_found("node", node, {row.name for row in keys}, "pancode node ls")
        checks = [check for key in named for check in _checks(tx, key)]
    return shape(node, verdict_of(checks))


def _checks(tx: Transaction, key: PublicKey) -> Iterator[VerificationCheck]:
    stored = tx.find(StoredReceipt, {"tag": key.tag}, order="stored_ms")
    links: list[ChainLink] = []
    for row in stored:
        attempt = f"{row.run}.{row.attempt}.{row.fence}"
        try:
            claims = open_as(Receipt, parse_envelope(row.envelope), {key.keyid: key}).predicate
        except WireRefusal as refusal:
            yield VerificationCheck(
                "every receipt is as it was signed", False, f"{attempt}: {refusal.detail}"
            )
        else:
            links.append(ChainLink(row.digest, attempt, claims.previous))
    if stored:
        answered = {(row.run, row.fence) for row in stored}
        fences = [f for f in tx.find(Fence, {"tag": key.tag}) if f.closed not in _NEVER_RAN]
        silent = [f"{f.run}.{f.attempt}.{f.fence}" for f in fences if (f.run, f.fence) not in answered]
        yield from judge_chain(f"key {key.tag}", links, silent)
