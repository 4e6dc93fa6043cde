"""Rules for a validly signed receipt: whether to accept it, what to book, and how its attempt ends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from node_agent.wire.control import Acknowledge
from node_agent.wire.event import Progress
from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.job import is_session
from node_agent.wire.logs import JobStage
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import Claims, SuspendReason, Usage
from pancode.agents.runtimes import RUNTIMES
from pancode.budget import books
from pancode.budget.books import ZERO, Spent
from pancode.kernel.names import GATES
from pancode.kernel.node import NodeView
from pancode.kernel.records import ActionKind, Attempt, Closed, Lease, LeaseState, Node, Run, StoredReceipt
from pancode.kernel.values import replace
from pancode.runs.facts import GateTerms, SessionTurn
from pancode.runs.life import conversation, waits
from pancode.runs.life.case import NOT_STARTED, close_lease
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.ends import GIVEN_UP, end_attempt, end_run, fail_attempt, next_attempt, not_tried_again
from pancode.runs.life.jobs import skill_marks, snapshot_of, unwalled_marks
from pancode.runs.life.retries import (
    CAUSES,
    MOVES,
    NoRetry,
    RetryCause,
    after_failure,
    failed_gates,
    find_fitting_nodes,
    from_what_it_left,
    switch_provider,
    with_preface,
    without_session,
)

MIXED, ASSUMED = "mixed", "assumed"
"""The cost source of a sum of several sources, and that of a cost with calls of unknown tokens."""


def cost_of(attempts: Iterable[Attempt]) -> tuple[Decimal, bool]:
    """Return the known cost of the attempts, and whether any cost is unknown. An attempt that never began
    cost nothing."""
    costs = [_find_cost(attempt) for attempt in attempts if _has_begun(attempt)]
    return books.add_amounts(*(usd for usd in costs if usd is not None)), None in costs


def usage_of_all(attempts: Iterable[Attempt]) -> dict[str, Any]:
    """Return the usage of all attempts together, in the form of one attempt's usage; empty: nothing is known
    yet."""
    known = list(attempts)
    rows = [attempt for attempt in known if _has_begun(attempt)]
    if not rows:
        return known[-1].usage if known else {}
    if len(rows) == 1:
        usage, unknown = rows[0].usage, _find_cost(rows[0]) is None
        return {**usage, "cost_usd": None} if unknown else usage
    usd, unknown = cost_of(rows)
    disputed = books.add_amounts(*(Decimal(str(row.usage.get(books.DISPUTED) or 0)) for row in rows))
    sources = {str(source) for attempt in rows if (source := attempt.usage.get("cost_source"))}
    # If a part of the cost is only assumed, the sum is only assumed, too.
    sources -= {"metered"} if ASSUMED in sources else set()
    return {
        "input_tokens": sum(_count(attempt, "input_tokens") for attempt in rows),
        "output_tokens": sum(_count(attempt, "output_tokens") for attempt in rows),
        "cost_usd": None if unknown else f"{usd:f}",
        "cost_source": "unknown" if unknown else sources.pop() if len(sources) == 1 else MIXED,
        **({books.DISPUTED: f"{disputed:f}"} if disputed else {}),
    }


def _has_begun(attempt: Attempt) -> bool:
    """Whether an agent may have worked in the attempt: it has usage, was lost, or has a rejected receipt."""
    if attempt.usage.get("cost_source") == NOT_STARTED["cost_source"]:
        return False
    unheard = attempt.outcome is Outcome.LOST or attempt.failure is FailureKind.RECEIPT_REJECTED
    return bool(attempt.usage) or unheard


def _find_cost(attempt: Attempt) -> Decimal | None:
    """Return the attempt's known cost; None: unknown. Progress reports count only until it ends."""
    if attempt.outcome is not None and attempt.usage.get("cost_source") is None:
        return None
    return books.known_cost(attempt.usage)


def _count(attempt: Attempt, name: str) -> int:
    return int(str(attempt.usage.get(name) or 0))


TIMES_HELD = 10
"""If the job has no limit, a claim of up to this many times its reservation is accepted."""
_LEAST_USD, _LEAST_TOKENS = Decimal(1), 10_000_000
"""USD and tokens that are always accepted for a model's work if the job has no limit."""
_MORE_TOKENS, _MORE_MS, _MORE_USD = 1_000_000, 600_000, Decimal(1)
"""Accepted excess over a limit: tokens of an attempt's last call, milliseconds needed to stop, and USD of the
last call that a gateway metered."""


