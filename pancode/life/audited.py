"""Derives the audit's entries on the life of a run from a decision's changes, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.wire.failure import Outcome
from node_agent.wire.logs import OrderStage
from pancode.core.records import ActionKind, Closed, Run
from pancode.core.values import replace
from pancode.counted import first_few
from pancode.life import asked_calls
from pancode.life.changes import AuditLine, Changes
from pancode.life.inbox import ItemKind, item_of

MOST_CHARS = 300
"""The longest text in an entry: the audit is kept for good, and nodes and runs write such texts."""
_LEVELS = {Outcome.DONE: "info", Outcome.INTERRUPTED: "warning", Outcome.BLOCKED: "warning"}
"""The level of an end; each end that is not listed is an error."""
_FOUND = ("warning", "error")
MOST_HEARD = 5_000
"""How many events of one order become entries."""


def entries_of(made: Changes) -> Iterator[AuditLine]:
    """The entries in the order of their events. The modules of landings and answers write their own
    entries."""
    run, was = made.run, made.before.run
    if made.fresh:
        yield _queued(run)
    yield from _questions(made)
    yield from _on_nodes(made)
    yield from _found(made)
    if run.stop_asked is not None and was.stop_asked is None:
        yield _line(run, "warning", "stop asked", why=run.stop_asked)
    if run.attempt > was.attempt:
        last = made.case.attempts.get(was.attempt)
        failure, why = (last.failure, last.reason) if last is not None else (None, "")
        yield _line(run, "warning", "tried again", attempt=run.attempt, failure=failure, why=why)
    if made.ended:
        yield _ended(run)


def _on_nodes(made: Changes) -> Iterator[AuditLine]:
    """Starts, refusals and losses on nodes. A node that cannot take any order now is only a wait, and no
    entry."""
    run = made.run
    for staged in made.stages:
        if staged.stage is OrderStage.STARTED:
            yield _line(run, "info", "started", node=staged.fence.node, attempt=staged.fence.attempt)
    for fence in made.closed:
        where: dict[str, object] = {"node": fence.node, "attempt": fence.attempt}
        if fence.closed is Closed.REFUSED:
            yield _line(run, "warning", "refused by its node", **where, why=run.reason)
        elif fence.closed is Closed.LOST:
            attempt = made.case.attempts.get(fence.attempt)
            yield _line(run, "warning", "lost on its node", **where, why=attempt.reason if attempt else "")


def _found(made: Changes) -> Iterator[AuditLine]:
    """The node's warnings: a denied call, a broken rule. A node cannot fill the audit with them."""
    found = [one for one in made.story if one.kind == "node" and one.verdict in _FOUND]
    if found and made.fence.cursor <= MOST_HEARD:
        for one in found:
            where = {"node": one.what, "attempt": made.fence.attempt}
            yield _line(made.run, one.verdict, "finding", **where, finding=one.detail)


def _queued(run: Run) -> AuditLine:
    """The run was queued. `held`: whether a sandbox or a program enforces its rules, or the run was only told
    them."""
    level, held = ("warning", "told only") if run.told_only else ("info", None)
    rules = {"mode": run.mode.value, "safety": run.safety.value, "held": held}
    of = {"workflow": run.workflow, "step": run.step, "parent": run.parent, "judges": run.judges}
    what = {"agent": run.agent, "runtime": run.runtime, "model": run.asked_model or run.model}
    return _line(run, level, "queued", by=run.created_by, **what, **rules, **of, retry_of=run.retry_of)


def _questions(made: Changes) -> Iterator[AuditLine]:
    """A person is asked about the run, or about one more call of its agent."""
    run, asks, kind = made.run, made.case.action(ActionKind.PERSON), ItemKind.CALL
    for row in asked_calls.rows(run)[len(asked_calls.rows(made.before.run)) :]:
        yield _asked(run, kind, row["command"], rule=row["pattern"])
    if asks is not None and asks != made.before.action(ActionKind.PERSON):
        item = item_of(run, asks)
        if item.kind is not kind:
            yield _asked(run, item.kind, item.words)


def _asked(run: Run, kind: ItemKind, words: str, **detail: object) -> AuditLine:
    line = _line(run, "info", "a person is asked", kind=kind.value, words=words, **detail)
    return replace(line, domain="people")


def _ended(run: Run) -> AuditLine:
    """The run's end, with the receipt's digest, so that the chain holds the receipt too."""
    result, found = run.result, run.result.get("findings")
    findings = first_few([str(one) for one in found], 3) if isinstance(found, list | tuple) else None
    detail = {"node": result.get("node"), "failure": run.failure, "why": run.reason}
    detail |= {"exit_code": run.exit_code, "held": result.get("isolation"), "findings": findings}
    level = _LEVELS.get(run.outcome, "error") if run.outcome is not None else "error"
    return _line(run, level, f"ended: {run.outcome}", **detail, receipt=result.get("receipt"))


def _line(run: Run, level: str, what: str, **detail: object) -> AuditLine:
    known = {name: _short(value) for name, value in detail.items() if value not in (None, "")}
    return AuditLine("dispatch", level, what, run.id, known)


def _short(value: object) -> object:
    return str(value)[:MOST_CHARS] if isinstance(value, str) else value
