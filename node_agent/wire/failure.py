"""The ways in which attempts end and fail, and the effect of each on retries and records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The end of an attempt or a run. An outcome never changes again, except for `lost`
    (docs/reference/states.md)."""

    DONE = "done"
    ERROR = "error"
    VERIFY_FAILED = "verify_failed"
    BLOCKED = "blocked"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    BUDGET_EXCEEDED = "budget_exceeded"
    INTERRUPTED = "interrupted"
    LOST = "lost"
    INFRA = "infra"
    POLICY_VIOLATION = "policy_violation"
    SUPERSEDED = "superseded"


class FailureKind(StrEnum):
    """The reason why an attempt did not end as `done`, in more detail than the outcome."""

    AGENT_FAILED = "agent_failed"
    NO_ANSWER = "no_answer"
    TOOL_DENIED = "tool_denied"
    GATE_FAILED = "gate_failed"
    NEEDS_USER = "needs_person"
    WALL_LIMIT = "wall_limit"
    IDLE_LIMIT = "idle_limit"
    OUTPUT_LIMIT = "output_limit"
    MEMORY_LIMIT = "memory_limit"
    PROCESS_LIMIT = "process_limit"
    DISK_LIMIT = "disk_limit"
    TOKEN_LIMIT = "token_limit"
    USD_LIMIT = "usd_limit"
    REQUEST_LIMIT = "request_limit"
    TURN_LIMIT = "turn_limit"
    STOPPED = "stopped"
    DRAINED = "drained"
    NODE_LOST = "node_lost"
    READ_ONLY_BROKEN = "read_only_broken"
    RULE_BROKEN = "rule_broken"
    CANNOT_START = "cannot_start"
    GATE_MISSING = "gate_missing"
    MODEL_AUTH = "model_auth"
    MODEL_BUSY = "model_busy"
    MODEL_FAILED = "model_failed"
    MODEL_REFUSED = "model_refused"
    RUNTIME_MISSING = "runtime_missing"
    RUNTIME_UNREADABLE = "runtime_unreadable"
    SETUP_FAILED = "setup_failed"
    GATE_NOT_RUNNABLE = "gate_not_runnable"
    GATE_NOT_JUDGED = "gate_not_judged"
    WORKSPACE = "workspace"
    DEPOT = "depot"
    RESULT_REFUSED = "result_refused"
    INCOMPLETE_RESULT = "incomplete_result"
    DISK_FULL = "disk_full"
    PROCESS_VANISHED = "process_vanished"
    NODE_REBOOTED = "node_rebooted"
    RECEIPT_REJECTED = "receipt_rejected"
    NODE_INTERNAL = "node_internal"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """The meaning of one failure kind. `agent`: the failure counts against the agent's record. `node`: it
    counts for the node's circuit breaker. `elsewhere`: another node may succeed where this one never will."""

    outcome: Outcome
    agent: bool
    node: bool
    elsewhere: bool = False


def _make_rule(outcome: Outcome, flags: str) -> FailureRule:
    return FailureRule(outcome, "a" in flags, "n" in flags, "e" in flags)