class Ruling(StrEnum):
    """The coordinator's decision on a receipt."""

    ACCEPT = "accept"
    AGAIN = "again"
    """The same receipt is already archived: the stored answer is sent again."""
    ORPHAN = "orphan"
    """No job here matches (the ledger was restored): the receipt is stored but not accepted, and settles
    nothing."""
    FOREIGN = "foreign"
    """The receipt is for another node's job, so it is rejected and not stored."""
    RESEND = "resend"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Which of the files that the receipt names are on the coordinator's disk."""

    commit_whole: bool
    missing_blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision on a receipt, with the reason."""

    ruling: Ruling
    reason: str = ""
    missing: tuple[str, ...] = ()


def find_excess(usage: Usage | Progress, run: Run, left: Decimal | None) -> dict[str, Any]:
    """Return the usage that exceeds what the job allows, by field, each with the amount that is accepted
    instead. `left`: the rest of the run's own limit for this attempt; None: the run has no limit."""
    tokens, wall_ms = run.limits.get("tokens"), run.limits.get("wall_ms")
    free_tokens = max(TIMES_HELD * run.estimate_tokens, _LEAST_TOKENS)
    most_tokens = tokens + _MORE_TOKENS if isinstance(tokens, int) else free_tokens
    metered = isinstance(usage, Usage) and usage.cost_source in ("metered", "assumed")
    last_call = _MORE_USD if metered and not RUNTIMES[run.runtime].own else ZERO
    most: dict[str, Decimal | int | None] = {
        "cost_usd": books.add_amounts(most_usd(run, left), last_call),
        "input_tokens": most_tokens,
        "output_tokens": most_tokens,
        "agent_ms": wall_ms + _MORE_MS if isinstance(wall_ms, int) else None,
    }
    claims = ((name, getattr(usage, name), amount) for name, amount in most.items())
    return {name: most for name, claim, most in claims if None not in (claim, most) and claim > most}


def most_usd(run: Run, left: Decimal | None) -> Decimal:
    """Return the most USD that are accepted for the attempt: 0 for a user's own program, unless it acts as an
    agent with a limit."""
    kind = RUNTIMES[run.runtime]
    if kind.own:
        return left if left is not None and kind.plays else ZERO
    return max(TIMES_HELD * run.estimate_usd, _LEAST_USD) if left is None else left


def judge_identity(
    claims: Claims, digest: str, node: Node, run: Run | None, lease: Lease | None
) -> Judged | None:
    """Make all checks that need no disk access; None: `judge_evidence` must decide. `node`: the signer."""
    if lease is not None and _is_anothers(lease, node):
        return Judged(Ruling.FOREIGN, f"{lease.run} lease {lease.lease} was assigned to {lease.node}")
    if run is None or lease is None:
        return Judged(Ruling.ORPHAN, "no such lease in this ledger")
    if lease.receipt == digest:
        return Judged(Ruling.AGAIN)
    if lease.receipt is not None:
        return Judged(Ruling.REJECT, "another receipt of this lease was already accepted")
    if claims.job != lease.digest and claims.epoch != lease.start_by_epoch:
        return Judged(Ruling.ORPHAN, "of a job that this ledger does not contain (it was restored)")
    lie = _wrong_name(claims, node, lease) or _first_lie(claims, run, lease)
    return Judged(Ruling.REJECT, lie) if lie else None


def judge_evidence(evidence: Evidence, claims: Claims) -> Judged:
    """Judge whether all files that the receipt names are stored by the coordinator and complete."""
    missing = list(evidence.missing_blobs)
    if claims.commit is not None and not evidence.commit_whole:
        missing.insert(0, "commit")
    if missing:
        return Judged(Ruling.RESEND, f"missing or incomplete: {', '.join(missing)}", tuple(missing))
    return Judged(Ruling.ACCEPT)


def _is_anothers(lease: Lease, node: Node) -> bool:
    return lease.tag != node.tag


def _wrong_name(claims: Claims, node: Node, lease: Lease) -> str:
    """Return why the receipt's node name is wrong; empty: it is the name now or when the job was assigned."""
    if claims.node_name in (node.name, lease.node):
        return ""
    return f"node_name is {claims.node_name[:80]!r}, but the key that signed it is enrolled for {node.name!r}"


