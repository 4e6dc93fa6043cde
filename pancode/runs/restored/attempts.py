"""Adds the attempts that nodes report to a restored ledger, and books each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from node_agent.wire.identity import FINAL, Mark
from node_agent.wire.job import Job
from node_agent.wire.node import AttemptReport, AttemptsReport
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import PublicKey, WireRefusal, open_as, parse_envelope
from pancode.budget import books
from pancode.kernel.errors import ConflictError
from pancode.kernel.records import ActionKind, Lease, LeaseState, Node, Run, RunState, StoredReceipt
from pancode.runs import keyring
from pancode.runs.core import Core
from pancode.runs.life.adoption import Adopted
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.jobs import lease_of
from pancode.runs.nodes.heartbeats import raise_alarm
from pancode.runs.placement import breaker_service
from pancode.runs.receipts.rules import Evidence, Ruling, judge_evidence
from pancode.runs.receipts.settlement import Letter, Proofs, only_signature_of, settle_receipt
from pancode.runs.restored.hold import AskedNode, read_hold, write_hold
from pancode.runs.restored.requests import find_asked, note_restored
from pancode.runs.retention.parts import LetGo, RunFiles
from pancode.runs.unit_of_work import Work, unit_of_work

NOT_ATTRIBUTED = "not attributed"
"""The budget scope of runs that the restored ledger lacks."""
_LEAST_USD = Decimal(1)


def accept_report(core: Core, node: Node, report: AttemptsReport) -> None:
    """Add what a page of a node's attempts says to the ledger, and ask for the next page. Idempotent."""
    tag, unproven = node.tag or "", core.live.journals.unproven
    with core.ports.ledger.transaction() as tx:
        hold, keys = read_hold(tx), keyring.find_coordinator_keys(tx)
    asked = find_asked(core, hold, tag)
    if (report.fleet, report.node) != (core.fleet, tag) or asked is None or asked.after != report.after:
        return
    if report.next is not None or tag in unproven:
        core.live.journals.asked_ms.pop(tag, None)
    if tag in unproven:
        _seek_proof(core, node, report, keys)
        return
    is_over = asked.is_over
    for entry in report.entries:
        try:
            is_over &= _take_attempt(core, node, entry, keys)
        except (WireRefusal, ValueError, KeyError, ArithmeticError, ConflictError) as exc:
            raise_alarm(core, node, "report", type(exc).__name__, str(exc))
    far = AskedNode()  # a run that the ledger lacks is at work there: its cost is not known yet
    if report.next is not None:
        far = AskedNode(after=report.next, is_over=is_over)
    elif is_over:
        far = AskedNode(complete_since_ms=report.complete_since_ms)
    with unit_of_work(core) as work:
        hold = read_hold(work.tx)
        if hold is not None:
            write_hold(work, hold.model_copy(update={"asked": {**hold.asked, tag: far}}))


def _seek_proof(core: Core, node: Node, report: AttemptsReport, keys: Mapping[str, PublicKey]) -> None:
    """Note that the ledger was restored if a page has a job that proves it. Without one, the node's word
    about unknown jobs does not count any more."""
    tag, journals = node.tag or "", core.live.journals
    since_ms, _ = journals.unproven.pop(tag)
    for entry in report.entries:
        try:
            job = open_as(Job, parse_envelope(entry.job), keys)
        except WireRefusal:
            continue
        with unit_of_work(core) as work:
            hold, lease = read_hold(work.tx), work.tx.get(Lease, job.identity.run, job.identity.lease)
            receipt = None if entry.receipt is None else parse_envelope(entry.receipt).digest()
            if lease is None:  # a receipt that was booked after an earlier restore proves nothing
                stored = None if receipt is None else work.tx.get(StoredReceipt, receipt)
                is_proof = entry.mark is not Mark.REFUSED and stored is None
            else:
                is_proof = lease.closed is None and entry.mark is Mark.ACKNOWLEDGED
            if job.node != tag or not is_proof:
                continue
            if hold is None or lease is None:
                note_restored(work, f"{node.name} knows more of {job.identity} than this ledger")
            else:  # what the hold concerns is decided already
                asked = {one: far for one, far in hold.asked.items() if one != tag}
                write_hold(work, hold.model_copy(update={"asked": asked}))
        return
    if report.next is not None:
        journals.unproven[tag] = since_ms, report.next
    else:
        journals.disproved.add(tag)


