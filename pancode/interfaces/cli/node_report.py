"""Waits until a node has reported the effect of a command on that node, so that the next dispatch sees it."""

from __future__ import annotations

import time
from collections.abc import Collection, Container

from pancode.agents.answers import RUNTIMES, NodeRuntime
from pancode.fleet.answers import NODE
from pancode.interfaces.client.client import Client

_LOOKS, _LOOK_S = 60, 0.5
_HEARTBEATS, _LEAST_LOOKS = 3, 20
"""The first heartbeat may have been written before the change, and the second while the node looks at its
programs. Where heartbeats come fast, programs still take seconds to answer."""


def facts_after(
    client: Client, node: str, runtimes: Collection[str], before: Container[str]
) -> dict[str, NodeRuntime]:
    """Return the node's facts about these runtimes, by name, as soon as no fact has a state in `before`, or
    the node has reported what it found after the change. After 30 seconds, return what it reports then."""
    found: dict[str, NodeRuntime] = {}
    session, heartbeat = "", 0
    for look in range(_LOOKS if runtimes else 0):
        time.sleep(_LOOK_S if look else 0)
        told = client.get(NODE.at(node))
        if told["session"] != session:
            session, heartbeat = told["session"] or "", told["heartbeat"] or 0
        rows = client.get(RUNTIMES)["runtimes"]
        facts = [(one["name"], fact) for one in rows for fact in one["nodes"] if fact["node"] == node]
        found = {name: fact for name, fact in facts if name in runtimes}
        is_new = look >= _LEAST_LOOKS and (told["heartbeat"] or 0) >= heartbeat + _HEARTBEATS
        if is_new or not any(fact["state"] in before for fact in found.values()):
            break
    return found
