"""Decides whether another attempt follows, with which provider and files, and the text before its task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import MAX_TASK_BYTES, Reasoning
from node_agent.wire.receipt import Claims
from node_agent.wire.signing import MAX_ENVELOPE_BYTES
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.formatting import count_noun, first_few
from pancode.kernel.node import NodeView
from pancode.kernel.records import Attempt, LeftWork, NextAttempt, OwnSession, Run
from pancode.kernel.values import replace
from pancode.runs.facts import GateTerms, ModelChoice
from pancode.runs.life.jobs import may_exceed, size_of, task_of
from pancode.runs.placement.placement import can_be_had, explain_misfit

MOST_OUTPUT, MOST_ANSWER, MOST_FILES = 8_000, 2_000, 20
_AGAIN = (
    "This checkout does not have the work of that attempt: you begin with the same files as it did. Do the "
    "whole task, and avoid this failure.\n\n"
)


def with_preface(run: Run, cause: RetryCause, claims: Claims, output: str) -> Run:
    """Return the run with a text on the failure before its next task; unchanged if unread or too long."""
    kind = RUNTIMES.get(run.runtime)
    if cause not in (RetryCause.VERIFICATION, RetryCause.TASK) or kind is None or kind.own:
        return run
    text = _format_verification(claims, output) if cause is RetryCause.VERIFICATION else _format_task(claims)
    prefaced = replace(NextAttempt.of(run), preface=text + _AGAIN + "The task:\n\n").on(run)
    return prefaced if _is_carried(prefaced) else run


_WENT_ON = (
    "You have begun the task below before, and then your provider took no more calls for a while.{files} "
    "Look at what there is already, and go on until the whole task is done. The task:\n\n"
)
_FILES = " What you had changed is in the files."


def from_what_it_left(run: Run, claims: Claims, node: str) -> Run:
    """Return the run, whose next attempt continues from this attempt's change and, on that node, its session.
    Unchanged, so that it starts over, if this attempt left nothing or its files contain a secret."""
    kind = RUNTIMES.get(run.runtime)
    was_not_to_write = run.read_only and claims.commit is not None
    if kind is None or kind.own or run.takes_turns or claims.exposed or was_not_to_write:
        return run
    begins = NextAttempt.of(run)
    if claims.commit is not None:
        left = LeftWork(run.attempt, claims.commit, claims.files_changed, claims.findings)
        begins = replace(begins, went_on=(*begins.went_on, left))
    if claims.session is not None and kind.resumes:
        begins = replace(begins, own_session=OwnSession(claims.session, node))
    if begins == NextAttempt.of(run):
        return run
    prefaced = replace(begins, preface=_WENT_ON.format(files=_FILES if begins.went_on else "")).on(run)
    return prefaced if _is_carried(prefaced) else run


def without_session(run: Run, *, first: bool = True) -> Run:
    """Return the run, whose next attempt does not continue an earlier attempt's session. `first`: it
    continues the session, if any, that the user chose for the run."""
    if run.resumes_on is None:
        return run
    begins = NextAttempt.of(run)
    return replace(begins, own_session=None, resume=begins.resume if first else {}).on(run)


def with_what_was_left(run: Run, attempt: Attempt, result: dict[str, Any]) -> dict[str, Any]:
    """Return the result, extended by what earlier attempts left for this one, which may have added none."""
    left = [one for one in NextAttempt.of(run).went_on if one.after < attempt.attempt]
    if not left or attempt.outcome is Outcome.SUPERSEDED:
        return result
    if result.get("commit") is None:
        result = {**result, "commit": left[-1].commit, "change": "change"}
    files = [*(file for one in left for file in one.files), *result.get("files_changed", ())]
    found = [*(one for each in left for one in each.findings), *result.get("findings", ())]
    together = {"files_changed": list(dict.fromkeys(files)), "findings": list(dict.fromkeys(found))}
    return {**result, **together}


def failed_gates(claims: Claims, output: str) -> str:
    """Return the message about failed gates for the next interactive run, which continues the work."""
    return (
        "Your work is finished, and then these checks failed:\n\n"
        + _format_checks(claims, output)
        + "\nMend it."
    )


def _format_checks(claims: Claims, output: str) -> str:
    failed = [
        f"- {gate.name}: {_format_end(gate.exit_code, gate.signal)}"
        for gate in claims.gates
        if not gate.passed
    ]
    shown = (
        f"\nThe end of their output:\n\n```\n{output[-MOST_OUTPUT:].strip()}\n```\n" if output.strip() else ""
    )
    return "\n".join([*failed, f"\nThe reason: {claims.reason}"]) + f"\n{shown}"


def _format_verification(claims: Claims, output: str) -> str:
    head = "An earlier attempt at the task below was finished, and then these checks failed:\n\n"
    return f"{head}{_format_checks(claims, output)}{_format_changed(claims)}\n"


def _format_task(claims: Claims) -> str:
    answer = claims.answer.strip()[-MOST_ANSWER:]
    shown = f"\nIts last words:\n\n```\n{answer}\n```\n" if answer else ""
    return f"An earlier attempt at the task below failed: {claims.reason}\n{shown}{_format_changed(claims)}\n"


def _format_changed(claims: Claims) -> str:
    files = claims.files_changed
    return f"\nIt had changed: {first_few(files, MOST_FILES)}\n" if files else ""


def _format_end(code: int | None, signal: int | None) -> str:
    return f"signal {signal}" if signal is not None else f"exit {code}"


def _is_carried(run: Run) -> bool:
    """Whether the job is small enough for a node, which refuses a larger job without reading it."""
    if len(task_of(run).encode(errors="replace")) > MAX_TASK_BYTES:
        return False
    return not may_exceed(run, MAX_ENVELOPE_BYTES) or size_of(run) <= MAX_ENVELOPE_BYTES


def switch_provider(run: Run, nodes: Iterable[NodeView]) -> Run | None:
    """Return the run with its other provider; None if it has no other one, or no node could take it now."""
    choice = ModelChoice.of(run)
    if not (fields := choice.other):
        return None
    level = fields.get("reasoning")
    typed = {**fields, "reasoning": None if level is None else Reasoning(level)}
    there = replace(replace(choice, other={}).on(run), **typed)
    return there if any(find_fitting_nodes(there, nodes)) else None


def find_fitting_nodes(run: Run, nodes: Iterable[NodeView]) -> Iterator[NodeView]:
    """Yield the nodes that could take the run, now or once they have a free slot."""
    return (view for view in nodes if can_be_had(view) and not explain_misfit(run, view))


LONGEST_WAIT_MS = 8 * 24 * 3_600_000
"""The longest pause for a provider, in milliseconds; then it is tried again. A subscription's longest window
is a week."""
_MOST_DOUBLINGS = 5


class RetryCause(StrEnum):
    """Causes of failed attempts, each with its own kind of retry."""

    RATE_LIMIT = "rate limit"
    MODEL_SERVER = "model server"
    INFRASTRUCTURE = "infrastructure"
    UNFIT_NODE = "unfit node"
    VERIFICATION = "verification"
    TASK = "task"
    DRAIN = "drain"
    LOST = "lost"
    SESSION = "session gone"


@dataclass(frozen=True, slots=True)
class RetryRule:
    """The retries for one cause. `most`: how often PanCode retries automatically; `pauses`: the wait before a
    retry, in units of the retry pause; `grows`: each wait is double the previous one."""

    step: str
    most: int
    pauses: int = 0
    grows: bool = False


RULES: dict[RetryCause, RetryRule] = {
    RetryCause.RATE_LIMIT: RetryRule(
        "the same again, once the provider accepts calls again", 4, 3, grows=True
    ),
    RetryCause.MODEL_SERVER: RetryRule("the same again", 1, 1),
    RetryCause.INFRASTRUCTURE: RetryRule("on another node, or on the same one if no other can take it", 1, 1),
    RetryCause.UNFIT_NODE: RetryRule("on another node, or not at all if no other can take it", 1),
    RetryCause.VERIFICATION: RetryRule("with the output of the gates before the task", 0),
    RetryCause.TASK: RetryRule("with the error before the task", 0),
    RetryCause.DRAIN: RetryRule("on another node", 0, 1),
    RetryCause.SESSION: RetryRule("with the files that were left, in a new session", 1),
    RetryCause.LOST: RetryRule("on another node; a run that writes only with `--on-lost retry`", 1, 1),
}
"""The retries for each cause. The number for VERIFICATION is the run's own (`--verify-retries`)."""

