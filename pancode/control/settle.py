"""Receipts: judged, archived, countersigned, booked in one commit; then acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from node_agent.wire.control import Acknowledge, Orphaned, Reject, Resend
from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.logs import OrderStage
from node_agent.wire.receipt import Claims
from node_agent.wire.signing import Envelope
from pancode.control import evidence, landed, turned
from pancode.control.core import Core
from pancode.domain import books
from pancode.domain.lifecycle import NOT_STARTED, Trio, close_fence, end_attempt, end_run, move_run
from pancode.domain.placement import can_be_had, misfit
from pancode.domain.records import (
    Attempt,
    Closed,
    Entry,
    Fence,
    Node,
    Run,
    RunState,
    StoredReceipt,
    WaitReason,
)
from pancode.domain.settlement import (
    Evidence,
    Judged,
    Ruling,
    excess,
    judge_evidence,
    judge_identity,
    retry_after,
)
from pancode.domain.values import replace
from pancode.ports import Transaction

ANSWER_AGAIN_MS = 5_000
REASON_CHARS = 1_000
MOST_ASKS = 5
"""Bytes are asked for again so often at least, and for the lost deadline, before the receipt is rejected."""
_NOTHING = books.Spent(Decimal(0), source="settled")
NOTHING_LEFT = "nothing is left of the run's budget"
GIVEN_UP = "given_up_for"
"""In a lost run's result: the run that replaced it. What comes later is evidence and cost."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A rightly signed receipt: from whom, as it was signed, its digest, and what it claims."""

    node: Node
    envelope: Envelope
    digest: str
    claims: Claims


@dataclass(frozen=True, slots=True)
class Proofs:
    """What is on our own disk of what receipts name, by digest; looked for before their commit."""

    found: dict[str, Evidence]
    kept: list[tuple[AttemptId, str]] = field(default_factory=list)
    """The countersigned ones, for the archive: all are stored there at once, before that commit."""

    @classmethod
    def of(cls, core: Core, letters: Iterable[Letter]) -> Proofs:
        """For those whose fence waits for a receipt; of others nothing has to be known."""
        due: list[tuple[Letter, str]] = []
        with core.ports.ledger.transaction() as tx:
            for letter in letters:
                identity = letter.claims.identity
                run, fence = tx.get(Run, identity.run), tx.get(Fence, identity.run, identity.fence)
                if run is not None and fence is not None and fence.receipt is None:
                    due.append((letter, str(run.workspace.get("repo"))))
        return cls({letter.digest: _evidence(core, letter.claims, repo) for letter, repo in due})


def settle(core: Core, tx: Transaction, letter: Letter, proofs: Proofs) -> None:
    """Deal with a rightly signed receipt of this node. Repeating it changes nothing."""
    claims, node = letter.claims, letter.node
    if claims.fleet != core.fleet or claims.node != node.tag:
        _alarm(core, tx, node, f"signed by {node.name} for {claims.fleet} {claims.node}")
        return
    judged = _judge(tx, letter) or judge_evidence(proofs.found[letter.digest], claims)
    match judged.ruling:
        case Ruling.ACCEPT:
            _accept(core, tx, letter, proofs)
        case Ruling.ORPHAN:
            _orphan(core, tx, letter)
        case Ruling.FOREIGN:
            _refuse_foreign(core, tx, letter, judged.reason)
        case Ruling.AGAIN:
            _answer_again(core, tx, letter)
        case Ruling.RESEND:
            _ask_again(core, tx, letter, judged)
        case Ruling.REJECT:
            _reject(core, tx, letter, judged.reason)


def free_holds(core: Core, tx: Transaction, fence: Fence, note: str, node: str | None) -> None:
    """Give back the holds of a fence's attempt; `node`: only the hold of that node's scope."""
    entries = tx.find(Entry, {"run": fence.run})
    account = books.Account(fence.run, fence.attempt, fence.fence)
    only = books.node_scope(node) if node is not None else None
    core.book(tx, books.release(entries, account, core.stamp(), note, only))


