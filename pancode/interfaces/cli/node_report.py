"""Waits until a node has reported the effect of a command on that node, so that the next dispatch sees it."""

from __future__ import annotations

import time
from collections.abc import Collection, Container

from pancode.agents.answers import RUNTIMES, NodeRuntime
from pancode.interfaces.client.client import Client

_LOOKS, _LOOK_S = 20, 0.25


def facts_after(
    client: Client, node: str, runtimes: Collection[str], before: Container[str]
) -> dict[str, NodeRuntime]:
    """Return the node's facts about these runtimes, by name, as soon as no fact has a state in `before`.
    After five seconds, return what the node reports then."""
    found: dict[str, NodeRuntime] = {}
    for look in range(_LOOKS if runtimes else 0):
        time.sleep(_LOOK_S if look else 0)
        rows = client.get(RUNTIMES)["runtimes"]
        facts = [(one["name"], fact) for one in rows for fact in one["nodes"] if fact["node"] == node]
        found = {name: fact for name, fact in facts if name in runtimes}
        if not any(fact["state"] in before for fact in found.values()):
            break
    return found