CAUSES: dict[FailureKind, RetryCause] = {
    FailureKind.MODEL_BUSY: RetryCause.RATE_LIMIT,
    FailureKind.MODEL_FAILED: RetryCause.MODEL_SERVER,
    FailureKind.WORKSPACE: RetryCause.INFRASTRUCTURE,
    FailureKind.DEPOT: RetryCause.INFRASTRUCTURE,
    FailureKind.DISK_FULL: RetryCause.INFRASTRUCTURE,
    FailureKind.PROCESS_VANISHED: RetryCause.INFRASTRUCTURE,
    FailureKind.NODE_REBOOTED: RetryCause.INFRASTRUCTURE,
    FailureKind.NODE_INTERNAL: RetryCause.INFRASTRUCTURE,
    FailureKind.SANDBOX: RetryCause.INFRASTRUCTURE,
    FailureKind.GATE_MISSING: RetryCause.UNFIT_NODE,
    FailureKind.MODEL_AUTH: RetryCause.UNFIT_NODE,
    FailureKind.RUNTIME_MISSING: RetryCause.UNFIT_NODE,
    FailureKind.GATE_FAILED: RetryCause.VERIFICATION,
    FailureKind.AGENT_FAILED: RetryCause.TASK,
    FailureKind.NO_ANSWER: RetryCause.TASK,
    FailureKind.IDLE_LIMIT: RetryCause.TASK,
    FailureKind.DRAINED: RetryCause.DRAIN,
    FailureKind.NODE_LOST: RetryCause.LOST,
    FailureKind.CANNOT_START: RetryCause.SESSION,
}
"""The cause of each kind of failure. Other failures are never retried, as they would end in the same way."""
MOVES = (RetryCause.INFRASTRUCTURE, RetryCause.UNFIT_NODE)
"""The causes after which another node is preferred, if one can take the run."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A decision that another attempt follows, after `pauses` units of the retry pause."""

    cause: RetryCause
    number: int
    """The number of this retry among those for its cause; the first is 1."""
    most: int
    pauses: int

    @property
    def words(self) -> str:
        return f"{self.cause}: {RULES[self.cause].step} (retry {self.number} of {self.most} for this cause)"