def _judge(tx: Transaction, letter: Letter) -> Judged | None:
    stored = tx.get(StoredReceipt, letter.digest)
    if stored is not None and stored.rejected is None:
        return Judged(Ruling.AGAIN)
    identity = letter.claims.identity
    run, fence = tx.get(Run, identity.run), tx.get(Fence, identity.run, identity.fence)
    return judge_identity(letter.claims, letter.digest, letter.node, run, fence)


def _evidence(core: Core, claims: Claims, repo: str) -> Evidence:
    depot, identity = core.ports.depot, claims.identity
    missing = [b.name for b in claims.blobs if not depot.blob_arrived(identity, b.name, b.size, b.sha256)]
    whole = claims.commit is None or depot.commit_arrived(repo, identity, claims.commit)
    return Evidence(whole, tuple(missing))


def _accept(core: Core, tx: Transaction, letter: Letter, proofs: Proofs) -> None:
    node, claims = letter.node, letter.claims
    run = tx.get(Run, claims.identity.run)
    attempt = tx.get(Attempt, claims.identity.run, claims.identity.attempt)
    fence = tx.get(Fence, claims.identity.run, claims.identity.fence)
    if run is None or attempt is None or fence is None or fence.receipt is not None:
        return
    countersigned, text = _kept(core, letter, proofs)
    tx.insert(_stored(core, letter, text))
    claims = _believed(core, tx, letter, run)
    _book_usage(core, tx, claims, fence)
    closed = replace(close_fence(fence, Closed.RECEIPT, core.wall_ms()), receipt=letter.digest)
    tx.put(closed)
    core.note_stage(closed, OrderStage.SETTLED, str(claims.outcome))
    core.live.closed.append(claims.identity)
    core.live.freed.setdefault(closed.tag, set()).add(str(claims.identity))
    _conclude(core, tx, Trio(run, attempt, closed), claims, letter.digest)
    core.issue(tx, node, _acknowledge(core, letter, countersigned))


def _believed(core: Core, tx: Transaction, letter: Letter, run: Run) -> Claims:
    """The claims, with no more usage than the order leaves any room for; what was beyond it is on record."""
    claims, name = letter.claims, letter.node.name
    beyond = excess(claims.usage, run.limits)
    if not beyond:
        return claims
    told = (f"{field} {getattr(claims.usage, field)} counted as {most}" for field, most in beyond.items())
    why = f"beyond any sense of its order's limits: {', '.join(told)}"
    core.audit(tx, "trust", "error", "claim cut", run.id, node=name, why=why)
    core.tell(tx, run.id, "settle", name, "claim cut", why)
    return claims.model_copy(update={"usage": claims.usage.model_copy(update=beyond)})


def _kept(core: Core, letter: Letter, proofs: Proofs) -> tuple[Envelope, str]:
    """Countersigned, and handed on for the archive."""
    countersigned = core.key_for(letter.node).countersign(letter.envelope)
    text = countersigned.model_dump_json()
    proofs.kept.append((letter.claims.identity, text))
    return countersigned, text


def _stored(core: Core, letter: Letter, text: str) -> StoredReceipt:
    identity, tag = letter.claims.identity, letter.node.tag or ""
    key = (letter.digest, identity.run, identity.attempt, identity.fence)
    return StoredReceipt(*key, tag, text, core.wall_ms())


def _acknowledge(core: Core, letter: Letter, countersigned: Envelope) -> Acknowledge:
    """Signed with the key that the node obeys now, whichever it was countersigned with first."""
    key = core.key_for(letter.node)
    mark = next(s for s in key.countersign(countersigned).signatures if s.keyid == key.public.keyid)
    return Acknowledge(identity=letter.claims.identity, receipt=letter.digest, countersignature=mark)


