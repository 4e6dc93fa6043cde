"""Decides what a receipt changes: it is booked, its attempt ends, and its run if the fence is the newest."""

from __future__ import annotations

from decimal import Decimal

from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.logs import OrderStage
from node_agent.wire.receipt import Claims
from pancode.core import books
from pancode.core.records import Attempt, Closed, Fence, FenceState, Run
from pancode.core.values import replace
from pancode.life.changes import Changes
from pancode.life.ends import GIVEN_UP, end_attempt, end_run, fail_attempt, next_attempt, not_tried_again
from pancode.life.landing import follow
from pancode.life.moves import close_fence
from pancode.life.prefaces import with_preface
from pancode.life.providers import fitting, moved
from pancode.life.retries import CAUSES, MOVES, NoRetry, RetryCause, after_failure
from pancode.life.settlement import TIMES_HELD, excess, result_of, spent_of
from pancode.life.signals import Believed, Rejected


def believed(made: Changes, signal: Believed) -> Changes:
    """The actual cost replaces the hold, the fence closes, and the node is told that we have the receipt."""
    if made.fence.receipt is not None:
        return made
    made, claims, disputed = _cut(made.add(signal.stored), signal.claims)
    made = _booked(made, claims, disputed)
    digest = signal.stored.digest
    made = made.put(replace(close_fence(made.fence, Closed.RECEIPT, made.now.ms), receipt=digest))
    made = made.stage(OrderStage.SETTLED, str(claims.outcome))
    made = _concluded(made, replace(signal, claims=claims), disputed)
    return made.send(signal.node, signal.answer)


def _cut(made: Changes, claims: Claims) -> tuple[Changes, Claims, Decimal]:
    """Only the usage that the order allows counts. The excess is on record, and excess money is disputed."""
    usage, node = claims.usage, made.fence.node
    beyond = excess(usage, made.run, made.case.left(made.attempt.attempt))
    if not beyond:
        return made, claims, books.ZERO
    claimed = {field: Decimal(getattr(usage, field)) for field in beyond}
    cuts = (f"{field} {claimed[field]:f} counted as {Decimal(most):f}" for field, most in beyond.items())
    why = f"beyond what its order allows: {', '.join(cuts)}"
    counted = usage.model_copy(update=beyond)
    disputed = books.minus(usage.cost_usd or books.ZERO, counted.cost_usd or books.ZERO)
    verdict = "claim disputed" if disputed else "claim cut"
    absurd = disputed > TIMES_HELD * (counted.cost_usd or books.ZERO) or not disputed
    if absurd:
        made = made.record("trust", "error", verdict, node=node, why=why)
    else:  # an agent's last call passes its limit
        made = made.record("budget", "warning", verdict, node=node, why=why)
    made = made.tell("settle", node, verdict, why)
    return made, claims.model_copy(update={"usage": counted}), disputed


def _booked(made: Changes, claims: Claims, disputed: Decimal) -> Changes:
    """Book the cost. A late receipt settles a cost that was given up as unknown; a disputed cost stands
    beside it."""
    entries, account, stamp = made.case.entries, made.case.account, made.now.stamp
    spent = spent_of(claims)
    late = books.add_unknown if spent.usd is None else books.settle_unknown  # it stood as lost or as rejected
    new = late(entries, account, spent, stamp) + books.settle(entries, account, spent, stamp)
    new = new or books.add_second(entries, account, spent, stamp)
    return made.book([*new, *books.dispute(new, account, disputed, stamp)])


def _concluded(made: Changes, signal: Believed, disputed: Decimal) -> Changes:
    """The attempt takes the receipt's outcome, unless another fence has ended it; so does the run, for its
    newest fence."""
    run, claims = made.run, signal.claims
    lost = run.outcome is Outcome.LOST and GIVEN_UP not in run.result
    wins = made.case.newest and (run.outcome is None or lost)
    outcome = claims.outcome if wins else Outcome.SUPERSEDED
    usage = claims.usage.model_dump(mode="json")
    usage |= {books.DISPUTED: f"{disputed:f}"} if disputed else {}
    if wins or (made.attempt.outcome in (None, Outcome.LOST) and not _goes_on(made)):
        made = end_attempt(made, outcome, claims.failure, claims.reason)
        made = made.put(replace(made.attempt, usage=usage))
    elif not made.attempt.usage:
        made = made.put(replace(made.attempt, usage=usage))
    verdict = f"{outcome}" if wins else f"evidence only: {claims.outcome}"
    made = made.tell("settle", f"receipt from {claims.node_name}", verdict, claims.reason)
    if not wins:
        return made
    if run.outcome is None and claims.failure is not None:
        made, follows = _tried_again(made, signal)
        if follows:
            return made
    made = end_run(
        _withdraw_next(made), **result_of(claims), receipt=signal.stored.digest, node=made.fence.node
    )
    started = claims.started_wall_ms if claims.started_wall_ms is not None else run.started_ms
    made = made.put(replace(made.run, exit_code=claims.exit_code, started_ms=started))
    return follow(made)


