"""The receipt: an in-toto statement in which a node claims what an attempt did."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from node_agent.wire.endpoint import Dialect, Word
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import MAX_REPORTS, MAX_TASK_BYTES, BoardEntry
from node_agent.wire.model import (
    CommitId,
    Count,
    Digest,
    Few,
    FleetId,
    FleetTime,
    Lasted,
    Line,
    Name,
    NodeTag,
    Number,
    Status,
    Text,
    Tokens,
    Usd,
    WallMillis,
    WireModel,
    Words,
)
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from node_agent.wire.signing import Signed
from node_agent.wire.skill import MOST_SKILLS, MOST_TOOLS, ProposedTool, SkillMark

StatementType = Literal["https://in-toto.io/Statement/v1"]
PredicateType = Literal["urn:pancode:run-receipt:1"]
STATEMENT_TYPE: StatementType = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: PredicateType = "urn:pancode:run-receipt:1"

MOST_STEPS = 64
"""The most gates of a job, and the most set-up commands: as many as a node runs in one phase."""
MOST_ARGUMENTS = 100_000
Ordered = Annotated[str, Field(max_length=MAX_TASK_BYTES)]
"""A text that the job contains."""
Names = Annotated[tuple[Annotated[str, Text(4_096)], ...], Few(500, chars=64_000)]
"""A list of file names."""
CostSource = Literal["reported", "metered", "assumed", "priced", "local", "unknown"]
"""How the cost is known. `assumed`: metered, plus an assumed cost for calls whose end was not recorded."""


class Usage(WireModel):
    """The usage of an attempt. `cost_usd` is None exactly when `cost_source` is `unknown`."""

    input_tokens: Tokens = 0
    cached_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cost_usd: Usd | None = None
    cost_source: CostSource = "unknown"
    turns: Count = 0
    agent_ms: Lasted = 0
    """How long the agent's process ran, without the time in which the node slept."""


class ModelCalls(WireModel):
    """The calls through the node's model gateway.

    `unread`: answers that did not report all their tokens, so that the token count is too low. `wrap_up`: the
    last call, allowed after a limit was reached; also counted in `requests`.
    """

    requests: Count = 0
    failed: Count = 0
    refused: Count = 0
    unread: Count = 0
    wrap_up: Count = Field(default=0, le=1)
    subscription: bool = False
    """Whether the vendor's own login was used, which is not metered: `requests` counts connections, and only
    bytes are known."""
    sent_bytes: Count = 0
    received_bytes: Count = 0
    waited_ms: Lasted = 0
    """The time that all calls together waited for a free slot of the job's endpoint."""
    retry_ms: Lasted = 0
    """The pause that the model server requested when it refused the last calls; 0: none."""