def _first_lie(claims: Claims, run: Run, lease: Lease) -> str:
    """Describe the first claim that contradicts the job; empty if there is none."""
    ordered = {
        "order": (claims.job, lease.digest),
        "epoch": (claims.epoch, lease.start_by_epoch),
        "attempt": (claims.identity.attempt, lease.attempt),
        "runtime": (claims.runtime, run.runtime),
        "agent": (claims.agent, run.agent),
        "base": (claims.base, run.workspace.get("base")),
        "snapshot": (claims.snapshot, snapshot_of(run, lease.attempt)),
        "mode": (claims.mode, run.mode),
        "safety": (claims.safety, run.safety),
    }
    for what, (claimed, due) in ordered.items():
        if claimed != due:
            return f"{what} is {claimed!r}, but the job requires {due!r}"
    ran = [[gate.name, list(gate.argv)] for gate in claims.gates]
    gates = [[gate["name"], list(_read_words(gate["argv"]))] for gate in run.gates]
    if ran != gates[: len(ran)]:
        return f"gates are {ran!r}, but the job requires {gates!r}"
    in_sandbox = claims.isolation is Isolation.SANDBOX
    if claims.skills != (skill_marks(run) if in_sandbox else unwalled_marks(run)):
        return f"skills are {claims.skills!r}, but the job requires {skill_marks(run)!r}"
    reports, due = [one.file for one in claims.reports], list(GateTerms.of(run).reports or ())
    if reports not in ([], due):
        return f"reports are {reports!r}, but the job requires {due!r}"
    return _explain_conflict(claims, run)


def _read_words(argv: object) -> Sequence[object]:
    return argv if isinstance(argv, list | tuple) else ()


def _explain_conflict(claims: Claims, run: Run) -> str:
    """Describe claims that contradict each other; empty: no claims do."""
    if claims.failure is not None and FAILURES[claims.failure].outcome is not claims.outcome:
        return f"outcome {claims.outcome} contradicts failure {claims.failure}"
    if (claims.failure is None) != (claims.outcome is Outcome.DONE):
        return f"outcome {claims.outcome} with failure {claims.failure}"
    if claims.outcome is Outcome.DONE and not all(g.passed for g in claims.gates):
        return "done, although a gate failed"
    if claims.outcome is Outcome.DONE and len(claims.gates) != len(run.gates):
        return f"done, although only {len(claims.gates)} of {len(run.gates)} gates ran"
    if claims.session is not None and not is_session(claims.session):
        return f"{claims.session!r} is not a valid session name"
    if claims.question is not None and claims.outcome is not Outcome.BLOCKED:
        return f"outcome {claims.outcome} with a question to a user"
    if (claims.usage.cost_usd is None) != (claims.usage.cost_source == "unknown"):
        return "cost and its source contradict each other"
    if claims.outcome is Outcome.DONE and claims.change == "change" and claims.commit is None:
        return "done with a change, but without a commit"
    return ""


_KEPT = {"commit", "base", "snapshot", "files_changed", "change", "answer", "usage", "gates", "findings"}
_KEPT |= {"question", "exposed", "isolation", "signal", "identity", "session", "calls", "claimed", "score"}
_KEPT |= {"reports", "rests", "gates_on", "tool_calls"}


def result_of(claims: Claims) -> dict[str, Any]:
    """Return the part of the claims that becomes the run's result, as JSON values."""
    return claims.model_dump(mode="json", include=_KEPT)


@dataclass(frozen=True, slots=True)
class Believed(Signal):
    """Signal that a receipt was accepted as true and complete; the files that it names are on disk."""

    node: str
    """The name of the node whose key signed the receipt."""
    claims: Claims
    stored: StoredReceipt
    answer: Acknowledge
    nodes: Sequence[NodeView] = ()
    """The nodes of the fleet, if the decision about a retry requires them; else empty."""
    passed_over: Collection[str] = ()
    """The nodes that are not offered this run for a while."""
    output: str = ""
    """The end of the gates' output if a gate failed; else empty."""

    def apply(self, made: Changes) -> Changes:
        """Settle an accepted receipt: book its cost, close the lease, and answer the node."""
        if made.lease.receipt is not None:
            return made
        made, claims, disputed = _cut(made.add(self.stored), self.claims)
        # Book the cost. A late receipt settles a cost that was booked as unknown; a disputed cost is a second
        # entry.
        entries, account, stamp = made.case.entries, made.case.account, made.now.stamp
        usage = claims.usage
        tokens = usage.input_tokens + usage.output_tokens
        spent = Spent(usage.cost_usd, tokens, usage.agent_ms, usage.cost_source)
        # The cost may already be booked as unknown, because the attempt was lost or its receipt was rejected.
        late = books.add_unknown if spent.usd is None else books.settle_unknown
        new = late(entries, account, spent, stamp) + books.settle_attempt(entries, account, spent, stamp)
        new = new or books.add_second(entries, account, spent, stamp)
        new = new or books.add_rest(entries, account, spent, stamp)
        # Otherwise unknown costs of five suspended chats would use up the day's ceiling.
        if spent.usd is None and claims.rests is not None:
            new += books.lapse_all([*entries, *new], account, stamp, books.SUSPENDED)
        made = made.book([*new, *books.book_dispute(new, account, disputed, stamp)])
        digest = self.stored.digest
        made = made.put(replace(close_lease(made.lease, Closed.RECEIPT, made.now.ms), receipt=digest))
        made = made.stage(JobStage.SETTLED, str(claims.outcome))
        made = _conclude_attempt(made, replace(self, claims=claims), disputed)
        return made.send(self.node, self.answer)


