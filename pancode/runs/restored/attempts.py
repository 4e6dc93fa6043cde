"""Adds the attempts that nodes report to a restored ledger, and books each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from node_agent.wire.identity import FINAL, Mark
from node_agent.wire.job import Job
from node_agent.wire.node import AttemptReport, AttemptsReport
from node_agent.wire.receipt import Claims, Receipt
from node_agent.wire.signing import Envelope, PublicKey, WireRefusal, open_as, parse_envelope
from pancode.budget import books
from pancode.kernel.errors import ConflictError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Lease, Node, Run, RunState, StoredReceipt
from pancode.runs import keyring
from pancode.runs.core import Core
from pancode.runs.life.adoption import Adopted
from pancode.runs.life.jobs import lease_of
from pancode.runs.nodes.heartbeats import raise_alarm
from pancode.runs.placement import breaker_service
from pancode.runs.receipts.rules import Evidence, Ruling, judge_evidence
from pancode.runs.receipts.settlement import Letter, Proofs, settle_receipt
from pancode.runs.restored.hold import AskedNode, read_hold, write_hold
from pancode.runs.restored.requests import find_asked, note_restored
from pancode.runs.retention.parts import LetGo, RunFiles
from pancode.runs.unit_of_work import Work, unit_of_work

NOT_ATTRIBUTED = "not attributed"
"""The budget scope of runs that the restored ledger lacks."""
_LEAST_USD = Decimal(1)


def accept_report(core: Core, node: Node, report: AttemptsReport) -> None:
    """Add what a page of a node's attempts says to the ledger, and ask for the next page. Idempotent."""
    tag = node.tag or ""
    with core.ports.ledger.transaction() as tx:
        hold, keys = read_hold(tx), keyring.find_coordinator_keys(tx)
    asked = find_asked(core, hold, tag)
    if (report.fleet, report.node) != (core.fleet, tag) or asked is None or asked.after != report.after:
        return
    if report.next is not None or tag in core.live.journals.unproven:
        core.live.journals.asked_ms.pop(tag, None)
    if tag in core.live.journals.unproven:
        return _seek_proof(core, node, report, keys)
    is_over = True
    for entry in report.entries:
        try:
            is_over &= _take_attempt(core, node, entry, keys)
        except (WireRefusal, ValueError, KeyError, ArithmeticError, ConflictError) as exc:
            raise_alarm(core, node, "report", type(exc).__name__, str(exc))
    with unit_of_work(core) as work:
        _note_page(work, tag, report, is_over)


def _seek_proof(core: Core, node: Node, report: AttemptsReport, keys: Mapping[str, PublicKey]) -> None:
    """Begin a hold if a page has a job that the ledger lacks; the node then reports from its first page."""
    tag = node.tag or ""
    for entry in report.entries:
        try:
            job = open_as(Job, parse_envelope(entry.job), keys)
        except WireRefusal:
            continue
        with unit_of_work(core) as work:
            if job.node == tag and _knows_more(work.tx, job, entry):
                hold, lease = read_hold(work.tx), work.tx.get(Lease, job.identity.run, job.identity.lease)
                if hold is None or lease is None:
                    note_restored(work, f"{node.name} knows more of {job.identity} than this ledger")
                else:  # what the hold concerns is decided already
                    asked = {one: far for one, far in hold.asked.items() if one != tag}
                    write_hold(work, hold.model_copy(update={"asked": asked}))
                core.live.journals.unproven.pop(tag, None)
                return
    since_ms, _ = core.live.journals.unproven.pop(tag)
    if report.next is not None:
        core.live.journals.unproven[tag] = since_ms, report.next
    else:
        core.live.journals.disproved.add(tag)


def _knows_more(tx: Transaction, job: Job, entry: AttemptReport) -> bool:
    """Whether the ledger can only be older than this attempt: its job is unknown, and was not booked after an
    earlier restore; or its receipt was acknowledged, and the ledger has its lease still open."""
    lease, receipt = tx.get(Lease, job.identity.run, job.identity.lease), entry.receipt
    if lease is not None:
        return lease.closed is None and entry.mark is Mark.ACKNOWLEDGED
    known = receipt is not None and tx.get(StoredReceipt, parse_envelope(receipt).digest()) is not None
    return not known and entry.mark is not Mark.REFUSED


def _note_page(work: Work, tag: str, report: AttemptsReport, is_over: bool) -> None:
    hold = read_hold(work.tx)
    if hold is None:
        return
    asked = hold.asked.get(tag, AskedNode())
    if report.next is not None:
        asked = AskedNode(after=report.next, is_over=asked.is_over and is_over)
    elif asked.is_over and is_over:
        asked = AskedNode(complete_since_ms=report.complete_since_ms)
    else:  # A run that the ledger lacks is at work there: its cost is not known yet.
        asked = AskedNode()
    write_hold(work, hold.model_copy(update={"asked": {**hold.asked, tag: asked}}))


