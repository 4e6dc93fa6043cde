"""Decides whether a run works in a sandbox or not at all, and which network its rules leave it."""

from __future__ import annotations

from node_agent.wire.policy import NetworkAccess, Rules, narrowest
from pancode.agents.agents import Agent, Walls
from pancode.agents.request import DispatchRequest


def is_walled_by(request: DispatchRequest, agent: Agent, rules: Rules) -> bool:
    """Whether the run works only in a sandbox: it asks for one, or only a sandbox can hold its network."""
    closed = narrowest(rules.network) is not NetworkAccess.MACHINE
    return request.walled or agent.walls is Walls.CONTAINER or closed


def narrowed(rules: Rules, *networks: NetworkAccess | None) -> Rules:
    """The rules with the narrowest of these networks."""
    every = [one for one in networks if one is not None]
    return rules.model_copy(update={"network": narrowest(*every)}) if every else rules