def _cut(made: Changes, claims: Claims) -> tuple[Changes, Claims, Decimal]:
    """Reduce the usage to what the job allows. The excess is recorded, and excess money is disputed."""
    usage, node = claims.usage, made.lease.node
    beyond = find_excess(usage, made.run, made.case.ordered())
    if not beyond:
        return made, claims, books.ZERO
    claimed = {field: Decimal(getattr(usage, field)) for field in beyond}
    cuts = (f"{field} {claimed[field]:f} counted as {Decimal(most):f}" for field, most in beyond.items())
    why = f"beyond what the job allows: {', '.join(cuts)}"
    counted = usage.model_copy(update=beyond)
    disputed = books.subtract_amount(usage.cost_usd or books.ZERO, counted.cost_usd or books.ZERO)
    verdict = "claim disputed" if disputed else "claim cut"
    absurd = disputed > TIMES_HELD * (counted.cost_usd or books.ZERO) or not disputed
    if absurd:
        made = made.record("trust", "error", verdict, node=node, why=why)
    else:  # The last call of an agent may exceed its limit.
        made = made.record("budget", "warning", verdict, node=node, why=why)
    made = made.tell("settle", node, verdict, why)
    return made, claims.model_copy(update={"usage": counted}), disputed


def _conclude_attempt(made: Changes, signal: Believed, disputed: Decimal) -> Changes:
    """End the attempt with the receipt's outcome, unless another lease has ended it. The run's newest attempt
    also ends the run."""
    run, claims = made.run, signal.claims
    lost = run.outcome is Outcome.LOST and GIVEN_UP not in run.result
    wins = made.case.newest and (run.outcome is None or lost)
    outcome = claims.outcome if wins else Outcome.SUPERSEDED
    usage = claims.usage.model_dump(mode="json")
    usage |= {books.DISPUTED: f"{disputed:f}"} if disputed else {}
    if wins or (made.attempt.outcome in (None, Outcome.LOST) and not _has_newer_lease(made)):
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
    # Events of turns may have been lost with a killed node agent, so they are taken from the receipt.
    for turn in claims.turns:
        made = waits.record_turn(made, turn, made.now.ms)
    if claims.failure is FailureKind.GATE_FAILED and conversation.hears_of_gates(made.run, claims.rests):
        failures = failed_gates(claims, signal.output)
        made = waits.add_message(made, GATES, failures) if failures else made
    made = end_run(
        _withdraw_next(made), **result_of(claims), receipt=signal.stored.digest, node=made.lease.node
    )
    started = claims.started_wall_ms if claims.started_wall_ms is not None else run.started_ms
    made = made.put(replace(made.run, exit_code=claims.exit_code, started_ms=started))
    if claims.rests is SuspendReason.SLOT and claims.outcome is Outcome.DONE:
        for_whom = SessionTurn.of(made.run).gives_way or "a run"
        made = made.put(replace(made.run, reason=f"suspended: {for_whom} needed its slot"))
    blocked = claims.outcome is Outcome.BLOCKED or conversation.is_cut_by_cap(made.run)
    return made.follow(ActionKind.USER, made.run.created_by) if blocked else made


def _has_newer_lease(made: Changes) -> bool:
    """Whether a newer lease of this attempt is open, which then decides how the attempt ends."""
    same = (lease for lease in made.case.leases.values() if lease.attempt == made.attempt.attempt)
    return any(one.lease > made.lease.lease and one.state is not LeaseState.CLOSED for one in same)