FAILURES: dict[FailureKind, FailureRule] = {
    FailureKind.AGENT_FAILED: _make_rule(Outcome.ERROR, "a"),
    FailureKind.NO_ANSWER: _make_rule(Outcome.ERROR, "a"),
    FailureKind.TOOL_DENIED: _make_rule(Outcome.ERROR, "a"),
    FailureKind.GATE_FAILED: _make_rule(Outcome.VERIFY_FAILED, "a"),
    FailureKind.NEEDS_USER: _make_rule(Outcome.BLOCKED, ""),
    FailureKind.WALL_LIMIT: _make_rule(Outcome.TIMEOUT, "a"),
    FailureKind.IDLE_LIMIT: _make_rule(Outcome.STALLED, "a"),
    FailureKind.OUTPUT_LIMIT: _make_rule(Outcome.ERROR, "a"),
    FailureKind.MEMORY_LIMIT: _make_rule(Outcome.ERROR, "a"),
    FailureKind.PROCESS_LIMIT: _make_rule(Outcome.ERROR, "a"),
    FailureKind.DISK_LIMIT: _make_rule(Outcome.ERROR, "a"),
    FailureKind.TOKEN_LIMIT: _make_rule(Outcome.BUDGET_EXCEEDED, "a"),
    FailureKind.USD_LIMIT: _make_rule(Outcome.BUDGET_EXCEEDED, "a"),
    FailureKind.REQUEST_LIMIT: _make_rule(Outcome.BUDGET_EXCEEDED, "a"),
    FailureKind.TURN_LIMIT: _make_rule(Outcome.BUDGET_EXCEEDED, "a"),
    FailureKind.STOPPED: _make_rule(Outcome.INTERRUPTED, ""),
    FailureKind.DRAINED: _make_rule(Outcome.INTERRUPTED, ""),
    FailureKind.NODE_LOST: _make_rule(Outcome.LOST, "n"),
    FailureKind.READ_ONLY_BROKEN: _make_rule(Outcome.POLICY_VIOLATION, "a"),
    FailureKind.RULE_BROKEN: _make_rule(Outcome.POLICY_VIOLATION, "a"),
    FailureKind.CANNOT_START: _make_rule(Outcome.ERROR, ""),
    FailureKind.GATE_MISSING: _make_rule(Outcome.ERROR, "e"),
    FailureKind.MODEL_AUTH: _make_rule(Outcome.INFRA, "e"),
    FailureKind.MODEL_BUSY: _make_rule(Outcome.INFRA, ""),
    FailureKind.MODEL_FAILED: _make_rule(Outcome.INFRA, ""),
    FailureKind.MODEL_REFUSED: _make_rule(Outcome.INFRA, ""),
    FailureKind.RUNTIME_MISSING: _make_rule(Outcome.INFRA, "ne"),
    FailureKind.RUNTIME_UNREADABLE: _make_rule(Outcome.INFRA, ""),
    FailureKind.SETUP_FAILED: _make_rule(Outcome.INFRA, ""),
    FailureKind.GATE_NOT_RUNNABLE: _make_rule(Outcome.INFRA, ""),
    FailureKind.GATE_NOT_JUDGED: _make_rule(Outcome.INFRA, ""),
    FailureKind.WORKSPACE: _make_rule(Outcome.INFRA, "n"),
    FailureKind.DEPOT: _make_rule(Outcome.INFRA, ""),
    FailureKind.RESULT_REFUSED: _make_rule(Outcome.ERROR, "a"),
    FailureKind.INCOMPLETE_RESULT: _make_rule(Outcome.ERROR, ""),
    FailureKind.DISK_FULL: _make_rule(Outcome.INFRA, "n"),
    FailureKind.PROCESS_VANISHED: _make_rule(Outcome.INFRA, "n"),
    FailureKind.NODE_REBOOTED: _make_rule(Outcome.INFRA, ""),
    FailureKind.RECEIPT_REJECTED: _make_rule(Outcome.INFRA, "n"),
    FailureKind.NODE_INTERNAL: _make_rule(Outcome.INFRA, "n"),
    FailureKind.SANDBOX: _make_rule(Outcome.INFRA, "n"),
}
"""The failure table: the only place that defines a failure's outcome and whose record it counts against."""


_BY_STATUS = {
    400: FailureKind.MODEL_REFUSED,
    402: FailureKind.MODEL_REFUSED,
    413: FailureKind.MODEL_REFUSED,
    401: FailureKind.MODEL_AUTH,
    403: FailureKind.MODEL_AUTH,
    429: FailureKind.MODEL_BUSY,
    503: FailureKind.MODEL_BUSY,
    529: FailureKind.MODEL_BUSY,
}


def by_status(status: int) -> FailureKind:
    """Return the failure kind for a model server's HTTP status that ended the run."""
    return _BY_STATUS.get(status, FailureKind.MODEL_FAILED)


class JobRefusal(StrEnum):
    """The reason why a node does not start a job. A refusal frees the slot and does not count as an
    attempt."""

    BAD_ENVELOPE = "bad_envelope"
    WRONG_FLEET = "wrong_fleet"
    WRONG_NODE = "wrong_node"
    OLD_EPOCH = "old_epoch"
    NO_FLEET_TIME = "no_fleet_time"
    TOO_LATE = "too_late"
    OLD_LEASE = "old_fence"
    LEASE_CONFLICT = "fence_conflict"
    TOMBSTONED = "tombstoned"
    STOPPED = "stopped"
    REVOKED = "revoked"
    DRAINING = "draining"
    NO_SLOT = "no_slot"
    RUNTIME_MISSING = "runtime_missing"
    CEILING = "ceiling"
    DISK_FULL = "disk_full"
    TAKEN_BACK = "taken_back"


REBINDABLE: frozenset[JobRefusal] = frozenset(
    {
        JobRefusal.OLD_EPOCH,
        JobRefusal.NO_FLEET_TIME,
        JobRefusal.TOO_LATE,
        JobRefusal.OLD_LEASE,
        JobRefusal.DRAINING,
        JobRefusal.NO_SLOT,
        JobRefusal.DISK_FULL,
        JobRefusal.TAKEN_BACK,
    }
)
"""Refusals after which the same attempt may be bound to a node again; the others need a user's attention."""

ELSEWHERE: frozenset[JobRefusal] = frozenset({JobRefusal.CEILING, JobRefusal.RUNTIME_MISSING})
"""Refusals that another node might not raise: the attempt is bound to another node."""
NODE_STATES: frozenset[JobRefusal] = frozenset({JobRefusal.DISK_FULL, JobRefusal.DRAINING})
"""Refusals due to the node's present state: the run waits, and the refusal does not count as a failure."""
