"""What is known only while the coordinator runs; a restart begins anew."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from queue import SimpleQueue

from node_agent.wire.clock import FleetTime
from node_agent.wire.identity import AttemptId
from pancode.domain.fleet import LastHeartbeat, Listening, NodeState, Reaching
from pancode.domain.link_figures import Linked
from pancode.domain.placement import Shun
from pancode.domain.records import Fence


@dataclass
class Flush:
    """When all control messages that wait have to be gone through again."""

    seen: dict[str, int] = field(default_factory=dict)
    """By tag: the number up to which the node had seen them when they last were."""
    due_ms: int = 0


@dataclass
class Live:
    """What is known only while the coordinator runs; a restart begins anew."""

    watch: Listening
    heard: dict[str, LastHeartbeat] = field(default_factory=dict)
    reaching: dict[str, Reaching] = field(default_factory=dict)
    """By node, as the links' own thread says it; a node that is not named is tried."""
    raw: dict[str, bytes] = field(default_factory=dict)
    """The heartbeat envelope as last seen, so that the same bytes are not verified again."""
    inventories: dict[str, tuple[FleetTime, str]] = field(default_factory=dict)
    """Moment and nonce of the newest inventory by tag; kept apart, as it may come before the heartbeat."""
    first_epoch: int = 0
    """The epoch in which this life began; echoes of all its epochs are of our own boot clock."""
    echoed_ms: dict[str, int] = field(default_factory=dict)
    """By tag: our boot clock at the newest of our beats that the node has echoed."""
    met: set[str] = field(default_factory=set)
    """Tags of nodes that have echoed a beat of ours in the epoch in force."""
    beats: deque[int] = field(default_factory=lambda: deque(maxlen=1_000))
    """Our boot clock at each of the latest beats of the epoch in force."""
    sessions: dict[str, dict[str, int]] = field(default_factory=dict)
    """By tag and session: our boot clock when it had first echoed a beat sent after the others were heard."""
    given_up_ms: dict[str, int] = field(default_factory=dict)
    """By identity: our boot clock when it was given up as lost in this life."""
    doubted: dict[str, int] = field(default_factory=dict)
    """By identity: our boot clock when the node's journal first did not know an attempt it had accepted."""
    strays: dict[str, dict[str, int]] = field(default_factory=dict)
    """By run and tag: the highest fence on that node that this ledger does not know (it was restored)."""
    floors: dict[str, int] = field(default_factory=dict)
    """By run: the highest fence that some node's journal names and this ledger does not know."""
    raised: dict[str, int] = field(default_factory=dict)
    """By tag: how often that node had the epoch raised."""
    asked: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By receipt: our boot clock when bytes were first asked for again, and how often since."""
    beat_seq: int = 0
    last_beat_ms: int = -1
    pushed_ms: dict[str, int] = field(default_factory=dict)
    sent_ms: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    """How many runs waited when they were last counted."""
    tickets: object = None
    shown_ms: int = 0
    """When the tickets were shown last."""
    told_ms: int = -1_000_000
    """When it was last taken down of all that wait why they do."""
    states: dict[str, NodeState] = field(default_factory=dict)
    """By node: its state when that was told last."""
    away: dict[str, Fence] = field(default_factory=dict)
    """By attempt that is at work: its fence, while the node is not heard."""
    freed: dict[str, set[str]] = field(default_factory=dict)
    """By tag: attempts whose end the node has sworn to since its last heartbeat."""
    quota_ms: int = -1
    """When it was last asked how full Redis is."""
    weighed_used: int = 0
    """How much Redis held when all was weighed last, or less when it has held less since."""
    shut_out: set[str] = field(default_factory=set)
    """Tags of quarantined nodes that were expelled from Redis in this life."""
    to_record: SimpleQueue[tuple[str, str, dict[str, object]]] = field(default_factory=SimpleQueue)
    """Level, words and details of what is to be put on record about trust."""
    taking: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By run whose snapshot is being taken: the project, how many files are done, and of how many."""
    issued: list[tuple[str, int]] = field(default_factory=list)
    """Tag and number of the control messages that were made since the last ones were sent."""
    flush: Flush = field(default_factory=Flush)
    closed: list[AttemptId] = field(default_factory=list)
    """Fences that were closed since the last tidying."""
    over: dict[str, deque[tuple[Fence, int]]] = field(default_factory=dict)
    """By tag: orders that are over and could still be started in time; how often its node was told so."""
    looked_ms: dict[str, int] = field(default_factory=dict)
    """By tag: our boot clock when the names in Redis were last looked through."""
    look_due_ms: int = 0
    """Before it, none of them is due again."""
    pages: dict[str, int] = field(default_factory=dict)
    """By tag: where the next page of its started jobs begins."""
    day: str = ""
    """The day for which holds of earlier ones were gone through."""
    resting: dict[str, Shun] = field(default_factory=dict)
    """By node: why it is offered nothing for a while."""
    shunned: dict[str, dict[str, Shun]] = field(default_factory=dict)
    """By run and node: why that node is not offered that run for a while."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Envelopes that were not believed, by reason."""
    ended: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How many runs have ended, by outcome, runtime and node (empty: none had it)."""
    links: dict[str, Linked] = field(default_factory=dict)
    """By node, as the links' own thread says it."""
