"""The definition of an agent: its kind of work, its tools, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from node_agent.wire.endpoint import Sampling
from node_agent.wire.order import Reasoning
from node_agent.wire.policy import NetworkAccess
from pancode.core.names import not_found

DEFAULT_AGENT = "builder"
ALIASES: dict[str, str] = {"dev": "builder"}
READ_TOOLS = ("read", "grep", "find", "ls")
WRITE_TOOLS = ("edit", "write", "bash")
TOOLS = (*READ_TOOLS, *WRITE_TOOLS)


class Tier(StrEnum):
    """The least ability of a model that the agent's work asks for."""

    ANY = "any"
    SMALL = "small"
    MID = "mid"
    FRONTIER = "frontier"


class Speed(StrEnum):
    """The agent's balance of time and care."""

    FAST = "fast"
    BALANCED = "balanced"
    THOROUGH = "thorough"


class Autonomy(StrEnum):
    """The part of a run that goes without a person."""

    AUTONOMOUS = "autonomous"
    SUPERVISED = "supervised"
    """Its change is never landed by itself."""
    CONFIRMATORY = "confirmatory"
    """A person says yes before each dispatch, and lands it, too."""


class Walls(StrEnum):
    """`isolation` of a definition: what must stand around a run of it, beside what every run has."""

    NONE = "none"
    WORKTREE = "worktree"
    CONTAINER = "container"


class Role(StrEnum):
    """The expected kind of answer: it decides the form of the final report."""

    WORKER = "worker"
    REVIEWER = "reviewer"
    SCOUT = "scout"
    PLANNER = "planner"


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Limits of this agent's runs; None: the fleet's own. Milliseconds, bytes, tokens, USD, calls, turns."""

    wall_ms: int | None = None
    idle_ms: int | None = None
    output_bytes: int | None = None
    tokens: int | None = None
    usd: Decimal | None = None
    requests: int | None = None
    wrap_up: bool | None = None
    turns: int | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """A definition: who does the work. `runtime` or `model` None: what the fleet's settings say.

    `own`: a person wrote it, or a part of it. `origin`: file and line of its name.
    """

    name: str
    description: str = ""
    prompt: str = ""
    tools: tuple[str, ...] = READ_TOOLS
    read_only: bool = True
    tier: Tier = Tier.ANY
    speed: Speed = Speed.BALANCED
    runtime: str | None = None
    model: str | None = None
    reasoning: Reasoning | None = None
    limits: AgentLimits = AgentLimits()
    max_attempts: int | None = None
    env: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    enabled: bool = True
    autonomy: Autonomy = Autonomy.AUTONOMOUS
    walls: Walls = Walls.NONE
    network: NetworkAccess | None = None
    said_role: Role | None = None
    sampling: Sampling | None = None
    origin: str = ""
    own: bool = False

    @property
    def role(self) -> Role:
        """The default: an agent that writes works, one that only reads explores or judges."""
        if self.said_role is not None:
            return self.said_role
        quick = Role.SCOUT if self.speed is Speed.FAST else Role.REVIEWER
        return quick if self.read_only else Role.WORKER


Agents = Mapping[str, Agent]


def find_agent(agents: Agents, name: str) -> Agent:
    """The agent of this name or alias; NotFoundError with the nearest name."""
    found = agents.get(name) or agents.get(ALIASES.get(name, name))
    if found is None:
        raise not_found("agent", name, [*agents, *ALIASES], "pancode agents")
    return found