@dataclass(frozen=True, slots=True)
class NoRetry:
    """The decision that no attempt follows. `why`: the reason to show; empty if none would be expected."""

    why: str = ""


def after_failure(
    run: Run, failure: FailureKind | None, attempts: Iterable[Attempt], elsewhere: bool
) -> Retry | NoRetry:
    """Decide what follows the end of an attempt. `elsewhere`: another node could take the run. `attempts`:
    all attempts of the run, including the one that just ended."""
    cause = None if failure is None else CAUSES.get(failure)
    if cause is None or run.stop_asked is not None:
        return NoRetry()
    if cause is RetryCause.LOST and not (run.read_only or run.on_lost == "retry"):
        return NoRetry(
            "lost: the run writes, and its node may still be running it (--on-lost retry allows a retry)"
        )
    if cause is RetryCause.UNFIT_NODE and not elsewhere:
        return NoRetry()
    if cause is RetryCause.SESSION and run.resumes_on is None:  # Keep the session if a user requested it.
        return NoRetry()
    used, most = sum(_is_of(cause, one) for one in attempts), most_retries(run, cause)
    if run.max_attempts is not None and run.attempt >= run.max_attempts:
        return NoRetry(
            f"the limit is {count_noun(run.max_attempts, 'attempt')} (--attempts)" if run.attempt > 1 else ""
        )
    if used > most:
        return NoRetry(
            f"{cause}: already retried {count_noun(most, 'time')}, the most allowed" if most else ""
        )
    moved = cause in MOVES and elsewhere
    return Retry(cause, used, most, 0 if moved else _compute_pause(RULES[cause], used))


def most_retries(run: Run, cause: RetryCause) -> int:
    """Return the most retries for this cause; `--attempts` may raise this, and limits all causes together."""
    retries = 0 if run.max_attempts is None else run.max_attempts - 1
    limit = GateTerms.of(run).verify_retries
    if cause is RetryCause.VERIFICATION and limit is not None:
        return limit
    return max(RULES[cause].most, retries)


def pause_ms(retry: Retry, unit_ms: int, asked_ms: int = 0) -> int:
    """Return the pause before the retry in ms. `asked_ms`: the pause that the run's provider requested."""
    if retry.cause is RetryCause.RATE_LIMIT and asked_ms > 0:
        return min(asked_ms, LONGEST_WAIT_MS)
    return retry.pauses * unit_ms


def _is_of(cause: RetryCause, attempt: Attempt) -> bool:
    return attempt.failure is not None and CAUSES.get(attempt.failure) is cause


def _compute_pause(rule: RetryRule, used: int) -> int:
    return rule.pauses * 2 ** min(used - 1, _MOST_DOUBLINGS) if rule.grows else rule.pauses