def _goes_on(made: Changes) -> bool:
    """Whether a newer fence of this attempt is open, which then says how the attempt ends."""
    same = (fence for fence in made.case.fences.values() if fence.attempt == made.attempt.attempt)
    return any(one.fence > made.fence.fence and one.state is not FenceState.CLOSED for one in same)


def _tried_again(made: Changes, signal: Believed) -> tuple[Changes, bool]:
    """Whether another attempt follows, or waits already because this one was given up as lost."""
    claims, failure = signal.claims, signal.claims.failure
    this = replace(made.run, attempt=made.attempt.attempt)
    elsewhere = _other_can(made, this, signal) if may_move(failure) else False
    if failure is not None and (elsewhere or FAILURES[failure].elsewhere):
        made = made.pass_over(this.id, failure, claims.reason)
    retry = after_failure(this, failure, made.case.attempts.values(), elsewhere)
    if isinstance(retry, NoRetry):
        return (not_tried_again(made, "retries", retry.why) if retry.why else made), False
    if made.run.attempt != this.attempt:
        return made, True
    made = made.put(with_preface(made.run, retry.cause, claims, signal.output))
    asked_ms = claims.calls.retry_ms if claims.calls is not None else 0
    there = moved(made.run, signal.nodes) if retry.cause is RetryCause.RATE_LIMIT else None
    if there is not None:
        words = f"{made.run.runtime} is turned away; {there.runtime} calls another provider"
        made = made.put(there).tell("retry", there.runtime, "moved", words)
        retry, asked_ms = replace(retry, pauses=0), 0
    again = next_attempt(made, retry, claims.reason, asked_ms)
    return (again, True) if again is not None else (not_tried_again(made), False)


def needs_nodes(failure: FailureKind | None) -> bool:
    """Whether the decision needs to know which nodes there are."""
    return may_move(failure) or failure is FailureKind.MODEL_BUSY


def may_move(failure: FailureKind | None) -> bool:
    """Whether the decision needs to know if another node could take the run."""
    return failure is not None and CAUSES.get(failure) in MOVES


def _other_can(made: Changes, this: Run, signal: Believed) -> bool:
    away = {made.fence.node, *signal.passed_over, *failed_on(made)}
    return any(view.node.name not in away for view in fitting(this, signal.nodes))


def failed_on(made: Changes) -> set[str]:
    """The nodes where an attempt has failed for a reason that another node may not have, however long ago."""
    failed = {number for number, attempt in made.case.attempts.items() if _is_elsewhere(attempt)}
    return {fence.node for fence in made.case.fences.values() if fence.attempt in failed}


def _is_elsewhere(attempt: Attempt) -> bool:
    return attempt.failure is not None and FAILURES[attempt.failure].elsewhere


def _withdraw_next(made: Changes) -> Changes:
    """A lost attempt has ended before the next one was bound, so the next one is withdrawn."""
    run, attempt, stamp = made.run, made.attempt.attempt, made.now.stamp
    if run.attempt == attempt or run.outcome is not None:
        return made
    queued = made.case.attempts.get(run.attempt)
    if queued is not None:
        why = "the attempt before it was heard of after all"
        over = replace(queued, outcome=Outcome.SUPERSEDED, failure=None, reason=why, finished_ms=stamp.at_ms)
        account = books.Account(run.id, run.attempt)
        made = made.put(over).book(books.release(made.case.entries, account, stamp, why))
    return made.put(replace(run, attempt=attempt))


def _may_be_ended_by(tag: str | None, fence: Fence) -> bool:
    """A false receipt ends an open fence of the node that signed it, and nothing else."""
    return fence.tag == tag and fence.closed is None


def rejected(made: Changes, signal: Rejected) -> Changes:
    """A rejected receipt ends an open fence as `infra`, with an unknown cost."""
    if not _may_be_ended_by(signal.tag, made.fence):
        return made
    case, over = made.case, made.run.outcome is not None or not made.case.newest
    made = made.put(close_fence(made.fence, Closed.RECEIPT, made.now.ms)).stage(OrderStage.REJECTED)
    made = made.book(books.settle(case.entries, case.account, books.Spent(None), made.now.stamp))
    made = fail_attempt(made, FailureKind.RECEIPT_REJECTED, signal.reason)
    made = made.tell("settle", signal.node, "receipt rejected", signal.reason)
    return made if over else end_run(made, node=signal.node)