def spent_of(claims: Claims) -> books.Spent:
    usage = claims.usage
    tokens = usage.input_tokens + usage.output_tokens
    return books.Spent(usage.cost_usd, tokens, usage.agent_ms, usage.cost_source)


def _book_usage(core: Core, tx: Transaction, claims: Claims, fence: Fence) -> None:
    """Actual replaces hold; what was given up as unknown is settled by the late word."""
    entries = tx.find(Entry, {"run": fence.run})
    account = books.Account(fence.run, fence.attempt, fence.fence)
    spent = spent_of(claims)
    late = books.add_unknown if spent.usd is None else books.settle_unknown  # it stood as lost or as rejected
    made = late(entries, account, spent, core.stamp()) + books.settle(entries, account, spent, core.stamp())
    core.book(tx, made or books.add_second(entries, account, spent, core.stamp()))


def never_ran(core: Core, tx: Transaction, fence: Fence, node: str) -> None:
    """A lost order was never started, says its node: nothing was spent, the standing hold goes back."""
    entries = tx.find(Entry, {"run": fence.run})
    account = books.Account(fence.run, fence.attempt, fence.fence)
    core.book(tx, books.settle_unknown(entries, account, _NOTHING, core.stamp()))
    core.tell(tx, fence.run, "settle", node, "never started", "the lost order was not started there")
    attempt = tx.get(Attempt, fence.run, fence.attempt)
    if attempt is not None and attempt.outcome is Outcome.LOST:
        tx.put(replace(attempt, usage=NOT_STARTED))


def _conclude(core: Core, tx: Transaction, trio: Trio, claims: Claims, digest: str) -> None:
    """The attempt takes the receipt's outcome; the run takes it when this is its newest fence."""
    run, attempt = trio.run, trio.attempt
    lost = run.outcome is Outcome.LOST and GIVEN_UP not in run.result
    wins = trio.newest and (run.outcome is None or lost)
    outcome = claims.outcome if wins else Outcome.SUPERSEDED
    ended = end_attempt(attempt, outcome, claims.failure, claims.reason, core.wall_ms())
    usage = claims.usage.model_dump(mode="json")
    tx.put(replace(ended, usage=usage))
    verdict = f"{outcome}" if wins else f"evidence only: {claims.outcome}"
    core.tell(tx, run.id, "settle", f"receipt from {claims.node_name}", verdict, claims.reason)
    if not wins:
        return
    if run.outcome is None and _tries_again(core, tx, trio, claims):
        return
    run = _withdraw_next(core, tx, run, attempt)
    won = replace(ended, outcome=claims.outcome)
    result = {**result_of(claims), "receipt": digest, "node": trio.fence.node}
    started = claims.started_wall_ms if claims.started_wall_ms is not None else run.started_ms
    finished = end_run(run, won, result, core.wall_ms())
    finished = replace(finished, exit_code=claims.exit_code, started_ms=started)
    core.put_ended(tx, finished)
    if finished.land:
        landed.ask(core, tx, finished, trio.fence)


def _tries_again(core: Core, tx: Transaction, trio: Trio, claims: Claims) -> bool:
    """Whether another attempt follows, or waits already, as this one had been given up as lost."""
    run, elsewhere = replace(trio.run, attempt=trio.attempt.attempt), False
    if claims.failure is not None and FAILURES[claims.failure].elsewhere:
        turned.note_end(core, trio.fence, claims.failure, claims.reason)
        away = {trio.fence.node, *turned.shunned(core).get(run.id, {}), *_failed_on(tx, run)}
        elsewhere = any(
            can_be_had(view) and not misfit(run, view) and view.node.name not in away
            for view in core.views(tx)
        )
    if not retry_after(run, claims.failure, elsewhere):
        return False
    return trio.run.attempt != run.attempt or again(core, tx, run, claims.reason)


