"""The receipt: an in-toto statement in which a node says what an attempt did."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from node_agent.wire.clock import FleetTime
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.model import (
    CommitId,
    Count,
    Digest,
    FleetId,
    Millis,
    NodeTag,
    Number,
    Status,
    Usd,
    WireModel,
)
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from node_agent.wire.signing import Message

StatementType = Literal["https://in-toto.io/Statement/v1"]
PredicateType = Literal["urn:pancode:run-receipt:1"]
STATEMENT_TYPE: StatementType = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: PredicateType = "urn:pancode:run-receipt:1"

CostSource = Literal["reported", "metered", "priced", "local", "unknown"]


class Usage(WireModel):
    """What the attempt consumed. `cost_usd` is None exactly when `cost_source` is `unknown`."""

    input_tokens: Count = 0
    cached_tokens: Count = 0
    output_tokens: Count = 0
    cost_usd: Usd | None = None
    cost_source: CostSource = "unknown"
    turns: Count = 0
    agent_ms: Count = 0
    """Time the agent's process ran, not counting sleep of the machine."""


class ModelCalls(WireModel):
    """What went through the node's model gateway.

    `unread`: answers that did not tell their tokens to the end, so that the count is too low. `wrap_up`: the
    last call, let through after a limit; it is one of `requests`.
    """

    requests: Count = 0
    failed: Count = 0
    refused: Count = 0
    unread: Count = 0
    wrap_up: Count = Field(default=0, le=1)
    subscription: bool = False
    """By the vendor's own login, not metered: `requests` are connections, and bytes all that is known."""
    sent_bytes: Count = 0
    received_bytes: Count = 0
    waited_ms: Count = 0
    """For a free slot of the order's endpoint, all calls together."""


class GateResult(WireModel):
    """One verification gate. `exit_code` is None when it could not be run."""

    name: str
    argv: tuple[str, ...]
    passed: bool
    exit_code: Status | None
    signal: Count | None = None
    duration_ms: Count
    changed: tuple[str, ...] = ()
    """Files that the gate itself changed; reported, never committed."""


class Blob(WireModel):
    """A stored stream of this attempt (a log)."""

    name: str
    size: Count
    sha256: Digest


class Enforced(WireModel):
    """How one rule of the policy was held."""

    rule: str
    how: Enforcement


class Claims(WireModel):
    """The predicate: what the node swears to."""

    fleet: FleetId
    epoch: Number
    identity: AttemptId
    node: NodeTag
    node_name: str
    order: Digest
    node_version: str
    runtime: str
    runtime_version: str | None = None
    model: str | None = None
    agent: str
    prompt_digest: Digest
    mode: Mode
    safety: Safety
    isolation: Isolation
    enforced: tuple[Enforced, ...]
    outcome: Outcome
    failure: FailureKind | None = None
    reason: str
    exit_code: Status | None = None
    signal: Count | None = None
    usage: Usage
    """The gateway's count where there was one, else what the runtime says."""
    claimed: Usage | None = None
    """What the runtime says, where the gateway counted."""
    calls: ModelCalls | None = None
    session: str | None = None
    tool_calls: dict[str, Count]
    gates: tuple[GateResult, ...]
    started_wall_ms: Millis | None = None
    finished_wall_ms: Millis
    at: FleetTime | None = None
    base: CommitId | None = None
    snapshot: CommitId | None = None
    commit: CommitId | None = None
    files_changed: tuple[str, ...]
    change: Literal["change", "no_change", "empty", "none"]
    """`empty`: no commit and no difference; `no_change`: commits, the same tree; `none`: no git workspace."""
    answer: str = ""
    """The agent's final text, clipped to 4,000 characters."""
    findings: tuple[str, ...] = ()
    blobs: tuple[Blob, ...] = Field(max_length=64)
    last_event: Count
    """Number of this attempt's last event: the events before it are complete when it was applied."""
    previous: Digest | None = None
    """Digest of this node's previous receipt."""


class Subject(WireModel):
    """What the statement is about: the result commit, the logs."""

    name: str
    digest: dict[str, str]


class Receipt(Message):
    """in-toto Statement v1 with our predicate. Both `v` and `predicateType` carry the version."""

    statement_type: StatementType = Field(default=STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...]
    predicateType: PredicateType = PREDICATE_TYPE
    predicate: Claims

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="after")
    def _about_what_it_claims(self) -> Receipt:
        """Other readers of in-toto look at the subjects, which nobody has compared with the depot."""
        if self.subject != _subjects(self.predicate):
            raise ValueError("the subjects are not the commit and the blobs of the claims")
        return self

    @classmethod
    def payload_type(cls) -> str:
        return "application/vnd.in-toto+json"


def receipt_of(claims: Claims) -> Receipt:
    """The statement whose subjects are the commit and the blobs that the claims name."""
    return Receipt(subject=_subjects(claims), predicate=claims)


def _subjects(claims: Claims) -> tuple[Subject, ...]:
    subjects = [Subject(name=b.name, digest={"sha256": b.sha256}) for b in claims.blobs]
    if claims.commit is not None:
        subjects.insert(0, Subject(name=claims.identity.ref, digest={"gitCommit": claims.commit}))
    if not subjects:
        subjects.append(Subject(name=str(claims.identity), digest={"sha256": claims.order}))
    return tuple(subjects)