def _take_attempt(core: Core, node: Node, entry: AttemptReport, keys: Mapping[str, PublicKey]) -> bool:
    """Add one attempt to the ledger; return False if the ledger lacks its run and it has not ended yet."""
    envelope, letter, own = parse_envelope(entry.job), None, keyring.keys_of(node)
    job = open_as(Job, envelope, keys)
    if (job.fleet, job.node) != (core.fleet, node.tag):
        raise ValueError(f"{job.identity} is a job of {job.fleet} for {job.node}")
    if entry.receipt is not None:
        sealed = parse_envelope(entry.receipt)
        claims = open_as(Receipt, sealed, own).predicate
        if claims.identity != job.identity:
            raise ValueError(f"the receipt of {job.identity} is of {claims.identity}")
        letter = Letter(node, only_signature_of(sealed, own), sealed.digest(), claims)
    with unit_of_work(core) as work:
        run = work.tx.get(Run, job.identity.run)
        stored = None if letter is None else work.tx.get(StoredReceipt, letter.digest)
        if run is None:
            if letter is not None and stored is None:
                _book_unknown(work, job, letter)
            return entry.mark in FINAL
        lease = work.tx.get(Lease, job.identity.run, job.identity.lease)
        if lease is None and entry.mark is not Mark.REFUSED:
            provider = breaker_service.provider_of(core, run, node.name)
            reserved, amount = job.limits.reserved_usd, books.estimate_of(run)
            amount = amount if reserved is None else replace(amount, usd=reserved)
            scopes = [one.balance.scope for one in core.budget_scopes(work.tx, run) if one.is_booked]
            offer = lease_of(job, envelope, node.name, provider)
            state = LeaseState.ACCEPTED if entry.mark is Mark.HELD else LeaseState.RUNNING
            work.signal(run, Adopted(replace(offer, state=state), amount, scopes))
            core.live.journals.forget_stray(run.id, node.tag or "")
        if stored is not None and stored.orphan:
            work.forget_receipt(stored)  # it arrived before its job was known
    if letter is None:
        return True
    # Settle the receipt as if the node had sent it now. Files that the coordinator lacks are requested; if
    # the node has deleted them, the run ends with its receipt, and its change is lost.
    proofs, claims = Proofs.of(core, [letter]), letter.claims
    found, is_gone = proofs.found.get(letter.digest), entry.mark in FINAL and not entry.kept
    is_lost = found is not None and is_gone and judge_evidence(found, claims).ruling is Ruling.RESEND
    if is_lost:
        proofs.found[letter.digest] = Evidence(True, ())
    with unit_of_work(core) as work:
        settle_receipt(work, letter, proofs)
        run = work.tx.get(Run, claims.identity.run)
        if found is not None and is_lost and run is not None:
            has_lost_change = claims.commit is not None and not found.commit_whole
            work.signal(run, FilesLost(claims.identity.lease, has_lost_change, bool(found.missing_blobs)))
        if proofs.kept:
            core.ports.archive.store(proofs.kept)
    return True


@dataclass(frozen=True, slots=True)
class FilesLost(Signal):
    """Signal that no machine has files which an accepted receipt names."""

    lease: int
    change: bool
    logs: bool

    def apply(self, made: Changes) -> Changes:
        """Record what is lost; a lost change is not landed."""
        run, now_ms = made.run, made.now.ms
        if run.state is not RunState.ENDED or run.lease != self.lease:
            return made
        lost = {RunFiles.LOGS.value: now_ms} if self.logs else {}
        words = "its logs are lost: the ledger was restored, and its node had deleted them"
        if self.change:
            lost |= {RunFiles.CHANGES.value: now_ms}
            made = made.done(made.case.action(ActionKind.LAND))
            words = "its change is lost: the ledger was restored, and its node had deleted the change"
            run = replace(made.run, landing={"status": "dropped", "why": words})
        made = made.put(LetGo(let_go={**LetGo.of(run).let_go, **lost}, files_lost=True).on(run))
        return made.tell("settle", "restored", "lost", words)


def _book_unknown(work: Work, job: Job, letter: Letter) -> None:
    """Name a run that the ledger lacks, and book its cost: at most what its job allows."""
    core, identity, claims, node = work.core, job.identity, letter.claims, letter.node
    most = max(_LEAST_USD, job.limits.reserved_usd or books.ZERO)
    usd = min(claims.usage.cost_usd or books.ZERO, most if job.limits.usd is None else job.limits.usd)
    account, stamp = books.Account(identity.run, identity.attempt, identity.lease), core.stamp()
    day = books.day_scope(min(claims.finished_wall_ms, core.wall_ms()), core.tz)
    entries = books.reserve_amount([day, NOT_ATTRIBUTED], account, books.Amount(), stamp)
    tokens = claims.usage.input_tokens + claims.usage.output_tokens
    spent = books.Spent(usd, tokens, claims.usage.agent_ms, claims.usage.cost_source)
    work.book([*entries, *books.settle_attempt(entries, account, spent, stamp)])
    text, tag = letter.envelope.model_dump_json(), node.tag or ""
    stored = StoredReceipt(
        letter.digest, identity.run, identity.attempt, identity.lease, tag, text, core.wall_ms(), orphan=True
    )
    work.tx.insert(stored)
    what, cost = "lost: a run after the restored copy", f"{usd:f}"
    work.audit("fleet", "warning", what, identity.run, node=node.name, usd=cost, agent=job.agent.name)
