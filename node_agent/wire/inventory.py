"""The inventory: a node's report of its journal, sent whenever its link comes up."""

from __future__ import annotations

from typing import Annotated

from node_agent.wire.bounded import Few, Name
from node_agent.wire.clock import FleetTime
from node_agent.wire.identity import AttemptId
from node_agent.wire.marks import Mark
from node_agent.wire.model import Count, Digest, FleetId, NodeTag, WireModel
from node_agent.wire.signing import Message

MOST_ENTRIES = 8_000


class JournalEntry(WireModel):
    """One attempt in the journal; `last_event` is the number of its newest event."""

    identity: AttemptId
    order: Digest
    mark: Mark
    last_event: Count


class Inventory(Message):
    """The whole journal of attempts that are not final, and the final ones of this epoch.

    It answers for every fence whose order had to begin before `at`: if such a fence is not in the list,
    the node has not accepted it, and will not accept it later.
    """

    fleet: FleetId
    node: NodeTag
    session: Name
    nonce: Name
    at: FleetTime
    epoch_seen: Count
    entries: Annotated[tuple[JournalEntry, ...], Few(MOST_ENTRIES)]
