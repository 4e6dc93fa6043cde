"""Control messages: what the coordinator tells a node besides orders, each signed and numbered."""

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
    WireModel,
)
from node_agent.wire.policy import MOST_NO, CallAsked
from node_agent.wire.signing import Message, PublicKey, Signature, WireRefusal, open_as, parse_envelope


class StopControl(WireModel):
    """End this run's fences on the node, and refuse a fence of it that arrives later."""

    kind: Literal["stop"] = "stop"
    identity: AttemptId
    reason: str


class TakeBack(WireModel):
    """Refuse an order that is still held (TAKEN_BACK): it is wanted elsewhere. One that has begun goes on."""

    kind: Literal["take_back"] = "take_back"
    identity: AttemptId
    reason: str


class Tombstone(WireModel):
    """Every fence of the run up to this one has lost: end it, but keep its evidence."""

    kind: Literal["tombstone"] = "tombstone"
    run: RunId
    up_to_fence: Number
    reason: str


class SetSlots(WireModel):
    """The number of attempts that may run at once from now on; no running one is ended.

    `least`: where the node is strained it takes fewer by itself, down to this; None: it takes `slots` always.
    """

    kind: Literal["slots"] = "slots"
    slots: int = Field(ge=0, le=256)
    least: int | None = Field(default=None, ge=1, le=256)


class Drain(WireModel):
    """Start nothing new (`on`), or start again."""

    kind: Literal["drain"] = "drain"
    on: bool
    reason: str = ""


class Revoke(WireModel):
    """The node no longer belongs to the fleet: start nothing, end nothing, and clean up when told."""

    kind: Literal["revoke"] = "revoke"
    reason: str


class Acknowledge(WireModel):
    """The receipt with this digest is accepted and archived; the countersignature proves it."""

    kind: Literal["acknowledge"] = "acknowledge"
    identity: AttemptId
    receipt: Digest
    countersignature: Signature


class Orphaned(WireModel):
    """No order of this ledger fits the receipt: it is kept, not accepted, and the node may forget it.

    The message carries no signature over the receipt, so nobody can show it as an acceptance.
    """

    kind: Literal["orphaned"] = "orphaned"
    identity: AttemptId
    receipt: Digest


class Reject(WireModel):
    """The receipt is rightly signed and false: it will never be accepted."""

    kind: Literal["reject"] = "reject"
    identity: AttemptId
    receipt: Digest
    reason: str


class Resend(WireModel):
    """Bytes that the receipt names are missing here: send them again, then the receipt."""

    kind: Literal["resend"] = "resend"
    identity: AttemptId
    receipt: Digest
    missing: tuple[str, ...]


class Examine(WireModel):
    """Test a model of an endpoint of the node. The answer: `ask` among the node's asks, and the model's
    passport.

    `again`: even if there is a passport already. After `start_by` nothing is tested.
    """

    kind: Literal["examine"] = "examine"
    ask: AskId
    endpoint: str = Field(min_length=1, max_length=200)
    model: str = Field(min_length=1, max_length=200)
    again: bool = False
    start_by: FleetTime


class PersonSays(WireModel):
    """A person's words for a run at work: its program gets them with the next call of its model, if it asks
    for any. A sitting that waits for words begins a turn with them.

    Each number counts once in an attempt. A run that works no more hears nothing.
    """

    kind: Literal["person_says"] = "person_says"
    identity: AttemptId
    number: Number
    text: str = Field(min_length=1, max_length=20_000)
    by: Name = ""


class TurnControl(WireModel):
    """`cancel`: end turn `number` of a sitting, and wait for words again. `rest`: end the sitting behind it.
    `give_way`: as `rest`, and no person wants it: a run needs the slot.

    A sitting's turns count from 1. A turn that has not begun is cancelled when it begins, and one that has
    ended is not changed. `rest` ends a sitting at once if it waits for words behind turn `number`, else at
    the end of the turn at work.
    """

    kind: Literal["turn_control"] = "turn_control"
    identity: AttemptId
    number: Number
    what: Literal["cancel", "rest", "give_way"]


class PersonAnswers(WireModel):
    """A person's yes or no to a call that waits. `whole`: to every call that the same rule asks about."""

    kind: Literal["person_answers"] = "person_answers"
    identity: AttemptId
    asked: CallAsked
    allow: bool
    whole: bool = False
    words: str = Field(default="", max_length=MOST_NO)
    by: Name = ""


class FleetAnswers(WireModel):
    """The answer to an orchestrator's call of a tool of the fleet. `ok` False: it was refused, or failed."""

    kind: Literal["fleet_answers"] = "fleet_answers"
    identity: AttemptId
    number: Number
    ok: bool
    text: Annotated[str, Text(MOST_FLEET_ANSWER)]


class CallAnswer(Message):
    """The same answer, as the node signs it for the program that waits."""

    identity: AttemptId
    asked: CallAsked
    allow: bool
    whole: bool = False
    words: str = Field(default="", max_length=MOST_NO)

    @classmethod
    def signed_for(cls, data: bytes, identity: AttemptId, key: PublicKey) -> CallAnswer | None:
        """The answer that the node has signed for this attempt; None for anything else."""
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
    | PersonSays
    | PersonAnswers
    | TurnControl
    | FleetAnswers,
    Field(discriminator="kind"),
]


class Control(Message):
    """One numbered control message for one node. Numbers only grow; an old one changes nothing."""

    fleet: FleetId
    node: NodeTag
    seq: Number
    at: FleetTime
    body: ControlBody


class Beat(Message):
    """The coordinator's pulse for one node, every 5 s: fleet time, cursors and standing settings."""

    fleet: FleetId
    node: NodeTag
    seq: Number
    time: FleetTime
    answers: str | None = None
    """The newest nonce that the coordinator has seen from the node."""
    cursors: dict[str, Count]
    """The highest applied event number by attempt identity, for the open fences."""
    control_floor: Count
    """Every control message up to this number is dealt with: none of them will come later."""