def _take_attempt(core: Core, node: Node, entry: AttemptReport, keys: Mapping[str, PublicKey]) -> bool:
    """Add one attempt to the ledger; return False if the ledger lacks its run and it has not ended yet."""
    envelope = parse_envelope(entry.job)
    job = open_as(Job, envelope, keys)
    if (job.fleet, job.node) != (core.fleet, node.tag):
        raise ValueError(f"{job.identity} is a job of {job.fleet} for {job.node}")
    letter = None if entry.receipt is None else _open_letter(node, entry.receipt, job)
    with unit_of_work(core) as work:
        run = work.tx.get(Run, job.identity.run)
        lease = work.tx.get(Lease, job.identity.run, job.identity.lease)
        if run is None:
            _book_unknown(work, node, job, letter)
            return entry.mark in FINAL
        if lease is None and entry.mark is not Mark.REFUSED:
            _adopt(work, run, node, job, envelope)
        stored = None if letter is None else work.tx.get(StoredReceipt, letter.digest)
        if stored is not None and stored.orphan:  # it arrived before its job was known
            work.tx.delete(StoredReceipt, stored.digest)
    if letter is not None:
        _settle(core, letter, is_gone=entry.mark in FINAL and not entry.kept)
    return True


def _open_letter(node: Node, text: str, job: Job) -> Letter:
    envelope, keys = parse_envelope(text), keyring.keys_of(node)
    claims = open_as(Receipt, envelope, keys).predicate
    if claims.identity != job.identity:
        raise ValueError(f"the receipt of {job.identity} is of {claims.identity}")
    own = next(one for one in envelope.signatures if one.keyid in keys)
    return Letter(node, envelope.model_copy(update={"signatures": (own,)}), envelope.digest(), claims)


def _adopt(work: Work, run: Run, node: Node, job: Job, envelope: Envelope) -> None:
    core = work.core
    lease = lease_of(job, envelope, node.name, breaker_service.provider_of(core, run, node.name))
    reserved = job.limits.reserved_usd
    amount = books.estimate_of(run)
    amount = amount if reserved is None else replace(amount, usd=reserved)
    scopes = [one.balance.scope for one in core.budget_scopes(work.tx, run) if one.is_booked]
    work.signal(run, Adopted(lease, amount, scopes))
    core.live.journals.forget_stray(run.id, node.tag or "")


def _settle(core: Core, letter: Letter, is_gone: bool) -> None:
    """Settle the receipt as if the node had sent it now; files that the coordinator lacks are requested. If
    the node has deleted them (`is_gone`), the run ends with its receipt, and its change is lost."""
    proofs = Proofs.of(core, [letter])
    found = proofs.found.get(letter.digest)
    is_lost = found is not None and is_gone and judge_evidence(found, letter.claims).ruling is Ruling.RESEND
    if found is not None and is_lost:
        proofs.found[letter.digest] = Evidence(True, ())
    with unit_of_work(core) as work:
        settle_receipt(work, letter, proofs)
        if found is not None and is_lost:
            _note_lost(work, letter.claims, found)
        if proofs.kept:
            core.ports.archive.store(proofs.kept)


def _note_lost(work: Work, claims: Claims, found: Evidence) -> None:
    """Record in the run which files are lost; a lost change cannot land."""
    run, now_ms = work.tx.get(Run, claims.identity.run), work.core.wall_ms()
    if run is None or run.state is not RunState.ENDED or run.lease != claims.identity.lease:
        return
    lost = {RunFiles.LOGS.value: now_ms} if found.missing_blobs else {}
    words = "its logs are lost: the ledger was restored, and its node had deleted them"
    if claims.commit is not None and not found.commit_whole:
        lost |= {RunFiles.CHANGES.value: now_ms}
        words = "its change is lost: the ledger was restored, and its node had deleted the change"
        for action in work.tx.find(Action, {"run": run.id}):
            if action.kind is ActionKind.LAND:
                work.tx.delete(Action, action.id)
        run = replace(run, landing={"status": "dropped", "why": words})
    work.tx.put(LetGo(let_go={**LetGo.of(run).let_go, **lost}, files_lost=True).on(run))
    work.tell(run.id, "settle", claims.node_name, "lost", words)


def _book_unknown(work: Work, node: Node, job: Job, letter: Letter | None) -> None:
    """Name a run that the ledger lacks, and book its cost: at most what its job allows."""
    core, identity = work.core, job.identity
    if letter is None or work.tx.get(StoredReceipt, letter.digest) is not None:
        return
    usage, text = letter.claims.usage, letter.envelope.model_dump_json()
    most = max(_LEAST_USD, job.limits.reserved_usd or books.ZERO)
    usd = min(usage.cost_usd or books.ZERO, most if job.limits.usd is None else job.limits.usd)
    account, stamp = books.Account(identity.run, identity.attempt, identity.lease), core.stamp()
    day = books.day_scope(min(letter.claims.finished_wall_ms, core.wall_ms()), core.tz)
    entries = books.reserve_amount([day, NOT_ATTRIBUTED], account, books.Amount(), stamp)
    tokens = usage.input_tokens + usage.output_tokens
    spent = books.Spent(usd, tokens, usage.agent_ms, usage.cost_source)
    work.book([*entries, *books.settle_attempt(entries, account, spent, stamp)])
    tag, now_ms = node.tag or "", core.wall_ms()
    stored = StoredReceipt(letter.digest, identity.run, identity.attempt, identity.lease, tag, text, now_ms)
    work.tx.insert(replace(stored, orphan=True))
    detail = {"usd": f"{usd:f}", "outcome": str(letter.claims.outcome), "agent": job.agent.name}
    work.audit(
        "fleet", "warning", "lost: a run after the restored copy", identity.run, node=node.name, **detail
    )
