"""Events: a node's reports about its attempts in progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from node_agent.wire import model
from node_agent.wire.failure import JobRefusal
from node_agent.wire.fleet import MOST_ARGUMENTS, FleetToolName
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.keys import WIRE_VERSION
from node_agent.wire.policy import CallAsked
from node_agent.wire.receipt import TurnRecord
from node_agent.wire.signing import Message


class Refused(model.WireModel):
    """The node did not start the job and never will."""

    kind: Literal["refused"] = "refused"
    why: JobRefusal
    detail: model.Words


class Revoked(model.WireModel):
    """A stop reached the job before any part of it was started."""

    kind: Literal["revoked"] = "revoked"
    reason: model.Words


class Marked(model.WireModel):
    """The attempt has reached the journal mark `mark` on the node."""

    kind: Literal["marked"] = "marked"
    mark: Mark
    detail: model.Words = ""


class Interrupting(model.WireModel):
    """The node has read a stop or tombstone, and is ending the attempt's processes."""

    kind: Literal["interrupting"] = "interrupting"
    reason: model.Words


class Progress(model.WireModel):
    """Live usage as the runtime reports it: the attempt's totals so far."""

    kind: Literal["progress"] = "progress"
    input_tokens: model.Tokens
    output_tokens: model.Tokens
    cost_usd: model.Usd | None = None
    tool_calls: model.Count = 0
    log_bytes: model.Count = 0
    agent_ms: model.Lasted = 0


class Finding(model.WireModel):
    """A fact for users, such as salvaged work, a runtime's false claim, or a gate that changed files."""

    kind: Literal["finding"] = "finding"
    level: Literal["info", "warning", "error"]
    text: model.Words


class MessagesHeard(model.WireModel):
    """The agent has received users' messages; `numbers` are their numbers."""

    kind: Literal["person_heard"] = "person_heard"
    numbers: tuple[model.Number, ...] = Field(min_length=1, max_length=100)


class UserAsked(model.WireModel):
    """A call of the agent waits for a user's approval. `why`: the rule, as text for users."""

    kind: Literal["person_asked"] = "person_asked"
    asked: CallAsked
    why: model.Words


class Turned(model.WireModel):
    """A turn of an interactive run ended or was lost. `bytes`: the length of stream `out` at that time."""

    kind: Literal["turned"] = "turned"
    turn: TurnRecord
    bytes: model.Count


class FleetAsked(model.WireModel):
    """An orchestrator calls a fleet tool and waits for the answer. `number` counts its calls in this attempt,
    from 1; the same number means the same call. `arguments`: JSON."""

    kind: Literal["fleet_asked"] = "fleet_asked"
    number: model.Number
    tool: FleetToolName
    arguments: Annotated[str, model.Text(MOST_ARGUMENTS)]


class BudgetAsked(model.WireModel):
    """The attempt's next model call does not fit into the reserved amount: in total it needs `usd`. `number`
    counts these requests from 1; the same number means the same request."""

    kind: Literal["budget_asked"] = "budget_asked"
    number: model.Number
    usd: model.Usd


OfUsers = MessagesHeard | UserAsked
OfAgents = FleetAsked | BudgetAsked
EventBody = Annotated[
    Refused | Revoked | Marked | Interrupting | Progress | Finding | OfUsers | Turned | OfAgents,
    Field(discriminator="kind"),
]


class Event(model.WireModel):
    """One event of an attempt, identified by (identity, seq). Events are applied in order, each once."""

    identity: AttemptId
    seq: model.Number
    wall_ms: model.WallMillis
    at: model.FleetTime | None = None
    body: EventBody


MOST_EVENTS = 100
"""The most events in one message."""


class Events(Message):
    """A node's pending events, of all its attempts; the events of one attempt are in order."""

    fleet: model.FleetId
    node: model.NodeTag
    events: tuple[Event, ...] = Field(min_length=1, max_length=MOST_EVENTS)


def events_of(fleet: str, node: str, texts: Sequence[str]) -> bytes:
    """Return the canonical bytes of an `Events` message; `texts` are the canonical texts of its events."""
    rest = model.canonical_json({"fleet": fleet, "node": node, "v": WIRE_VERSION})
    return b'{"events":[%s],%s' % (",".join(texts).encode(), rest[1:])
