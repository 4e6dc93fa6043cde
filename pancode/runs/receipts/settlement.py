"""Settles receipts: judges, archives, countersigns and books them in one commit, then acknowledges them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from node_agent.wire.control import Acknowledge, Orphaned, Reject, Resend
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.receipt import Claims
from node_agent.wire.signing import Envelope, PublicKey
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Lease, Node, Run, StoredReceipt
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.features import features_of
from pancode.runs.life.changes import decide
from pancode.runs.life.retries import MOST_OUTPUT
from pancode.runs.nodes import evidence
from pancode.runs.placement import breaker_service
from pancode.runs.receipts.rules import (
    Believed,
    Evidence,
    Judged,
    Rejected,
    Ruling,
    judge_evidence,
    judge_identity,
    needs_nodes,
)
from pancode.runs.restored import requests
from pancode.runs.unit_of_work import Work

GATES_LOG = "gates.log"
"""The log stream with the output of all gates."""


def with_facts(work: Work, signal: Believed) -> Believed:
    """Return the signal; for a failed attempt, with the facts that decide about a retry."""
    claims, core = signal.claims, work.core
    return replace(
        signal,
        nodes=core.views(work.tx) if needs_nodes(claims.failure) else (),
        passed_over=breaker_service.list_shunned(core).get(claims.identity.run, {}),
        output=_gates_output(work, claims) if claims.failure is FailureKind.GATE_FAILED else "",
    )


def _gates_output(work: Work, claims: Claims) -> str:
    """Return the end of the output of all gates; empty if there is none."""
    size = next((blob.size for blob in claims.blobs if blob.name == GATES_LOG), 0)
    at = max(0, size - MOST_OUTPUT)
    part = work.core.ports.depot.blob_part(claims.identity, GATES_LOG, at, MOST_OUTPUT)
    return part.decode(errors="replace")


ANSWER_AGAIN_MS = 5_000
REASON_CHARS = 1_000
MOST_ASKS = 5
"""Minimum number of requests for missing bytes before the receipt is rejected; the deadline for lost nodes
must have passed, too."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A validly signed receipt, with its node, envelope, digest and claims."""

    node: Node
    envelope: Envelope
    digest: str
    claims: Claims


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A validly signed receipt that cannot be read because of an invalid value."""

    node: Node
    digest: str
    identity: AttemptId
    why: str


@dataclass(frozen=True, slots=True)
class Proofs:
    """The files on the coordinator's disk that receipts name, by digest; found before the commit."""

    found: dict[str, Evidence]
    kept: list[tuple[AttemptId, str]] = field(default_factory=list)
    """Countersigned receipts for the archive, which are all stored together before the commit."""

    @classmethod
    def of(cls, core: Core, letters: Iterable[Letter]) -> Proofs:
        """Look up the files of receipts whose lease waits for a receipt; other receipts need none."""
        due: list[tuple[Letter, str]] = []
        with core.ports.ledger.transaction() as tx:
            for letter in letters:
                identity = letter.claims.identity
                run, lease = tx.get(Run, identity.run), tx.get(Lease, identity.run, identity.lease)
                if run is not None and lease is not None and lease.receipt is None:
                    due.append((letter, str(run.workspace.get("repo"))))
        return cls({letter.digest: _collect_evidence(core, letter.claims, repo) for letter, repo in due})


def settle_receipt(work: Work, letter: Letter, proofs: Proofs) -> None:
    """Settle a validly signed receipt. Idempotent."""
    claims, node = letter.claims, letter.node
    if claims.fleet != work.core.fleet or claims.node != node.tag:
        _raise_alarm(work, node, f"signed by {node.name} for {claims.fleet} {claims.node}")
        return
    judged = _judge(work.tx, letter) or judge_evidence(proofs.found[letter.digest], claims)
    match judged.ruling:
        case Ruling.ACCEPT:
            _accept_receipt(work, letter, proofs)
        case Ruling.ORPHAN:
            _keep_orphan(work, letter)
        case Ruling.FOREIGN:
            _refuse_foreign(work, letter, judged.reason)
        case Ruling.AGAIN:
            _answer_again(work, letter)
        case Ruling.RESEND:
            _ask_again(work, letter, judged)
        case Ruling.REJECT:
            _reject(work, letter, judged.reason)


