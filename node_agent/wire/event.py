"""Events: a node's reports of its attempts while they are under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from node_agent.wire.clock import FleetTime
from node_agent.wire.failure import OrderRefusal
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.keys import WIRE_VERSION
from node_agent.wire.model import (
    Count,
    FleetId,
    Lasted,
    NodeTag,
    Number,
    Tokens,
    Usd,
    WallMillis,
    WireModel,
    Words,
    canonical_json,
)
from node_agent.wire.policy import CallAsked
from node_agent.wire.signing import Message


class Refused(WireModel):
    """The order was not started and never will be."""

    kind: Literal["refused"] = "refused"
    why: OrderRefusal
    detail: Words


class Revoked(WireModel):
    """A stop reached an order before anything of it was started."""

    kind: Literal["revoked"] = "revoked"
    reason: Words


class Marked(WireModel):
    """The journal has this mark now."""

    kind: Literal["marked"] = "marked"
    mark: Mark
    detail: Words = ""


class Interrupting(WireModel):
    """A stop or tombstone was read; the processes are being ended."""

    kind: Literal["interrupting"] = "interrupting"
    reason: Words


class Progress(WireModel):
    """Live usage as the runtime reports it; totals of this attempt so far."""

    kind: Literal["progress"] = "progress"
    input_tokens: Tokens
    output_tokens: Tokens
    cost_usd: Usd | None = None
    tool_calls: Count = 0
    log_bytes: Count = 0
    agent_ms: Lasted = 0


class Finding(WireModel):
    """Something a person should know: salvage, a lie of a runtime, a gate that changed files."""

    kind: Literal["finding"] = "finding"
    level: Literal["info", "warning", "error"]
    text: Words


class PersonHeard(WireModel):
    """The agent was given these of a person's words, by their numbers."""

    kind: Literal["person_heard"] = "person_heard"
    numbers: tuple[Number, ...] = Field(min_length=1, max_length=100)


class PersonAsked(WireModel):
    """A call of the agent waits for a person's yes. `why`: the rule, as a person knows it."""

    kind: Literal["person_asked"] = "person_asked"
    asked: CallAsked
    why: Words


EventBody = Annotated[
    Refused | Revoked | Marked | Interrupting | Progress | Finding | PersonHeard | PersonAsked,
    Field(discriminator="kind"),
]


class Event(WireModel):
    """(identity, seq) is the event's identity; applied in order, once."""

    identity: AttemptId
    seq: Number
    wall_ms: WallMillis
    at: FleetTime | None = None
    body: EventBody


MOST_EVENTS = 100
"""In one message."""


class Events(Message):
    """A node's events at one moment, of any of its attempts; those of one attempt in order."""

    fleet: FleetId
    node: NodeTag
    events: tuple[Event, ...] = Field(min_length=1, max_length=MOST_EVENTS)


def events_of(fleet: str, node: str, texts: Sequence[str]) -> bytes:
    """Canonical bytes of `Events` whose events have these canonical texts."""
    rest = canonical_json({"fleet": fleet, "node": node, "v": WIRE_VERSION})
    return b'{"events":[%s],%s' % (",".join(texts).encode(), rest[1:])
