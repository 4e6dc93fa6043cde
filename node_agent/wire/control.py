"""Control messages: what the coordinator sends to a node besides jobs. Each is signed and numbered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from node_agent.wire.endpoint import AskId
from node_agent.wire.fleet import MOST_FLEET_ANSWER
from node_agent.wire.identity import AttemptId
from node_agent.wire.model import (
    Count,
    Digest,
    FleetId,
    FleetTime,
    Name,
    NodeTag,
    Number,
    RunId,
    Text,
    Usd,
    WallMillis,
    WireModel,
)
from node_agent.wire.policy import MOST_NO, CallAsked
from node_agent.wire.signing import Message, PublicKey, Signature, WireRefusal, open_as, parse_envelope


class StopControl(WireModel):
    """Stop the run of this lease on the node, and refuse leases of the run that arrive later."""

    kind: Literal["stop"] = "stop"
    identity: AttemptId
    reason: str


class TakeBack(WireModel):
    """Refuse a job that has not begun (TAKEN_BACK), to run it elsewhere. A job that has begun continues."""

    kind: Literal["take_back"] = "take_back"
    identity: AttemptId
    reason: str


class Tombstone(WireModel):
    """All leases of the run up to this one are void: end their attempts, but retain the evidence."""

    kind: Literal["tombstone"] = "tombstone"
    run: RunId
    up_to_lease: Number = Field(alias="up_to_fence")
    reason: str


class SetSlots(WireModel):
    """Set the number of attempts that may run at once from now on. No running attempt is ended for this.

    `least`: an overloaded node may reduce the number to this value itself; None: it always uses `slots`.
    """

    kind: Literal["slots"] = "slots"
    slots: int = Field(ge=0, le=256)
    least: int | None = Field(default=None, ge=1, le=256)


class Drain(WireModel):
    """Start no new jobs (`on`), or start jobs again."""

    kind: Literal["drain"] = "drain"
    on: bool
    reason: str = ""


class Revoke(WireModel):
    """The node no longer belongs to the fleet: start and end no attempts, and clean up on request."""

    kind: Literal["revoke"] = "revoke"
    reason: str


class Acknowledge(WireModel):
    """The receipt with this digest is accepted and archived; the countersignature proves it."""

    kind: Literal["acknowledge"] = "acknowledge"
    identity: AttemptId
    receipt: Digest
    countersignature: Signature


class Orphaned(WireModel):
    """The receipt matches no job of the coordinator: it is stored but not accepted, and the node may delete
    it. The message contains no signature over the receipt, so it cannot be mistaken for an acceptance."""

    kind: Literal["orphaned"] = "orphaned"
    identity: AttemptId
    receipt: Digest


class Reject(WireModel):
    """The receipt's signature is valid but its content is false: the receipt will never be accepted."""

    kind: Literal["reject"] = "reject"
    identity: AttemptId
    receipt: Digest
    reason: str


class Resend(WireModel):
    """The coordinator lacks bytes that the receipt names: send those bytes again, and then the receipt."""

    kind: Literal["resend"] = "resend"
    identity: AttemptId
    receipt: Digest
    missing: tuple[str, ...]


class Examine(WireModel):
    """Test a model at an endpoint of the node. The node reports the request's id `ask` and the model's
    passport, which is the test's result.

    `again`: test the model even if it already has a passport. After `start_by` no test begins.
    """

    kind: Literal["examine"] = "examine"
    ask: AskId
    endpoint: str = Field(min_length=1, max_length=200)
    model: str = Field(min_length=1, max_length=200)
    again: bool = False
    start_by: FleetTime


class UserMessage(WireModel):
    """A user's message for a run in progress. The run's program gets it with its next model call, if it
    accepts messages; an interactive run that waits for a message begins a turn with it.

    Each number counts once in an attempt. A run that has ended gets no message.
    """

    kind: Literal["person_says"] = "person_says"
    identity: AttemptId
    number: Number
    text: str = Field(min_length=1, max_length=20_000)
    by: Name = ""