def identity_in(envelope: Envelope) -> AttemptId | None:
    """Return the attempt that an unreadable receipt names; None if it names none."""
    try:
        return AttemptId.model_validate(json.loads(envelope.body())["predicate"]["identity"])
    except (ValueError, KeyError, TypeError):
        return None


def only_signature_of(envelope: Envelope, keys: Mapping[str, PublicKey]) -> Envelope:
    """Return the envelope with only the signature of the node, made with one of `keys`, so that no other
    signature is archived."""
    own = next(s for s in envelope.signatures if s.keyid in keys)
    return envelope if envelope.signatures == (own,) else envelope.model_copy(update={"signatures": (own,)})


def turn_down(work: Work, unread: Unreadable) -> None:
    """Reject an unreadable receipt without storing it, as it could not be shown. The node's open lease ends
    as rejected."""
    node, identity = unread.node, unread.identity
    case = work.case_of(identity)
    if case is None or case.lease.tag != node.tag:
        return
    if work.once(f"reject:{unread.digest}", ANSWER_AGAIN_MS) and evidence.one_more(work, node.name):
        reason = f"its receipt cannot be read: {unread.why}"[:REASON_CHARS]
        work.send(node.name, Reject(identity=identity, receipt=unread.digest, reason=reason))
        work.apply(decide(case, Rejected(node.name, node.tag, reason)))


def _judge(tx: Transaction, letter: Letter) -> Judged | None:
    stored = tx.get(StoredReceipt, letter.digest)
    if stored is not None and stored.rejected is None:
        return Judged(Ruling.AGAIN)
    identity = letter.claims.identity
    run, lease = tx.get(Run, identity.run), tx.get(Lease, identity.run, identity.lease)
    return judge_identity(letter.claims, letter.digest, letter.node, run, lease)


def _collect_evidence(core: Core, claims: Claims, repo: str) -> Evidence:
    depot, identity = core.ports.depot, claims.identity
    missing = [b.name for b in claims.blobs if not depot.blob_arrived(identity, b.name, b.size, b.sha256)]
    whole = claims.commit is None or depot.commit_arrived(repo, identity, claims.commit, claims.snapshot)
    return Evidence(whole, tuple(missing))


def _accept_receipt(work: Work, letter: Letter, proofs: Proofs) -> None:
    core, claims = work.core, letter.claims
    case = work.case_of(claims.identity)
    if case is None:
        return
    # The receipt is countersigned and added to the archive.
    countersigned = core.key_for(letter.node).countersign(letter.envelope)
    text = countersigned.model_dump_json()
    proofs.kept.append((letter.claims.identity, text))
    signal = Believed(
        node=letter.node.name,
        claims=claims,
        stored=_make_stored(core, letter, text),
        answer=_make_acknowledge(core, letter, countersigned),
    )
    work.apply(decide(case, signal if claims.failure is None else with_facts(work, signal)))
    for hook in features_of(core).accepted:
        if hook.concerns(claims):
            hook.act(work, claims)


def _make_stored(core: Core, letter: Letter, text: str) -> StoredReceipt:
    identity, tag = letter.claims.identity, letter.node.tag or ""
    return StoredReceipt(
        letter.digest, identity.run, identity.attempt, identity.lease, tag, text, core.wall_ms()
    )


def _make_acknowledge(core: Core, letter: Letter, countersigned: Envelope) -> Acknowledge:
    """Return an acknowledgment signed with the key that the node accepts now, whichever signed before."""
    key = core.key_for(letter.node)
    mark = next(s for s in key.countersign(countersigned).signatures if s.keyid == key.public.keyid)
    return Acknowledge(identity=letter.claims.identity, receipt=letter.digest, countersignature=mark)