def _failed_on(tx: Transaction, run: Run) -> set[str]:
    """Nodes where an attempt of it has ended for what may go well on another, however long ago."""
    kinds = {a.attempt: a.failure for a in tx.find(Attempt, {"run": run.id}) if a.failure is not None}
    failed = {attempt for attempt, kind in kinds.items() if FAILURES[kind].elsewhere}
    return {fence.node for fence in tx.find(Fence, {"run": run.id}) if fence.attempt in failed}


def _withdraw_next(core: Core, tx: Transaction, run: Run, attempt: Attempt) -> Run:
    """An attempt that was lost has come to its end before the next one was bound: that one is not needed."""
    if run.attempt == attempt.attempt or run.outcome is not None:
        return run
    queued = tx.get(Attempt, run.id, run.attempt)
    if queued is not None:
        why = "the attempt before it was heard of after all"
        tx.put(end_attempt(queued, Outcome.SUPERSEDED, None, why, core.wall_ms()))
        account = books.Account(run.id, run.attempt)
        core.book(tx, books.release(tx.find(Entry, {"run": run.id}), account, core.stamp(), why))
    return replace(run, attempt=attempt.attempt)


def result_of(claims: Claims) -> dict[str, object]:
    """The part of the claims that `runs show` needs at hand, as plain JSON."""
    kept = {"commit", "base", "snapshot", "files_changed", "change", "answer", "usage", "gates", "findings"}
    kept |= {"exposed", "isolation", "signal", "identity", "session", "calls", "claimed"}
    return claims.model_dump(mode="json", include=kept)


def again(core: Core, tx: Transaction, run: Run, why: str) -> bool:
    """The next attempt of a run, after a pause; its hold is taken by the binder. False: no money is left."""
    if core.spent_up(tx, replace(run, attempt=run.attempt + 1)):
        core.tell(tx, run.id, "retry", "budget", "not tried again", NOTHING_LEFT)
        return False
    queued = replace(
        move_run(run, RunState.PENDING),
        attempt=run.attempt + 1,
        reason=f"attempt {run.attempt + 1} waits: {why}",
        waits=WaitReason.RETRY,
        retry_at_ms=core.wall_ms() + core.rules.retry_pause_ms,
    )
    tx.put(queued)
    core.tell(tx, run.id, "retry", f"attempt {queued.attempt}", "tried again", why)
    return True


def _orphan(core: Core, tx: Transaction, letter: Letter) -> None:
    """Kept as the node signed it and never countersigned; the node may forget it. No money moves."""
    node, identity = letter.node, letter.claims.identity
    text = letter.envelope.model_dump_json()
    if not evidence.keep(core, tx, node.name, replace(_stored(core, letter, text), orphan=True)):
        return
    core.audit(tx, "receipt", "warning", "orphan receipt kept", identity.run, node=node.name)
    core.live.strays.get(identity.run, {}).pop(node.tag or "", None)
    core.issue(tx, node, Orphaned(identity=identity, receipt=letter.digest))


def _refuse_foreign(core: Core, tx: Transaction, letter: Letter, reason: str) -> None:
    """Another node's fence: on record, and not among that run's receipts."""
    node, identity = letter.node, letter.claims.identity
    if _due(core, f"reject:{letter.digest}"):
        _alarm(core, tx, node, reason)
        if evidence.one_more(core, tx, node.name):
            core.issue(tx, node, Reject(identity=identity, receipt=letter.digest, reason=reason))


def _answer_again(core: Core, tx: Transaction, letter: Letter) -> None:
    """The stored answer once more, at most every few seconds."""
    if not _due(core, f"ack:{letter.digest}"):
        return
    stored = tx.get(StoredReceipt, letter.digest)
    if stored is not None and stored.orphan:
        core.issue(tx, letter.node, Orphaned(identity=letter.claims.identity, receipt=letter.digest))
    elif stored is not None:
        envelope = Envelope.model_validate_json(stored.envelope)
        core.issue(tx, letter.node, _acknowledge(core, letter, envelope))