class TurnControl(WireModel):
    """`cancel`: end turn `number` of an interactive run, and wait for a message again. `rest`: suspend the
    interactive run after that turn. `give_way`: like `rest`, but because another run needs the slot.

    Turns of an interactive run count from 1. A turn that has not begun is cancelled when it begins; one that
    has ended is not changed. `rest` takes effect at once if the run waits for a message after turn `number`,
    else at the end of the current turn.
    """

    kind: Literal["turn_control"] = "turn_control"
    identity: AttemptId
    number: Number
    what: Literal["cancel", "rest", "give_way"]


class UserAnswers(WireModel):
    """A user's approval or denial of a waiting call. `whole`: the answer applies to every call that matches
    the same rule."""

    kind: Literal["person_answers"] = "person_answers"
    identity: AttemptId
    asked: CallAsked
    allow: bool
    whole: bool = False
    words: str = Field(default="", max_length=MOST_NO)
    by: Name = ""


class FleetAnswers(WireModel):
    """The answer to an orchestrator's call of a fleet tool. `ok` False: the call was refused, or failed."""

    kind: Literal["fleet_answers"] = "fleet_answers"
    identity: AttemptId
    number: Number
    ok: bool
    text: Annotated[str, Text(MOST_FLEET_ANSWER)]


class BudgetAnswers(WireModel):
    """The answer to `BudgetAsked`: from now on `usd` is reserved for the attempt in total. `words`: why it is
    less than the attempt asked for; empty: it is enough."""

    kind: Literal["budget_answers"] = "budget_answers"
    identity: AttemptId
    number: Number
    usd: Usd
    words: Annotated[str, Text(500)] = ""


class ReportAttempts(WireModel):
    """Report the attempts whose records changed at `since_ms` or later, by the node's clock, in the order of
    their names: the first ones after the attempt `after`. The answer is an `AttemptsReport`."""

    kind: Literal["report_attempts"] = "report_attempts"
    since_ms: WallMillis
    after: AttemptId | None = None


class CallAnswer(Message):
    """A user's answer to a call, signed by the node for the waiting program."""

    identity: AttemptId
    asked: CallAsked
    allow: bool
    whole: bool = False
    words: str = Field(default="", max_length=MOST_NO)

    @classmethod
    def signed_for(cls, data: bytes, identity: AttemptId, key: PublicKey) -> CallAnswer | None:
        """Return the answer if the node has signed it for this attempt; None for other data."""
        try:
            answer = open_as(cls, parse_envelope(data), {key.keyid: key})
        except WireRefusal:
            return None
        return answer if answer.identity == identity else None


ControlBody = Annotated[
    StopControl
    | TakeBack
    | Tombstone
    | SetSlots
    | Drain
    | Revoke
    | Acknowledge
    | Orphaned
    | Reject
    | Resend
    | Examine
    | UserMessage
    | UserAnswers
    | TurnControl
    | FleetAnswers
    | BudgetAnswers
    | ReportAttempts,
    Field(discriminator="kind"),
]


class Control(Message):
    """One numbered control message for one node. Numbers only grow; a message with a number already seen has
    no effect."""

    fleet: FleetId
    node: NodeTag
    seq: Number
    at: FleetTime
    body: ControlBody


class CoordinatorHeartbeat(Message):
    """The coordinator's heartbeat for one node, every 5 s: fleet time, cursors and lasting settings."""

    PAYLOAD = "beat"

    fleet: FleetId
    node: NodeTag
    seq: Number
    time: FleetTime
    answers: str | None = None
    """The newest nonce that the coordinator has received from the node."""
    cursors: dict[str, Count]
    """The highest event number that the coordinator has applied, by attempt, for the open leases."""
    control_floor: Count
    """All control messages up to this number are settled and will not be sent again."""