def _keep_orphan(work: Work, letter: Letter) -> None:
    """Store an orphaned receipt as the node signed it, without countersignature, and let the node delete it.
    Nothing is booked."""
    core, node, identity = work.core, letter.node, letter.claims.identity
    requests.note_unknown(work, node)
    if requests.waits_for_report(work, node):
        return  # The node keeps its files and sends the receipt again.
    text = letter.envelope.model_dump_json()
    if not evidence.store_foreign_receipt(
        work, node.name, replace(_make_stored(core, letter, text), orphan=True)
    ):
        return
    work.audit("receipt", "warning", "orphan receipt stored", identity.run, node=node.name)
    work.after(lambda: core.live.journals.forget_stray(identity.run, node.tag or ""))
    work.send(node.name, Orphaned(identity=identity, receipt=letter.digest))


def _refuse_foreign(work: Work, letter: Letter, reason: str) -> None:
    """Refuse a receipt for another node's lease; record this, but not among the receipts of that run."""
    node, identity = letter.node, letter.claims.identity
    if work.once(f"reject:{letter.digest}", ANSWER_AGAIN_MS):
        _raise_alarm(work, node, reason)
        if evidence.one_more(work, node.name):
            work.send(node.name, Reject(identity=identity, receipt=letter.digest, reason=reason))


def _answer_again(work: Work, letter: Letter) -> None:
    """Send the stored answer to a receipt again, at most every few seconds."""
    stored = work.tx.get(StoredReceipt, letter.digest)
    if stored is None or not work.once(f"ack:{letter.digest}", ANSWER_AGAIN_MS):
        return
    if stored.orphan:
        work.send(letter.node.name, Orphaned(identity=letter.claims.identity, receipt=letter.digest))
    else:
        envelope = Envelope.model_validate_json(stored.envelope)
        work.send(letter.node.name, _make_acknowledge(work.core, letter, envelope))


def _ask_again(work: Work, letter: Letter, judged: Judged) -> None:
    """Request missing bytes; reject the receipt if they do not arrive although the node is connected."""
    core, node, digest, identity = work.core, letter.node, letter.digest, letter.claims.identity
    requests = core.live.answers.requests
    if not work.once(f"resend:{digest}", ANSWER_AGAIN_MS):
        return
    if digest not in requests and not evidence.one_more(work, node.name):
        return
    first, count = requests.get(digest, (core.ports.clock.boot_ms(), 0))
    if count >= MOST_ASKS and core.awake_ms_since(first) >= core.rules.deadlines.lost_ms:
        work.after(partial(requests.pop, digest, None))
        _reject(work, letter, f"asked for {count} times: {judged.reason}")
        return
    work.after(partial(requests.__setitem__, digest, (first, count + 1)))
    work.send(node.name, Resend(identity=identity, receipt=digest, missing=judged.missing))
    work.tell(identity.run, "settle", node.name, "requested again", judged.reason)


def _reject(work: Work, letter: Letter, reason: str) -> None:
    """Reject a validly signed but false receipt. An open lease ends as `infra`, with unknown cost."""
    reason = reason[:REASON_CHARS]  # The reason contains text of the node, so its length is limited.
    core, node, digest, identity = work.core, letter.node, letter.digest, letter.claims.identity
    if not work.once(f"reject:{digest}", ANSWER_AGAIN_MS):
        return
    known = work.tx.get(StoredReceipt, digest) is not None
    text = letter.envelope.model_dump_json()
    if not evidence.store_foreign_receipt(
        work, node.name, replace(_make_stored(core, letter, text), rejected=reason)
    ):
        return
    if not known:
        work.audit("trust", "error", "receipt rejected", identity.run, node=node.name, why=reason)
    work.send(node.name, Reject(identity=identity, receipt=digest, reason=reason))
    case = work.case_of(identity)
    if case is not None:
        work.apply(decide(case, Rejected(node.name, node.tag, reason)))


def _raise_alarm(work: Work, node: Node, why: str) -> None:
    if work.first(f"{node.name}:receipt:foreign"):
        work.audit("trust", "error", "foreign receipt dropped", node=node.name, why=why)
