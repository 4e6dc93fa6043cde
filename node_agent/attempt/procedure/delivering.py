"""From `gated` to the end: push, upload, seal the receipt, send it until it is answered, clean up."""

from __future__ import annotations

import contextlib
from typing import Any

from node_agent.attempt.claims import ClaimTime, claims_of
from node_agent.attempt.markdata import PushedData
from node_agent.attempt.plans import KEPT, STREAMS
from node_agent.attempt.ports import StepFailed
from node_agent.attempt.procedure.closing import salvaged
from node_agent.attempt.procedure.context import Case, Finished, Progressed, Turn, Wait
from node_agent.attempt.records import Note
from node_agent.attempt.verdict import Fault
from node_agent.wire import keys
from node_agent.wire.event import Finding
from node_agent.wire.identity import Mark
from node_agent.wire.receipt import receipt_of

MAYBE_SHORT = "the log may be cut short: the node was restarted before it was sent"


def push(case: Case) -> Turn:
    """gated → pushed. LinkDown leaves it there; a depot that says no costs the result, not the receipt."""
    fault, commit = case.fault, case.entry.committed.get("commit")
    findings: list[str] = []
    delivered = False
    if commit is not None:
        case.context.journal.settle(case.identity)  # it stays this commit
        try:
            case.context.workspaces.push(case.identity, case.order.workspace, commit)
            delivered = True
        except StepFailed as failed:
            fault = fault or Fault(failed.kind, f"the result was not taken: {failed}")
            findings = [f"the depot did not take {commit}: {failed}"[:1000]]
            findings += salvaged(case)
    blobs, lost = upload(case)
    findings += lost
    if blobs and case.was_cut_off:
        findings.append(MAYBE_SHORT)
    data = PushedData(blobs=blobs, delivered=delivered, findings=findings)
    return case.mark(Mark.PUSHED, fault, data, *(Finding(level="error", text=text) for text in findings))


def upload(case: Case) -> tuple[list[dict[str, Any]], list[str]]:
    """Every output that there is, and words for those that the depot refused."""
    blobs, lost = [], []
    for name in STREAMS:
        path = case.folder / name
        if not case.context.runner.tail(path, 0, 1):
            continue
        case.context.journal.settle(case.identity)
        try:
            blobs.append(case.context.depot.upload(case.identity, name, path).model_dump(mode="json"))
        except StepFailed as failed:
            lost.append(f"the depot did not take {name}: {failed}"[:1000])
    return blobs, lost


def seal(case: Case) -> Turn:
    """pushed → receipted: signed and on disk before anybody sees it."""
    context = case.context
    now = ClaimTime(context.clock.wall_ms(), context.now(), context.journal.last_receipt())
    claims = claims_of(context.node, case.order, case.entry, case.prompt_digest(), now)
    envelope = receipt_of(claims).signed(context.key)
    context.journal.seal(case.identity, envelope.model_dump_json(), envelope.digest(), now.previous)
    return Progressed()  # when another receipt came between, the next turn seals with the new predecessor


def publish(case: Case) -> Turn:
    """receipted → the coordinator's answer, which `control` marks. Sent again, ever more rarely."""
    context, now = case.context, case.context.clock.mono_ms()
    if case.resend:
        _send_again(case)
        case.resend, case.sent_ms, case.backoff_ms = False, None, context.tempo.publish_first_ms
    if case.sent_ms is None or now - case.sent_ms >= case.backoff_ms:
        receipt = context.journal.receipt(case.identity)
        if receipt is None:
            return Wait("the sealed receipt cannot be read", context.tempo.publish_most_ms)
        context.deliver(receipt)
        if case.sent_ms is not None:
            case.backoff_ms = min(case.backoff_ms * 2, context.tempo.publish_most_ms)
        case.sent_ms = now
    return Wait("the receipt is not acknowledged yet", max(1, case.sent_ms + case.backoff_ms - now))


def _send_again(case: Case) -> None:
    """Everything that the receipt names, the commit too: the coordinator did not find it whole."""
    commit = case.entry.committed.get("commit")
    if commit is not None and case.entry.pushed.get("delivered"):
        with contextlib.suppress(StepFailed):  # the receipt stands; the coordinator judges what it has
            case.context.workspaces.push(case.identity, case.order.workspace, commit)
    upload(case)


def clean_up(case: Case) -> Turn:
    """A final mark → nothing left to do. Only now may anything of the attempt be taken away."""
    entry, context = case.entry, case.context
    context.journal.settle(case.identity)
    why = entry.newest.get("why", "")
    if entry.mark is not Mark.ACKNOWLEDGED or why:  # who acknowledged it has closed its job, but an orphan's
        ok = entry.mark is not Mark.REFUSED
        context.uplink.settle_job(keys.job_id(context.node.tag, case.identity), ok, why)
    context.gateways.close(case.folder)
    for phase in case.phases:
        context.runner.forget(phase)
    if entry.mark is not Mark.REJECTED:
        context.workspaces.remove(case.identity, case.order.workspace)
        context.journal.drop(case.identity, KEPT)
    context.journal.write(case.identity, Note(cleaned=True, lazy=True))
    return Finished()
