"""Lists receipts, verifies receipts and their chain, and exports the keys with which others verify them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from node_agent.wire.receipt import Claims, Receipt
from node_agent.wire.signing import Envelope, PublicKey, WireRefusal, open_as, parse_envelope, parse_message
from node_agent.wire.signing import verify_envelope as open_signed
from pancode.kernel import names
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import NotFoundError
from pancode.kernel.node import NodeState
from pancode.kernel.pages import ListPage, ListPlace, ListSearch, read_page
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Closed, KnownKey, Lease, Node, Run, StoredReceipt
from pancode.runs import keyring
from pancode.runs.answers import (
    CheckShape,
    ExportAnswer,
    Json,
    KeyShape,
    ReceiptDetail,
    ReceiptRow,
    UsedKey,
    VerdictShape,
)
from pancode.runs.core import Core
from pancode.runs.receipts.verification import (
    ChainLink,
    ReceiptVerdict,
    TrustedKey,
    TrustedKeys,
    VerificationCheck,
    Verified,
    judge_chain,
    not_found,
    signer_of,
    verdict_of,
    verify_text,
)
from pancode.runs.retention.parts import RunFiles, gone_at
from pancode.runs.user_environment import Streams
from pancode.runs.views import find_run, format_optional_iso

EXPORT = "pancode/receipt-export/1"


def list_receipts(core: Core, limit: int, after: ListPlace | None) -> ListPage[ReceiptRow]:
    """Return the receipts of the `limit` newest runs after the place `after`, newest run first."""
    with core.ports.ledger.transaction() as tx:
        nodes = _list_names(tx)
        newest = read_page(tx, ListSearch(Run, "created_ms"), limit, after)
        stored = [r for run in newest.rows for r in tx.find(StoredReceipt, {"run": run.id})]
    return ListPage([_make_row(r, nodes) for r in stored], newest.last)


def get_receipt(core: Core, text: str) -> ReceiptDetail:
    """Return one run's receipt: its envelope and its decoded statement. NotFoundError if it has none."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        stored = _find_decisive(tx, run)
        nodes = _list_names(tx)
    if stored is None:
        raise NotFoundError(
            f"{run.id} has no receipt", why=run.reason, fix=f"pancode why {run.id}", code="receipt_not_found"
        )
    envelope = parse_envelope(stored.envelope)
    return {
        **_make_row(stored, nodes),
        "statement": _read_statement(envelope),
        "envelope": envelope.model_dump(mode="json"),
    }


def export_proof(core: Core, text: str | None) -> ExportAnswer:
    """Return what is needed to verify a receipt elsewhere: all keys, including old ones, and the envelope of
    run `text`."""
    with core.ports.ledger.transaction() as tx:
        keys = [_make_key(row) for row in tx.find(KnownKey, order="from_ms")]
    envelope = get_receipt(core, text)["envelope"] if text is not None else None
    return {"format": EXPORT, "fleet": core.fleet, "receipt": envelope, "keys": keys}


def list_keys(core: Core) -> list[UsedKey]:
    """Return every key with its dates; a coordinator's key with the nodes for which it is used."""
    with core.ports.ledger.transaction() as tx:
        rows = tx.find(KnownKey, order="from_ms")
        nodes = [n for n in tx.find(Node) if n.public_key is not None and n.removed != NodeState.REMOVED]
    used: dict[str, list[str]] = {}
    for node in nodes:
        used.setdefault(core.key_for(node).public.keyid, []).append(node.name)
    return [{**_make_key(row), "nodes": used.get(row.keyid, [])} for row in rows]