def _ask_again(core: Core, tx: Transaction, letter: Letter, judged: Judged) -> None:
    """Bytes are missing: ask, and give the receipt up when they do not come although the node does."""
    node, digest, identity = letter.node, letter.digest, letter.claims.identity
    if not _due(core, f"resend:{digest}"):
        return
    if digest not in core.live.asked and not evidence.one_more(core, tx, node.name):
        return
    first, asks = core.live.asked.get(digest, (core.ports.clock.boot_ms(), 0))
    if asks >= MOST_ASKS and core.silent_since(first) >= core.rules.deadlines.lost_ms:
        core.live.asked.pop(digest)
        _reject(core, tx, letter, f"asked for {asks} times: {judged.reason}")
        return
    core.live.asked[digest] = (first, asks + 1)
    core.issue(tx, node, Resend(identity=identity, receipt=digest, missing=judged.missing))
    core.tell(tx, identity.run, "settle", node.name, "asked again", judged.reason)


def _due(core: Core, key: str) -> bool:
    now = core.ports.clock.boot_ms()
    last = core.live.sent_ms.get(key)
    if last is not None and now - last < ANSWER_AGAIN_MS:
        return False
    core.live.sent_ms[key] = now
    return True


def _reject(core: Core, tx: Transaction, letter: Letter, reason: str) -> None:
    """Rightly signed and false: never accepted. An open fence ends as `infra`, its cost unknown."""
    reason = reason[:REASON_CHARS]  # it quotes the node
    node, digest, identity = letter.node, letter.digest, letter.claims.identity
    if not _due(core, f"reject:{digest}"):
        return
    known = tx.get(StoredReceipt, digest) is not None
    text = letter.envelope.model_dump_json()
    if not evidence.keep(core, tx, node.name, replace(_stored(core, letter, text), rejected=reason)):
        return
    if not known:
        core.audit(tx, "trust", "error", "receipt rejected", identity.run, node=node.name, why=reason)
    core.issue(tx, node, Reject(identity=identity, receipt=digest, reason=reason))
    _close_rejected(core, tx, node, letter.claims, reason)


def _may_be_ended_by(node: Node, fence: Fence) -> bool:
    """A false receipt ends an open fence of the node that signed it, and nothing else."""
    return fence.tag == node.tag and fence.closed is None


def _close_rejected(core: Core, tx: Transaction, node: Node, claims: Claims, reason: str) -> None:
    run = tx.get(Run, claims.identity.run)
    attempt = tx.get(Attempt, claims.identity.run, claims.identity.attempt)
    fence = tx.get(Fence, claims.identity.run, claims.identity.fence)
    if run is None or attempt is None or fence is None or not _may_be_ended_by(node, fence):
        return
    tx.put(close_fence(fence, Closed.RECEIPT, core.wall_ms()))
    core.note_stage(fence, OrderStage.REJECTED)
    entries = tx.find(Entry, {"run": run.id})
    account = books.Account(run.id, attempt.attempt, fence.fence)
    core.book(tx, books.settle(entries, account, books.Spent(None), core.stamp()))
    ended = end_attempt(attempt, Outcome.INFRA, FailureKind.RECEIPT_REJECTED, reason, core.wall_ms())
    tx.put(ended)
    core.tell(tx, run.id, "settle", node.name, "receipt rejected", reason)
    if Trio(run, attempt, fence).newest and run.outcome is None:
        core.put_ended(tx, end_run(run, ended, {"node": node.name}, core.wall_ms()))


def _alarm(core: Core, tx: Transaction, node: Node, why: str) -> None:
    key = f"{node.name}:receipt:foreign"
    core.live.refusals[key] = core.live.refusals.get(key, 0) + 1
    if core.live.refusals[key] == 1:
        core.audit(tx, "trust", "error", "foreign receipt dropped", node=node.name, why=why)