def _tried_again(made: Changes, signal: Believed) -> tuple[Changes, bool]:
    """Begin another attempt if the rules allow it. True: one follows, or already waits since the loss."""
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
    made = made.put(with_preface(without_session(made.run), retry.cause, claims, signal.output))
    if retry.cause is RetryCause.RATE_LIMIT:
        on = from_what_it_left(made.run, claims, made.lease.node)
        if on is not made.run:
            kept = [
                *(["its change"] if claims.commit else []),
                *(["its session"] if on.resumes_on is not None else []),
            ]
            words = f"with what attempt {this.attempt} left: {' and '.join(kept)}"
            made = made.put(on).tell("retry", f"attempt {this.attempt + 1}", "continues", words)
    calls = claims.calls
    # With a key, the gateway sees the server's answer itself; without, a run's code could forge its output.
    told_ms = claims.resets_ms if calls is None or calls.subscription else 0
    asked_ms = max(told_ms, calls.retry_ms if calls is not None else 0)
    there = switch_provider(made.run, signal.nodes) if retry.cause is RetryCause.RATE_LIMIT else None
    if there is not None:
        words = f"the provider of {made.run.runtime} refuses calls; {there.runtime} calls another provider"
        made = made.put(without_session(there, first=False)).tell("retry", there.runtime, "moved", words)
        retry, asked_ms = replace(retry, pauses=0), 0
    again = next_attempt(made, retry, claims.reason, asked_ms)
    return (again, True) if again is not None else (not_tried_again(made), False)


def needs_nodes(failure: FailureKind | None) -> bool:
    """Whether the decision about a retry depends on the fleet's nodes."""
    return may_move(failure) or failure is FailureKind.MODEL_BUSY


def may_move(failure: FailureKind | None) -> bool:
    """Whether the decision about a retry depends on another node being able to take the run."""
    return failure is not None and CAUSES.get(failure) in MOVES


def _other_can(made: Changes, this: Run, signal: Believed) -> bool:
    away = {made.lease.node, *signal.passed_over, *failed_on(made)}
    return any(view.node.name not in away for view in find_fitting_nodes(this, signal.nodes))


def failed_on(made: Changes) -> set[str]:
    """Return the nodes where an attempt failed for a reason that may not apply to other nodes."""
    attempts = made.case.attempts.items()
    failed = {n for n, one in attempts if one.failure is not None and FAILURES[one.failure].elsewhere}
    return {lease.node for lease in made.case.leases.values() if lease.attempt in failed}


def _withdraw_next(made: Changes) -> Changes:
    """Withdraw the waiting next attempt, as the lost one before it has sent its receipt after all."""
    run, attempt, stamp = made.run, made.attempt.attempt, made.now.stamp
    if run.attempt == attempt or run.outcome is not None:
        return made
    queued = made.case.attempts.get(run.attempt)
    if queued is not None:
        why = "the previous attempt reported after all"
        over = replace(queued, outcome=Outcome.SUPERSEDED, failure=None, reason=why, finished_ms=stamp.at_ms)
        account = books.Account(run.id, run.attempt)
        made = made.put(over).book(books.release_reserved(made.case.entries, account, stamp, why))
    return made.put(replace(run, attempt=attempt))


def _may_be_ended_by(tag: str | None, lease: Lease) -> bool:
    """Whether a false receipt may end this lease: it must be open, and of the node that signed it."""
    return lease.tag == tag and lease.closed is None


@dataclass(frozen=True, slots=True)
class Rejected(Signal):
    """Signal that a receipt with a valid signature was rejected because of false claims."""

    node: str
    tag: str | None
    """The tag of the key that signed the receipt."""
    reason: str

    def apply(self, made: Changes) -> Changes:
        """End an open lease as `infra`, with unknown cost."""
        if not _may_be_ended_by(self.tag, made.lease):
            return made
        case, over = made.case, made.run.outcome is not None or not made.case.newest
        made = made.put(close_lease(made.lease, Closed.RECEIPT, made.now.ms)).stage(JobStage.REJECTED)
        made = made.book(books.settle_attempt(case.entries, case.account, books.Spent(None), made.now.stamp))
        made = fail_attempt(made, FailureKind.RECEIPT_REJECTED, self.reason)
        made = made.tell("settle", self.node, "receipt rejected", self.reason)
        return made if over else end_run(made, node=self.node)