def verify_run(core: Core, text: str, streams: Streams) -> VerdictShape:
    """Return the verdict with all checks, including those that need this coordinator's ledger, depot and
    logs."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        stored = _find_decisive(tx, run)
        keys = keyring.read_trusted_keys(tx)
        lease = tx.get(Lease, stored.run, stored.lease) if stored is not None else None
    if stored is None:
        return describe_verdict(run.id, not_found(f"{run.id} has no receipt yet: {run.reason}"))
    verified = verify_text(stored.envelope, keys, run.id)
    if verified.claims is not None:
        signer = signer_of(parse_envelope(stored.envelope), keys)
        order = _check_order(verified.claims, signer, lease, keys)
        # Check that the files that the receipt names are stored by the coordinator, byte for byte.
        claims = verified.claims
        assert claims is not None
        logs, changes = gone_at(run, RunFiles.LOGS), gone_at(run, RunFiles.CHANGES)
        found = [] if logs is None else [_make_pruned_check("its logs", logs)]
        for blob in claims.blobs if logs is None else ():
            whole = streams.arrived(claims.identity, blob.name, blob.size, blob.sha256)
            words = f"{blob.size} bytes, sha256 {blob.sha256[:12]}..."
            found.append(VerificationCheck(f"{blob.name} is stored here as signed", whole, words))
        checks = [*verified.checks, order, *found]
        if claims.commit is not None and changes is not None:
            checks.append(_make_pruned_check("its commit", changes))
        elif claims.commit is not None:
            repo = str(run.workspace.get("repo") or "")
            here = core.ports.depot.commit_arrived(repo, claims.identity, claims.commit, claims.snapshot)
            checks.append(VerificationCheck("commit is in the depot", here, claims.commit))
        good = all(check.ok for check in checks)
        verdict = ReceiptVerdict.PASS if good else ReceiptVerdict.TAMPERED
        verified = replace(verified, verdict=verdict, checks=tuple(checks))
    return describe_verdict(run.id, verified)


def describe_verdict(run: str, verified: Verified) -> VerdictShape:
    checks: list[CheckShape] = [{"what": c.what, "ok": c.ok, "detail": c.detail} for c in verified.checks]
    return {"run": run, "verdict": verified.verdict.value, "checks": checks}


def _check_order(
    claims: Claims, signer: TrustedKey, lease: Lease | None, keys: TrustedKeys
) -> VerificationCheck:
    """Check that the coordinator signed the job for the key that signed the receipt. Times are not checked,
    as clocks can be set back."""
    what = "the job that it answers was signed for its key"
    if lease is None:
        return VerificationCheck(what, False, f"this ledger has no job {claims.identity}")
    try:
        envelope = parse_envelope(lease.job)
        open_signed(envelope, {keyid: known.key for keyid, known in keys.coordinators.items()})
        node = json.loads(envelope.body()).get("node")
    except (WireRefusal, ValueError) as wrong:
        return VerificationCheck(what, False, f"the receipt contradicts its job in this ledger: {wrong}")
    ok = (node, envelope.digest()) == (signer.key.tag, claims.job)
    return VerificationCheck(what, ok, f"{claims.identity} for key {node}")


def _make_pruned_check(what: str, at_ms: int) -> VerificationCheck:
    """Return a passed check for files whose deletion, because of their age, is recorded in the ledger."""
    words = f"deleted at {format_optional_iso(at_ms)}, by the retention settings `keep`"
    return VerificationCheck(f"{what} was retained as long as the settings require", True, words)


def _find_decisive(tx: Transaction, run: Run) -> StoredReceipt | None:
    """Return the receipt that determined the run's outcome, else its newest one, but never an orphan."""
    won: Any = run.result.get("receipt")
    if isinstance(won, str):
        return tx.get(StoredReceipt, won)
    stored = [one for one in tx.find(StoredReceipt, {"run": run.id}) if not one.orphan]
    return max(stored, key=lambda r: (r.lease, r.stored_ms), default=None)


def _make_key(row: KnownKey) -> KeyShape:
    """Return a key in the form of the API; `from` and `until` (null: in use) by the coordinator's clock."""
    return make_answer(KeyShape, row, pem=PublicKey.parse(row.public).pem())


def _list_names(tx: Transaction) -> dict[str, str]:
    return {node.tag: node.name for node in tx.find(Node) if node.tag is not None}


def _make_row(stored: StoredReceipt, nodes: dict[str, str]) -> ReceiptRow:
    return make_answer(
        ReceiptRow, stored, fence=stored.lease, node=nodes.get(stored.tag), outcome=_find_outcome(stored)
    )


def _find_outcome(stored: StoredReceipt) -> str | None:
    try:
        return parse_message(Receipt, parse_envelope(stored.envelope).body()).predicate.outcome
    except WireRefusal:
        return None


def _read_statement(envelope: Envelope) -> Json | None:
    """Return the receipt's claims, unverified; None if they cannot be read."""
    try:
        return parse_message(Receipt, envelope.body()).model_dump(mode="json")
    except WireRefusal:
        return None


NEVER_RAN = (Closed.REFUSED, Closed.REVOKED, Closed.NOT_NOW, Closed.NEVER_ACCEPTED)
"""Ways in which an attempt is closed without requiring a receipt."""


def verify_chain(core: Core, node: str) -> VerdictShape:
    """Return the verdict on the chains of all keys that the node has had. NotFoundError if no key ever had
    this name."""
    with core.ports.ledger.transaction() as tx:
        keys = tx.find(KnownKey, {"role": "node"})
        named = [PublicKey.parse(row.public) for row in keys if row.name == node]
        if not named:
            raise names.not_found("node", node, {row.name for row in keys}, "pancode node ls")
        checks = [check for key in named for check in _check_key(tx, key)]
    return describe_verdict(node, verdict_of(checks))


def _check_key(tx: Transaction, key: PublicKey) -> Iterator[VerificationCheck]:
    stored = tx.find(StoredReceipt, {"tag": key.tag}, order="stored_ms")
    links: list[ChainLink] = []
    for row in stored:
        attempt = f"{row.run}.{row.attempt}.{row.lease}"
        try:
            claims = open_as(Receipt, parse_envelope(row.envelope), {key.keyid: key}).predicate
        except WireRefusal as refusal:
            yield VerificationCheck(
                "every receipt is as it was signed", False, f"{attempt}: {refusal.detail}"
            )
        else:
            links.append(ChainLink(row.digest, attempt, claims.previous))
    if stored:
        answered = {(row.run, row.lease) for row in stored}
        leases = [f for f in tx.find(Lease, {"tag": key.tag}) if f.closed not in NEVER_RAN]
        silent = [f"{f.run}.{f.attempt}.{f.lease}" for f in leases if (f.run, f.lease) not in answered]
        yield from judge_chain(f"key {key.tag}", links, silent)