Score = Annotated[str, Field(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$")]
"""A decimal number as a string."""


class GateResult(WireModel):
    """The result of one verification gate. `exit_code` is None when the gate could not be run."""

    name: Ordered
    argv: Annotated[tuple[Ordered, ...], Field(max_length=MOST_ARGUMENTS)]
    passed: bool
    exit_code: Status | None
    signal: Count | None = None
    duration_ms: Lasted
    judged: bool = True
    """False: a limit of the run ended the gate, so the gate's result is unknown."""
    changed: Names = ()
    """Files that the gate itself changed. They are reported but never committed."""


MOST_RESULTS = 50
"""The most results listed in one report."""
ReportForm = Literal["junit", "sarif", "unknown"]
"""Formats of report files. Only receipts of older versions contain `sarif`."""
ReportLevel = Literal["error", "failed", "warning", "note", "none", "passed", "skipped"]
"""Levels of results. JUnit has error, failed, passed and skipped; the others occur in older receipts."""


class ReportResult(WireModel):
    """One result that needs attention: a failed test, or an analysis finding. Empty string: unknown."""

    level: ReportLevel
    rule: Name = ""
    """The rule, or the name of the test."""
    file: Name = ""
    line: Count | None = None
    text: Annotated[str, Text(300)] = ""


class GateReport(WireModel):
    """A report file that the gates write. `unread`: why it could not be read; empty if it was read."""

    file: Name
    form: ReportForm
    tool: Name = ""
    counts: Annotated[dict[Name, Count], Field(max_length=7)]
    """The number of results in the file at each level."""
    results: Annotated[tuple[ReportResult, ...], Few(MOST_RESULTS)] = ()
    """The worst results first. Passed and skipped tests are only counted."""
    unread: Line = ""


class Served(WireModel):
    """The model server used, in the state that the node last saw before the agent began. None: unknown."""

    endpoint: Name
    engine: Dialect
    engine_version: Word | None
    model: Word
    model_digest: Word | None


class Blob(WireModel):
    """A stored stream of this attempt (a log)."""

    name: Name
    size: Count
    sha256: Digest


class Enforced(WireModel):
    """How one rule of the policy is enforced."""

    rule: Line
    how: Enforcement


class Exposed(WireModel):
    """A file of the result that contains the value of a secret. Names the secret, but never its value.

    `passing`: only an intermediate commit contains the value. `secret` empty: the search failed, for the
    reason in `file`.
    """

    secret: Words
    file: Words
    passing: bool = False


class UserQuestion(WireModel):
    """The agent's question to a user, without whose answer the agent cannot continue. `choices`: possible
    answers."""

    question: Annotated[str, Text(2_000, least=1)]
    choices: Annotated[tuple[Annotated[str, Text(200, least=1)], ...], Few(10)] = ()


class TurnStop(StrEnum):
    """The reason why a turn of an interactive run ended. `failed`: the program gave no answer, for the reason
    in the turn's `why`. `lost`: the program ended during the turn."""

    END_TURN = "end_turn"
    CANCELLED = "cancelled"
    REFUSAL = "refusal"
    LIMIT = "limit"
    FAILED = "failed"
    LOST = "lost"


class SuspendReason(StrEnum):
    """The reason why an interactive run was suspended: no message came, a limit is near, a user requested it,
    the output stream reached its maximum, or another run needed the slot."""

    IDLE = "idle"
    CAP = "cap"
    ASKED = "asked"
    SIZE = "size"
    SLOT = "slot"


MOST_TURN_MESSAGES, MOST_TURNS = 100, 10_000
"""The most users' messages in one turn, and the most turns of one interactive run."""


class TurnMessage(WireModel):
    """A user's message in a turn, as a digest. `number`: the message's number, or 0 for the job's task."""

    number: Count
    by: Name = ""
    sha256: Digest

    @classmethod
    def of(cls, number: int, by: str, text: str) -> Self:
        """Return the receipt's record of this message: its number, the user who wrote it, and its digest."""
        return cls(number=number, by=by, sha256=_hash_text(text))

    def are(self, by: str, text: str) -> bool:
        """Whether this record is that of the text `text` by the user `by`."""
        return (self.by, self.sha256) == (by, _hash_text(text))


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


class TurnRecord(WireModel):
    """One turn of an interactive run. `words`: the message that began the turn, then those sent during it."""

    number: Number
    words: Annotated[tuple[TurnMessage, ...], Field(min_length=1, max_length=MOST_TURN_MESSAGES)]
    stop: TurnStop
    why: Line = ""
    usage: Usage
    """The usage of this turn alone: tokens as the program counts them, and the increase of the attempt's cost
    until the node noticed the turn's end."""
    began_wall_ms: WallMillis | None = None
    ended_wall_ms: WallMillis | None = None
    """When the turn ended; None: unknown."""


class Claims(WireModel):
    """The predicate of the receipt, which is what the node attests."""

    fleet: FleetId
    epoch: Number
    identity: AttemptId
    node: NodeTag
    node_name: Name
    job: Digest = Field(alias="order")
    node_version: Name
    runtime: Name
    runtime_version: Name | None = None
    model: Name | None = None
    served: Served | None = None
    """The model server used; None: not one of the fleet's own servers."""
    agent: Name
    prompt_digest: Digest
    mode: Mode
    safety: Safety
    isolation: Isolation
    enforced: Annotated[tuple[Enforced, ...], Few(500)]
    outcome: Outcome
    failure: FailureKind | None = None
    reason: Words
    exit_code: Status | None = None
    signal: Count | None = None
    usage: Usage
    """The usage as the gateway counted it if there was one, else as the runtime reported it."""
    claimed: Usage | None = None
    """The runtime's own figures, if the gateway counted the usage."""
    calls: ModelCalls | None = None
    resets_ms: Lasted = 0
    """Time from the agent's end until its login's usage limit resets, as the program said; 0: unknown."""
    session: Name | None = None
    tool_calls: Annotated[dict[Name, Count], Field(max_length=200)]
    gates: Annotated[tuple[GateResult, ...], Field(max_length=MOST_STEPS)]
    gates_on: Literal["result"] | None = None
    """`result`: gates and score command ran in a new checkout of the result, without other files of the
    agent. None: no gate ran, there is no repository, or an older node agent ran them in the agent's place."""
    score: Score | None = None
    """The result of the job's score command. None: no command, or no result for the reason in a finding."""
    reports: Annotated[tuple[GateReport, ...], Field(max_length=MAX_REPORTS)] = ()
    """The contents of the report files that the gates should write; () when no gate ran."""
    started_wall_ms: WallMillis | None = None
    finished_wall_ms: WallMillis
    at: FleetTime | None = None
    base: CommitId | None = None
    snapshot: CommitId | None = None
    commit: CommitId | None = None
    files_changed: Names
    change: Literal["change", "no_change", "empty", "none"]
    """`empty`: no commit and no difference; `no_change`: commits, the same tree; `none`: no git workspace."""
    answer: Words = ""
    """The agent's final text, truncated to 4,000 characters."""
    question: UserQuestion | None = None
    """The agent's question to a user, only for an attempt that ended as `blocked`."""
    turns: Annotated[tuple[TurnRecord, ...], Field(max_length=MOST_TURNS)] = ()
    """The turns of an interactive run, in order."""
    rests: SuspendReason | None = None
    """The reason why an interactive run was suspended; None: it was not suspended."""
    board: Annotated[tuple[BoardEntry, ...], Few(64)] = ()
    """The values that the run shared with its workflow. Only receipts of older versions have them."""
    skills: Annotated[tuple[SkillMark, ...], Field(max_length=MOST_SKILLS)] = ()
    """The skills that the agent's program could read."""
    proposed: Annotated[tuple[ProposedTool, ...], Field(max_length=MOST_TOOLS)] = ()
    """The tools that the run proposes for the project; they are not part of the result."""
    findings: Annotated[tuple[Words, ...], Few(500, chars=64_000)] = ()
    exposed: Annotated[tuple[Exposed, ...], Few(64)] = ()
    blobs: tuple[Blob, ...] = Field(max_length=64)
    last_event: Count
    """The number of this attempt's last event. Once it is applied, all earlier events are complete, too."""
    previous: Digest | None = None
    """The digest of this node's previous receipt."""


class Subject(WireModel):
    """One subject of the statement: the result commit, or a log."""

    name: Name
    digest: Annotated[dict[Name, Name], Field(max_length=4)]


class Receipt(Signed):
    """An in-toto Statement v1 with PanCode's predicate, whose version is part of `predicateType`."""

    VERSION = ("predicateType", PREDICATE_TYPE)
    statement_type: StatementType = Field(default=STATEMENT_TYPE, alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(max_length=80)]
    predicateType: PredicateType = PREDICATE_TYPE
    predicate: Claims

    @model_validator(mode="after")
    def _about_what_it_claims(self) -> Receipt:
        """Check that the subjects match the claims, since other readers of in-toto use only the subjects."""
        if self.subject != _make_subjects(self.predicate):
            raise ValueError("the subjects must be the commit and the blobs of the claims")
        return self

    @classmethod
    def payload_type(cls) -> str:
        return "application/vnd.in-toto+json"


def receipt_of(claims: Claims) -> Receipt:
    """Return the statement whose subjects are the commit and the blobs in the claims."""
    return Receipt(subject=_make_subjects(claims), predicate=claims)


def _make_subjects(claims: Claims) -> tuple[Subject, ...]:
    subjects = [Subject(name=b.name, digest={"sha256": b.sha256}) for b in claims.blobs]
    if claims.commit is not None:
        subjects.insert(0, Subject(name=claims.identity.ref, digest={"gitCommit": claims.commit}))
    if not subjects:
        subjects.append(Subject(name=str(claims.identity), digest={"sha256": claims.job}))
    return tuple(subjects)
