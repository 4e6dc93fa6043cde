"""Decides whether another attempt follows, by the cause of the failure: one table, and how it is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from node_agent.wire.failure import FailureKind
from pancode.core.records import Attempt, Run
from pancode.counted import counted

LONGEST_WAIT_MS = 24 * 3_600_000
"""A provider that wants a longer pause than this is asked again after it."""
_MOST_DOUBLINGS = 5


class RetryCause(StrEnum):
    """Kinds of failure that differ in what follows."""

    RATE_LIMIT = "rate limit"
    MODEL_SERVER = "model server"
    INFRASTRUCTURE = "infrastructure"
    UNFIT_NODE = "unfit node"
    VERIFICATION = "verification"
    TASK = "task"
    DRAIN = "drain"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class RetryRule:
    """One row. `most`: how often by itself. `pauses`: in units of the retry pause; `grows`: they double."""

    step: str
    most: int
    pauses: int = 0
    grows: bool = False


RULES: dict[RetryCause, RetryRule] = {
    RetryCause.RATE_LIMIT: RetryRule("the same again, when the provider takes calls again", 4, 3, grows=True),
    RetryCause.MODEL_SERVER: RetryRule("the same again", 1, 1),
    RetryCause.INFRASTRUCTURE: RetryRule("on another node; on the same one when no other can take it", 1, 1),
    RetryCause.UNFIT_NODE: RetryRule("on another node; not at all when no other can take it", 1),
    RetryCause.VERIFICATION: RetryRule("with the output of the gates in front of the task", 0),
    RetryCause.TASK: RetryRule("with the error in front of the task", 0),
    RetryCause.DRAIN: RetryRule("on another node", 0, 1),
    RetryCause.LOST: RetryRule("on another node; one that writes only with `--on-lost retry`", 1, 1),
}
"""The table. VERIFICATION has its number from the run (`--verify-retries`)."""

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
}
"""A failure that is not here is never tried again: another attempt would end in the same way."""
MOVES = (RetryCause.INFRASTRUCTURE, RetryCause.UNFIT_NODE)
"""After these the node is passed over when another one can take the run."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt follows, after so many units of the retry pause."""

    cause: RetryCause
    number: int
    """Of this cause: 1 for the first time."""
    most: int
    pauses: int

    @property
    def words(self) -> str:
        return f"{self.cause}: {RULES[self.cause].step} (retry {self.number} of {self.most} for this cause)"


@dataclass(frozen=True, slots=True)
class NoRetry:
    """No other attempt follows. `why`: to be told; empty where nobody would expect one."""

    why: str = ""


def after_failure(
    run: Run, failure: FailureKind | None, attempts: Iterable[Attempt], elsewhere: bool
) -> Retry | NoRetry:
    """What follows this end of the run's attempt. `elsewhere`: another node could take the run.

    `attempts`: all of the run, the one that just ended included.
    """
    cause = None if failure is None else CAUSES.get(failure)
    if cause is None or run.stop_asked is not None:
        return NoRetry()
    if cause is RetryCause.LOST and not (run.read_only or run.on_lost == "retry"):
        return NoRetry("lost: it writes, and its node may still be at work (--on-lost retry allows it)")
    if cause is RetryCause.UNFIT_NODE and not elsewhere:
        return NoRetry()
    used, most = sum(_is_of(cause, one) for one in attempts), most_retries(run, cause)
    if run.max_attempts is not None and run.attempt >= run.max_attempts:
        return NoRetry(
            f"{counted(run.max_attempts, 'attempt')} at most (--attempts)" if run.attempt > 1 else ""
        )
    if used > most:
        return NoRetry(f"{cause}: tried again {counted(most, 'time')}, as often as it may be" if most else "")
    moved = cause in MOVES and elsewhere
    return Retry(cause, used, most, 0 if moved else _pauses(RULES[cause], used))


def most_retries(run: Run, cause: RetryCause) -> int:
    """How often the run may be tried again for this cause alone; `--attempts` says more, and bounds all."""
    asked = 0 if run.max_attempts is None else run.max_attempts - 1
    limit = run.terms.get("verify_retries")
    if cause is RetryCause.VERIFICATION and limit is not None:
        return limit
    return max(RULES[cause].most, asked)


def pause_ms(retry: Retry, unit_ms: int, asked_ms: int = 0) -> int:
    """How long the run waits. `asked_ms`: the wait that its provider has asked for."""
    if retry.cause is RetryCause.RATE_LIMIT and asked_ms > 0:
        return min(asked_ms, LONGEST_WAIT_MS)
    return retry.pauses * unit_ms


def _is_of(cause: RetryCause, attempt: Attempt) -> bool:
    return attempt.failure is not None and CAUSES.get(attempt.failure) is cause


def _pauses(rule: RetryRule, used: int) -> int:
    return rule.pauses * 2 ** min(used - 1, _MOST_DOUBLINGS) if rule.grows else rule.pauses
